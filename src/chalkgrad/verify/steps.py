"""The check of a whole derivation: every line against the line above, and against the truth.

At each random point the adjoints of all values are found numerically (`oracle`); then both sides of
every step, the left-hand side of every stage, every line of the staged and of the closed backward
pass and every result are evaluated by the reference evaluator over all their free indices. The
adjoints that the lines mention take the oracle's values, so dL/dW[d,k] = sum(i, ...) is compared
with the true gradient and not with itself.

Two numbers a and b agree when |a - b| <= tolerance * scale. The scale of an entry is the largest of
|a|, |b| and the magnitude of the summands that made them (all terms taken as positive), so that a
sum that cancels to 0 is judged by what cancelled; it is at least 1e-4 of the largest such scale on
the line. The tolerance is 1e-10, and 1e-6 where a derivative was extrapolated from differences
(Richardson) because a function on the way has no complex step. The oracle's own estimated error is
granted ten times over; where the estimate is so large that the line could not be refuted at all,
that is an error too, not a pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chalkgrad.derivation import Backward, Derived, Stage
from chalkgrad.errors import UnsupportedError, VerificationError
from chalkgrad.expr.nodes import Access, Const, Definition, Expr, Index, Tensor
from chalkgrad.expr.ops import free_indices, tensors_in
from chalkgrad.verify.environment import Array, Environment
from chalkgrad.verify.magnitude import Evaluated, evaluate_closely, summands
from chalkgrad.verify.oracle import Adjoints, adjoints
from chalkgrad.verify.reference import evaluate
from chalkgrad.verify.sample import sample

EXACT, EXTRAPOLATED = 1e-10, 1e-6
FLOOR = 1e-4
GRANTED = 10.0
METHODS = ("exact", "complex step", "Richardson")


@dataclass(frozen=True, slots=True)
class LineCheck:
    """One equality that numbers confirmed.

    Attributes:
        stage: The title of the stage, or "staged", "closed" or "result".
        rule: The rule that the line claims, or what was compared.
        before: The one side.
        after: The other side.
        error: The largest relative error over all entries and points.
        tolerance: What it may be.
        method: "exact", "complex step" or "Richardson": how derivatives were taken.
    """

    stage: str
    rule: str
    before: Expr
    after: Expr
    error: float
    tolerance: float
    method: str


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """Every line of a derivation, confirmed.

    Attributes:
        lines: One check per equality, in reading order.
        points: How many random points were tried.
        seed: Where they began.
    """

    lines: tuple[LineCheck, ...]
    points: int
    seed: int = 0

    @property
    def ok(self) -> bool:
        """Whether every line holds. A false line raises, so a finished verification is right."""
        return all(line.error <= line.tolerance for line in self.lines)

    @property
    def worst(self) -> float:
        """The largest relative error of all lines."""
        return max((line.error for line in self.lines), default=0.0)

    def __repr__(self) -> str:
        return f"<Verification: {self}>"

    def __str__(self) -> str:
        methods = sorted({line.method for line in self.lines} - {"exact"})
        how = f" ({', '.join(methods)})" if methods else ""
        return (
            f"{len(self.lines)} lines hold at {self.points} random points; "
            f"worst relative error {self.worst:.1e}{how}"
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """Two expressions said to be equal for all values of their free indices."""

    stage: str
    rule: str
    before: Expr
    after: Expr


def verify(derived: Derived, seed: int = 0, points: int = 2) -> Verification:
    """Evaluate every line of a derivation at random points.

    Args:
        derived: The record that the engine made.
        seed: The points' seed; each point has other sizes and values.
        points: How many.

    Raises:
        VerificationError: A line is false: names the rule and the stage, shows both lines and the
            entry where they differ most.
        UnsupportedError: A seed that is no number from 0 on, or not at least one point.
    """
    for name, number, least in (("seed", seed, 0), ("points", points, 1)):
        if not isinstance(number, int) or number < least:
            raise UnsupportedError(
                f"verify takes {name} from {least} on, and got {name}={number!r}.",
                hint="derivation.verify(seed=0, points=2)",
            )
    claims = tuple(claims_of(derived))
    checks: dict[int, LineCheck] = {}
    for point in range(points):
        judge = Judge.at(derived, seed + point)
        for position, claim in enumerate(claims):
            check = judge.check(claim)
            known = checks.get(position)
            checks[position] = check if known is None or check.error >= known.error else known
    return Verification(tuple(checks[p] for p in range(len(claims))), points, seed)


def claims_of(derived: Derived) -> Iterator[Claim]:
    """Every equality that the record states, in reading order."""
    for stage in derived.stages:
        yield from _stage_claims(stage)
    for backward in dict.fromkeys((derived.staged, derived.closed, derived.chosen)):
        for definition in backward.definitions:
            yield Claim(backward.form, f"{definition.access}", definition.access, definition.body)
    for result in derived.results:
        yield Claim("result", f"{result.lhs}", result.lhs, result.rhs)


def _stage_claims(stage: Stage) -> Iterator[Claim]:
    above = stage.lhs
    for step in stage.steps:
        if step.before is not above:
            # The line before a step must be the line above it, or the chain of equalities is broken.
            rule = "the stage begins" if above is stage.lhs else f"the line before {step.rule}"
            yield Claim(stage.title, rule, above, step.before)
        yield Claim(stage.title, step.rule, step.before, step.after)
        above = step.after
    if len(stage.steps) > 1:
        yield Claim(stage.title, "the stage as a whole", stage.lhs, above)


# --- one point -------------------------------------------------------------------------------------


class Judge:
    """One random point with the true adjoints, at which claims are checked.

    Args:
        env: Sizes, forward values and adjoints.
        truth: The oracle's adjoints with their errors.
    """

    def __init__(self, env: Environment, truth: Adjoints) -> None:
        self.env = env
        self.truth = truth
        self._largest = max((float(np.abs(v).max(initial=0.0)) for v in truth.values.values()), default=0.0)
        self._known: dict[tuple[Expr, tuple[Index, ...]], Evaluated] = {}

    @staticmethod
    def at(derived: Derived, seed: int) -> Judge:
        """A smooth random point of the derivation's program."""
        env = sample(derived.program, seed)
        upstream = draw_upstream(derived, env, seed)
        truth = adjoints(derived.program, env, upstream)
        env = _with_temporaries(derived, env.having(truth.values))
        return Judge(env, truth)

    def check(self, claim: Claim) -> LineCheck:
        """The claim's relative error; raises where it is false."""
        if claim.rule == f"{claim.before}" and isinstance(claim.before, Access):
            self._require_whole(claim, claim.before)
        free = free_indices(claim.before) | free_indices(claim.after)
        indices = tuple(sorted(free, key=lambda i: (i.name, i.range.name)))
        try:
            a = self._evaluated(claim.before, indices)
            b = self._evaluated(claim.after, indices)
        except VerificationError as error:
            raise VerificationError(
                f"the line by {claim.rule} in '{claim.stage}' has no value: {error.message}", hint=error.hint
            ) from error
        return self._compare(claim, indices, a, b)

    def _require_whole(self, claim: Claim, lhs: Access) -> None:
        """A defining line says every entry: its indices run over the axes, or part of it is not said."""
        for index, axis in zip(lhs.indices, lhs.tensor.axes, strict=True):
            if isinstance(index, Index) and self.env.size(index.range) != self.env.size(axis):
                raise VerificationError(
                    f"{claim.stage}: the line for {lhs} says {index.name} < |{index.range.name}| only, "
                    f"but {lhs.tensor} has an axis over {axis.name}.",
                    hint="An index over another range needs its bounds as a factor 1(...).",
                )

    def _evaluated(self, e: Expr, indices: tuple[Index, ...]) -> Evaluated:
        key = (e, indices)
        if key not in self._known:
            self._known[key] = evaluate_closely(e, indices, self.env)
        return self._known[key]

    def _compare(self, claim: Claim, indices: tuple[Index, ...], a: Evaluated, b: Evaluated) -> LineCheck:
        used = [t for t in tensors_in(claim.before) | tensors_in(claim.after) if t in self.truth.errors]
        methods = [a.method, b.method, *(self.truth.methods[t] for t in used)]
        method = max(methods, key=METHODS.index)
        tolerance = EXTRAPOLATED if method == "Richardson" else EXACT
        estimate = max(a.error, b.error, *(self.truth.errors[t] for t in used), 0.0)
        scale = _finite(np.maximum.reduce([abs(a.value), abs(b.value), a.magnitude, b.magnitude]))
        granted = GRANTED * estimate / tolerance
        if granted > GRANTED * max(self._largest, float(scale.max(initial=0.0))):
            raise VerificationError(
                f"{claim.stage}: the numeric derivative is too uncertain to judge the line by {claim.rule} "
                f"(estimated error {estimate:.1e})",
                hint="A kink of the formula is too near the test point; try another seed.",
            )
        relative = _relative_errors(a.value, b.value, scale, granted)
        if not relative.max(initial=0.0) <= tolerance:
            # What cancels may be inside of a derivative, d (sin² x + cos² x) / d x: that takes long to see.
            terms = [_finite(summands(side, indices, self.env)) for side in (claim.before, claim.after)]
            relative = _relative_errors(a.value, b.value, np.maximum(scale, np.maximum(*terms)), granted)
        error = float(relative.max(initial=0.0))
        if not error <= tolerance:
            raise false_line(claim, indices, a.value, b.value, relative, tolerance, method)
        return LineCheck(claim.stage, claim.rule, claim.before, claim.after, error, tolerance, method)


def _finite(scale: Array) -> Array:
    return np.where(np.isfinite(scale), scale, 0.0)


def _relative_errors(a: Array, b: Array, scale: Array, granted: float) -> Array:
    """The differences of two values, relative to the scale of each entry."""
    scale = np.maximum(scale, max(FLOOR * float(scale.max(initial=0.0)), granted))
    # Equal infinities differ by nan, and are equal.
    with np.errstate(invalid="ignore"):
        gap = np.where(a == b, 0.0, np.abs(a - b))
    relative = np.divide(gap, scale, out=np.zeros_like(gap), where=gap > 0)
    return np.where(np.isfinite(gap), relative, np.inf)


def draw_upstream(derived: Derived, env: Environment, seed: int) -> dict[Tensor, Array]:
    """G for each float output: random, and 1 where the output is the loss itself."""
    rng = np.random.default_rng((seed, 1))
    upstream: dict[Tensor, Array] = {}
    for output in derived.program.outputs:
        if output.dtype == "float":
            shape = env.array(output).shape
            random = rng.normal(size=shape)
            upstream[output] = np.ones(shape) if _is_loss(output, derived) else random
    return upstream


def _is_loss(output: Tensor, derived: Derived) -> bool:
    """Whether a scalar output is the loss itself: its adjoint is derived as 1, or never read.

    Where the upstream gradient of a scalar is an argument it is drawn at random, since a line that
    lost it could not be told apart at 1.
    """
    if output.axes:
        return False
    bodies = [d.body for back in _backwards(derived) for d in back.definitions]
    seeds = [d.body for back in _backwards(derived) for d in back.definitions if d.target is output.adjoint]
    seeds += [s.rhs for s in derived.stages if isinstance(s.lhs, Access) and s.lhs.tensor is output.adjoint]
    if seeds:
        return all(isinstance(body, Const) and body.value == 1 for body in seeds)
    return not any(output.adjoint in tensors_in(body) for body in bodies)


def _with_temporaries(derived: Derived, env: Environment) -> Environment:
    """Values for names that the derivation introduces itself, from their own definitions.

    A stabilised forward value or a sum that the backward pass computes once has no oracle; its
    defining line says what it is. Definitions are tried in order until nothing more can be found.
    """
    named = [
        Definition(stage.lhs.tensor, tuple(i for i in stage.lhs.indices if isinstance(i, Index)), stage.rhs)
        for stage in derived.stages
        if stage.kind in ("definition", "stable") and isinstance(stage.lhs, Access)
    ]
    pending = [*named, *(d for b in _backwards(derived) for d in b.definitions)]
    while True:
        open_ones = [d for d in pending if d.target not in env.arrays]
        ready = next((d for d in open_ones if tensors_in(d.body) <= env.arrays.keys()), None)
        if ready is None:
            return env
        env = env.having({ready.target: evaluate(ready.body, ready.indices, env)})


def _backwards(derived: Derived) -> tuple[Backward, ...]:
    return (derived.staged, derived.closed, derived.chosen)


def false_line(
    claim: Claim,
    indices: tuple[Index, ...],
    a: Array,
    b: Array,
    relative: Array,
    tolerance: float,
    method: str,
) -> VerificationError:
    """The error that names the rule, shows both lines and the entry where they differ most."""
    where = np.unravel_index(int(relative.argmax()), relative.shape)
    place = ", ".join(f"{i.name}={int(p)}" for i, p in zip(indices, where, strict=True))
    at = f" at {place}" if place else ""
    return VerificationError(
        f"{claim.stage}: the line by {claim.rule} is false ({method}: relative error "
        f"{float(relative[where]):.2g}, allowed {tolerance:.0e}).\n"
        f"    before:  {claim.before}\n"
        f"    after:   {claim.after}\n"
        f"{at.strip().capitalize() or 'As numbers'}: {a[where]:.12g} before, {b[where]:.12g} after."
    )
