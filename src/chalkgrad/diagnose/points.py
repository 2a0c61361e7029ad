"""Test points: sizes, inputs, the upstream gradient, and what the derivation gives there."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.labelled import Evaluation, check_agrees
from chalkgrad.errors import VerificationError
from chalkgrad.expr.nodes import Access, Apply, Expr, Index, Program, Range, Tensor
from chalkgrad.expr.ops import walk
from chalkgrad.verify.environment import Array, Environment, whole_size
from chalkgrad.verify.magnitude import evaluate_closely
from chalkgrad.verify.reference import run_on
from chalkgrad.verify.sample import TRIES, sample
from chalkgrad.verify.sizes import draw_sizes

ROOM = 200
"""So many entries at most has an array at a point with room for more windows."""


@dataclass(frozen=True, slots=True)
class Point:
    """One test point.

    Attributes:
        env: Sizes, inputs, parameters, forward values, the upstream gradient, and the adjoints.
        true: The gradient of each float input.
        magnitude: The same with all summands taken as positive: rounding is in proportion to it.
        parameters: Values of the keyword scalars.
    """

    env: Environment
    true: Mapping[Tensor, Array]
    magnitude: Mapping[Tensor, Array]
    parameters: Mapping[Tensor, float]

    def upstream(self, output: Tensor) -> Array:
        """The gradient given from above."""
        return np.asarray(self.env.array(output.adjoint))


def draw(
    derived: Derived,
    seed: int,
    *,
    parameters: Mapping[Tensor, float] | None = None,
    sizes: Mapping[Range, int] | None = None,
    unit: bool = False,
    even: bool = False,
    tries: int = TRIES,
) -> Point:
    """A random smooth point.

    Args:
        derived: The derivation that judges.
        seed: Equal seeds give equal points.
        parameters: Values of keyword scalars; the defaults if omitted.
        sizes: Sizes to use instead of small distinct ones.
        unit: Whether the upstream gradient is 1 rather than other numbers.
        even: Whether windows fill their axes without a rest, which not every program allows for.
        tries: Draws before giving up.

    Raises:
        VerificationError: No smooth point was found.
    """
    program = derived.program
    chosen = {t: float((parameters or {}).get(t, default)) for t, default in program.parameters}
    env = sample(program, seed, parameters=chosen, sizes=sizes or _chosen(program, seed, even), tries=tries)
    rng = np.random.default_rng((seed, 17))
    ups: dict[Tensor, Array] = {}
    for output in program.outputs:
        if output.dtype == "float":
            shape = np.shape(env.array(output))
            # A gradient near 0 would hide what happens to it.
            size = rng.uniform(0.5, 1.5, size=shape) * rng.choice((-1.0, 1.0), size=shape)
            ups[output.adjoint] = np.ones(shape) if unit else np.asarray(size)
    return judged(derived, env.having(ups), chosen)


def _chosen(program: Program, seed: int, even: bool) -> dict[Range, int]:
    return _even(program, seed) if even else _roomy(program, seed)


def _even(program: Program, seed: int) -> dict[Range, int]:
    """Sizes for which the divisions in the sizes of other axes leave no rest."""
    derived = {r for r, _ in program.sizes}
    sizes = {r: n for r, n in draw_sizes(program, np.random.default_rng(seed)).items() if r not in derived}
    free = {r for t in program.inputs for r in t.axes if r in sizes}
    for _ in range(8):
        rest = _rest(program, sizes)
        if not rest:
            break
        near = [{**sizes, r: sizes[r] + by} for r in sorted(free, key=lambda r: r.name) for by in (1, 2, 3)]
        sizes = min(near, key=lambda s: _rest(program, s))
    return {r: n for r, n in sizes.items() if r.size is None}


def _rest(program: Program, sizes: Mapping[Range, int]) -> int:
    """The sum of what the divisions in the sizes of derived axes leave."""
    known, rest = dict(sizes), 0
    for r, formula in program.sizes:
        for node in walk(formula):
            if isinstance(node, Apply) and node.fn == "floordiv":
                above, below = (whole_size(a, known) for a in node.args)
                rest += above % below
        known[r] = whole_size(formula, known)
    return rest


def _roomy(program: Program, seed: int) -> dict[Range, int]:
    """Distinct sizes from 3 up: over two observations a normalised value is ±1 and hides what it is.

    Where an axis is read at a computed place its size depends on others: more places than two at every
    other point are all that is asked.
    """
    for definition in program.definitions:
        for node in walk(definition.body):
            if isinstance(node, Access) and any(_computed(i) for i in node.indices):
                return _wider(program, seed) if seed % 2 else {}
    sizes = draw_sizes(program, np.random.default_rng(seed))
    return {r: n + 1 for r, n in sizes.items() if r.size is None}


def _wider(program: Program, seed: int) -> dict[Range, int]:
    """Sizes at which windows have more than two places, where arrays stay small: two hide which is which."""
    derived = {r for r, _ in program.sizes}
    sizes = draw_sizes(program, np.random.default_rng(seed))
    free = {r: n for r, n in sizes.items() if r not in derived and r.size is None}
    for r in [r for r, _ in program.sizes if sizes[r] == 2]:
        for of, by in ((of, by) for by in (1, 2, 3) for of in free):
            given = {**free, of: free[of] + by}
            with contextlib.suppress(VerificationError):  # no sizes go with this one
                other = draw_sizes(program, np.random.default_rng(seed), given)
                if other[r] > 2:
                    sizes, free = other, given
                    break
    largest = max(math.prod(sizes.get(a, a.size or 1) for a in t.axes) for t in program.tensors())
    return free if largest <= ROOM else {}


def _computed(index: Expr) -> bool:
    return not isinstance(index, Index | Access)


def judged(derived: Derived, env: Environment, parameters: Mapping[Tensor, float]) -> Point:
    """The point with the adjoints that the derivation gives, by the reference evaluator."""
    magnitude: dict[Tensor, Array] = {}
    quick = Evaluation(env)
    for d in derived.staged.definitions:
        if d.target in env.arrays:  # the adjoint of a scalar output is an argument here
            continue
        found = evaluate_closely(d.body, d.indices, env)
        check_agrees(quick.defined(d.indices, d.body).array, found.value, str(d.access))
        env = env.having({d.target: found.value})
        quick = Evaluation(env)
        magnitude[d.target] = np.maximum(np.abs(found.value), found.magnitude)
    true = {t: np.asarray(env.array(t.adjoint)) for t in derived.wrt}
    return Point(env, true, {t: magnitude[t.adjoint] for t in derived.wrt}, parameters)


def with_inputs(derived: Derived, point: Point, inputs: Mapping[Tensor, Array],
                parameters: Mapping[Tensor, float]) -> Point:  # fmt: skip
    """The same point with some inputs or parameters replaced, everything evaluated anew."""
    program = derived.program
    values = {t: np.asarray(float(v)) for t, v in parameters.items()}
    kept = {t: a for t, a in point.env.arrays.items() if t in program.inputs or t.role == "parameter"}
    base = replace(point.env, arrays={**kept, **values, **inputs})
    env = run_on(program.definitions, base)
    ups = {o.adjoint: point.upstream(o) for o in program.outputs if o.adjoint in point.env.arrays}
    return judged(derived, env.having(ups), {**point.parameters, **parameters})


def square_sizes(program: Program, size: int = 3, *, flat: bool = False) -> dict[Range, int]:
    """All sizes equal, so that a missing transpose runs and can be told from its numbers.

    With `flat`, only those of the axes of matrices and vectors: an image cannot be as small as its kernel.
    """
    matrices = {r for t in program.tensors() if len(t.axes) <= 2 for r in t.axes}
    deep = {r for t in program.inputs if len(t.axes) > 2 for r in t.axes[1:]}
    return {r: size for r in program.ranges() if r.size is None and not (flat and r in deep - matrices)}


def several(derived: Derived, count: int, seed: int, **options: object) -> list[Point]:
    """Points of which the sizes differ from each other, as far as the formula allows.

    Each gradient is other than 0 at one of them at least, where that can be had: dead units would
    hide every fault.

    Raises:
        VerificationError: There is no smooth point at all.
    """
    found: list[Point] = []
    problem: VerificationError | None = None
    for attempt, chosen in enumerate(_seeds(derived.program, count, seed)):
        try:
            point = draw(derived, chosen, **options)  # type: ignore[arg-type]
        except VerificationError as error:
            problem = error
            continue
        last = len(found) == count - 1
        if last and attempt < 3 * count and _silent(derived, [*found, point]):
            continue
        found.append(point)
        if len(found) == count:
            return found
    if not found:
        assert problem is not None
        raise problem
    return found


def _silent(derived: Derived, points: list[Point]) -> bool:
    """Whether some gradient is 0 everywhere at all points."""
    return any(not any(np.any(p.true[t]) for p in points) for t in derived.wrt)


def _seeds(program: Program, count: int, seed: int) -> list[int]:
    """Seeds for which the sizes differ most from those of the seeds before."""
    near = {seed + n: _drawn_sizes(program, seed + n) for n in range(8 * count)}
    chosen = [seed]
    while len(chosen) < count:
        rest = [s for s in near if s not in chosen]
        clashes = {
            s: sum(a == b for c in chosen for a, b in zip(near[c], near[s], strict=True)) for s in rest
        }
        chosen.append(min(rest, key=lambda s: (clashes[s], s)))
    return [*chosen, *(s for s in near if s not in chosen)][: 4 * count]


def _drawn_sizes(program: Program, seed: int) -> tuple[int, ...]:
    """The sizes that `draw` takes for a seed."""
    rng = np.random.default_rng(seed)
    sizes = draw_sizes(program, rng, _roomy(program, seed))
    return tuple(sizes[r] for r in program.ranges() if r in sizes and r.size is None)


def nudged(default: float) -> float:
    """A value that hides nothing: not 0, not 1, not a half of anything, not too small to matter."""
    if default == 0.0:
        return 0.3
    return 0.05 if 0 < default < 0.01 else default * 0.7
