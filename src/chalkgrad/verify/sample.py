"""Random test points at which a formula is smooth.

Sizes are small, distinct and greater than one, so that a transposed or forgotten axis shows. Values
are redrawn until every argument of every function lies inside its domain and away from its kinks:
there, and only there, all derivatives agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from chalkgrad.errors import ShapeError, VerificationError
from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Expr,
    Index,
    Indicator,
    Pow,
    Program,
    Range,
    Reduce,
    Tensor,
)
from chalkgrad.expr.ops import free_indices, tensors_in, walk
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.verify.environment import Array, Environment, Scope
from chalkgrad.verify.reference import Evaluator, evaluate

MARGIN = 2e-3
"""How near a kink or the end of a domain a value may come, relative to max(1, |value|)."""

TRIES = 400
"""Draws before giving up. The later ones take positive and small values for some inputs."""

INTERVALS = ((0.4, 2.0), (0.02, 0.3), (1.1, 3.0), (-0.9, 0.9), (-2.0, -0.4))
"""Where later draws take the values of an input, if normal ones do not fit."""

STEEP = 1e6
"""A function value beyond this is too near a pole."""


def sample(program: Program, seed: int) -> Environment:
    """Sizes, inputs, parameters and forward values at a random smooth point.

    Args:
        program: The forward pass.
        seed: Equal seeds give equal points.

    Raises:
        VerificationError: No smooth point was found; names the expression in the way.

    Example:
        >>> from chalkgrad.expr.nodes import Definition
        >>> K = Range("K"); k = Index("k", K); x, y = Tensor("x", (K,)), Tensor("y", (K,), role="value")
        >>> body = Apply("log", (Access(x, (k,)),))
        >>> env = sample(Program("log", (x,), (), (Definition(y, (k,), body),), (y,)), seed=0)
        >>> bool((env.arrays[x] > 0).all())
        True
    """
    rng = np.random.default_rng(seed)
    sizes = draw_sizes(program, rng)
    obstacle = ""
    fallback: Environment | None = None
    for attempt in range(TRIES):
        env, inspection = _draw(program, sizes, rng, attempt)
        if not inspection.obstacles and not inspection.ties:
            return env
        if not inspection.obstacles and fallback is None:
            fallback = env
        # Exact ties that no draw avoids, as in abs(x[i] - x[j]) at i = j, are part of the formula:
        # the convention at kinks then holds on both sides of every line.
        if fallback is not None and attempt >= TRIES // 2:
            return fallback
        obstacle = (inspection.obstacles + inspection.ties)[0]
    raise VerificationError(
        f"no test point of {program.name} is inside every domain and away from every kink: {obstacle}",
        hint="Is the formula defined for any real input? Add a small constant where it divides.",
    )


def _draw(
    program: Program, sizes: dict[Range, int], rng: np.random.Generator, attempt: int
) -> tuple[Environment, Inspection]:
    arrays = {t: _input(t, program, sizes, rng, attempt) for t in program.inputs}
    for tensor, default in program.parameters:
        arrays[tensor] = np.asarray(_parameter(default, rng, attempt))
    env = Environment(sizes, arrays, {d.target: d for d in program.definitions})
    inspection = Inspection()
    for definition in program.definitions:
        with np.errstate(all="ignore"):
            inspector = _Inspector(env, inspection)
            inspector.value(definition.body, Scope.over(definition.indices, env))
        if inspection.obstacles:
            break
        value = evaluate(definition.body, definition.indices, env)
        if definition.target.dtype == "int":
            value = np.rint(value).astype(np.int64)
        elif definition.target.dtype == "bool":
            value = value != 0
        env = env.having({definition.target: value})
    return env, inspection


# --- sizes -----------------------------------------------------------------------------------------


def draw_sizes(program: Program, rng: np.random.Generator) -> dict[Range, int]:
    """Distinct sizes from 2 up, as small as the number of ranges allows.

    Where an axis is read at an affine index (s*h + p), its size is what the index needs.
    """
    ranges = dict.fromkeys(program.ranges())
    for definition in program.definitions:
        for node in walk(definition.body):
            if isinstance(node, Index):
                ranges.setdefault(node.range)
    symbolic = [r for r in ranges if r.size is None]
    drawn = rng.permutation(np.arange(2, 2 + max(len(symbolic), 4)))
    sizes = {r: int(n) for r, n in zip(symbolic, drawn, strict=False)}
    _widen_labels(program, sizes)
    for definition in program.definitions:
        for node in walk(definition.body):
            if isinstance(node, Access):
                _fit(node, sizes)
    return sizes


def _widen_labels(program: Program, sizes: dict[Range, int]) -> None:
    """No range of labels has size 2: the labels 0 and 1 equal their own squares and products."""
    whole = [t for t in program.inputs if t.dtype == "int"]
    # A dict and not a set: the order of a set of nodes differs from run to run.
    labelled = dict.fromkeys(r for t in whole for r in _selected_ranges(t, program))
    for narrow in [r for r in labelled if sizes.get(r) == 2]:
        other = next((r for r in sizes if r not in labelled), None)
        sizes[narrow] = sizes[other] if other is not None else max(sizes.values()) + 1
        if other is not None:
            sizes[other] = 2


def _fit(access: Access, sizes: dict[Range, int]) -> None:
    """Enlarge axes until every affine index without a gather falls inside."""
    for axis, index in zip(access.tensor.axes, access.indices, strict=True):
        if isinstance(index, Index) or tensors_in(index):
            continue
        free = tuple(sorted(free_indices(index), key=lambda i: i.name))
        needed = int(evaluate(index, free, Environment(sizes, {})).max()) + 1
        if axis.size is None and needed > sizes[axis]:
            taken = {n for r, n in sizes.items() if r is not axis}
            while needed in taken:
                needed += 1
            sizes[axis] = needed


# --- values ----------------------------------------------------------------------------------------


def _input(
    tensor: Tensor, program: Program, sizes: dict[Range, int], rng: np.random.Generator, attempt: int
) -> Array:
    shape = tuple(r.size if r.size is not None else sizes[r] for r in tensor.axes)
    if tensor.dtype == "int":
        return _mixed(rng, label_count(tensor, program, sizes), shape).astype(np.int64)
    if tensor.dtype == "bool":
        return _mixed(rng, 2, shape).astype(bool)
    if tensor.dtype != "float":
        raise ShapeError(f"{tensor} has the element type {tensor.dtype}; float, int and bool are known")
    interval = _interval(tensor, program)
    if interval is not None:
        return rng.uniform(*interval, size=shape)
    # The first draws are of both signs; later ones try, input by input, intervals that a logarithm,
    # a root or 1 - x^2 of a composed argument may need.
    style = 0 if attempt < TRIES // 8 else int(rng.integers(len(INTERVALS) + 1))
    return rng.uniform(*INTERVALS[style - 1], size=shape) if style else rng.normal(size=shape)


def _mixed(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> Array:
    """Integers below `count`: the largest among them, and not all equal."""
    drawn = np.asarray(rng.integers(count, size=shape))
    if count > 1 and drawn.size > 1:
        last, other = rng.permutation(drawn.size)[:2]
        drawn.flat[last] = count - 1
        if (drawn == count - 1).all():
            drawn.flat[other] = int(rng.integers(count - 1))
    return drawn


def label_count(tensor: Tensor, program: Program, sizes: dict[Range, int]) -> int:
    """How many values an integer input may take: the range that it selects from, or is compared with.

    Three where neither says anything.
    """
    found = [r.size if r.size is not None else sizes[r] for r in _selected_ranges(tensor, program)]
    return min(found, default=3)


def _selected_ranges(tensor: Tensor, program: Program) -> Iterator[Range]:
    for definition in program.definitions:
        for node in walk(definition.body):
            if isinstance(node, Access):
                for axis, index in zip(node.tensor.axes, node.indices, strict=True):
                    if tensor in tensors_in(index):
                        yield axis
            if isinstance(node, Indicator):
                for one, other in ((node.left, node.right), (node.right, node.left)):
                    if isinstance(one, Access) and one.tensor is tensor and isinstance(other, Index):
                        yield other.range


def _interval(tensor: Tensor, program: Program) -> tuple[float, float] | None:
    """Where to draw an input that goes straight into functions with a domain."""
    low, high = -np.inf, np.inf
    for definition in program.definitions:
        for node in walk(definition.body):
            if isinstance(node, Apply) and len(node.args) == 1:
                argument = node.args[0]
                if isinstance(argument, Access) and argument.tensor is tensor:
                    start, stop = PRIMITIVES[node.fn].domain
                    low, high = max(low, start), min(high, stop)
    return (float(low), float(high)) if -np.inf < low < high < np.inf else None


def _parameter(default: float, rng: np.random.Generator, attempt: int) -> float:
    """The default; nudged while that works where it is 0 or 1, which would hide a term or a factor."""
    nudge = float(rng.uniform(0.2, 0.4))
    return default + nudge if default in (0.0, 1.0) and attempt < TRIES // 2 else default


# --- inspection ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Inspection:
    """What stands against a test point, in words.

    Attributes:
        obstacles: Values outside a domain, or near a kink.
        ties: Values exactly on a kink.
    """

    obstacles: list[str] = field(default_factory=list)
    ties: list[str] = field(default_factory=list)


class _Inspector(Evaluator):
    """Evaluates, and looks at every argument of a function, comparison, power or maximum."""

    def __init__(self, env: Environment, inspection: Inspection) -> None:
        super().__init__(env)
        self.inspection = inspection

    def indicator(self, e: Indicator, scope: Scope) -> Array:
        if any(t.dtype == "float" for t in tensors_in(e)):
            self.keep_away(e, self.value(e.left, scope) - self.value(e.right, scope), scope, "a tie")
        return super().indicator(e, scope)

    def apply(self, e: Apply, scope: Scope) -> Array:
        primitive = PRIMITIVES.get(e.fn)
        if primitive is not None and e.fn != "where" and e.args:
            args = [self.value(a, scope) for a in e.args]
            lead = args[0] if len(args) == 1 else args[0] - args[1]
            for kink in primitive.kinks:
                self.keep_away(e, lead - kink, scope, "a kink")
            if len(args) == 1:
                self.keep_inside(e, args[0], scope)
        return super().apply(e, scope)

    def power(self, e: Pow, scope: Scope) -> Array:
        base = self.value(e.base, scope)
        exponent = self.value(e.exponent, scope)
        fractional = not np.array_equal(exponent, np.rint(exponent))
        variable = any(t.dtype == "float" for t in tensors_in(e.exponent))
        if fractional or variable:
            self.report(e, scope.live & ~(base > MARGIN), "needs a positive base")
        elif (exponent < 0).any():
            self.report(e, scope.live & ~(np.abs(base) > MARGIN), "divides by nearly 0")
        return super().power(e, scope)

    def reduction(self, e: Reduce, scope: Scope) -> Array:
        if e.op != "prod":
            flat = self.spread(e.indices, e.body, scope)
            flat = np.sort(flat.reshape(*flat.shape[: scope.ndim], -1), axis=-1)
            if flat.shape[-1] > 1:
                best = (flat[..., -1], flat[..., -2]) if e.op == "max" else (flat[..., 0], flat[..., 1])
                gap = np.abs(best[0] - best[1])
                self.report(e, scope.live & (gap < MARGIN * np.maximum(1, np.abs(best[0]))), "is near a tie")
        return super().reduction(e, scope)

    def keep_away(self, e: Expr, distance: Array, scope: Scope, what: str) -> None:
        """Note values near zero, and apart from them values that are exactly zero."""
        tied = scope.live & (distance == 0)
        self.report(e, scope.live & (np.abs(distance) < MARGIN) & ~tied, f"is near {what}")
        if tied.any():
            self.inspection.ties.append(f"{e} is at {what}")

    def keep_inside(self, e: Apply, argument: Array, scope: Scope) -> None:
        """Note arguments at which, or just beside which, the function is not a moderate number."""
        step = MARGIN * np.maximum(1, np.abs(argument))
        finite = scope.live & np.isfinite(argument)
        for moved in (argument, argument - step, argument + step):
            value = PRIMITIVES[e.fn].reference(moved)
            self.report(e, finite & ~(np.abs(value) < STEEP), "is outside of its domain, or near its end")

    def report(self, e: Expr, where: Array, what: str) -> None:
        if where.any():
            self.inspection.obstacles.append(f"{e} {what}")
