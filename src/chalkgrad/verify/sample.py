"""Random test points at which a formula is smooth.

Sizes are small, distinct and greater than one, so that a transposed or forgotten axis shows. Values
are redrawn until every argument of every function lies inside its domain and away from its kinks:
there, and only there, all derivatives agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product

import numpy as np

from chalkgrad.errors import ShapeError, VerificationError
from chalkgrad.expr.guarded import leaving
from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Expr,
    Indicator,
    Opaque,
    Pow,
    Program,
    Range,
    Reduce,
    Tensor,
)
from chalkgrad.expr.ops import tensors_in, walk
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.verify.environment import Array, Environment, Scope
from chalkgrad.verify.labels import label_values
from chalkgrad.verify.reference import Evaluator, evaluate
from chalkgrad.verify.sizes import draw_sizes

MARGIN = 2e-3
"""How near a kink or the end of a domain a value may come, relative to max(1, |value|)."""

TRIES = 400
"""Draws before giving up. The later ones take positive and small values for some inputs."""

FEW = 60
"""So many draws look for a point at which no mask hides a division by 0: no row that is masked whole."""

INTERVALS = ((0.4, 2.0), (0.02, 0.3), (1.1, 3.0), (-0.9, 0.9), (-2.0, -0.4))
"""Where later draws take the values of an input, if normal ones do not fit."""

STEEP = 1e6
"""A function value beyond this is too near a pole."""

WORST_CONDITION = 200.0
"""A matrix that is inverted may lose this factor of precision."""


def sample(
    program: Program,
    seed: int,
    *,
    parameters: Mapping[Tensor, float] | None = None,
    sizes: Mapping[Range, int] | None = None,
    tries: int = TRIES,
) -> Environment:
    """Sizes, inputs, parameters and forward values at a random smooth point.

    Args:
        program: The forward pass.
        seed: Equal seeds give equal points.
        parameters: Values of keyword scalars, taken as they are; others are near their defaults.
        sizes: Sizes of ranges, taken as they are; others are drawn.
        tries: Draws before giving up.

    Raises:
        VerificationError: No smooth point was found; names the expression in the way.

    Example:
        >>> from chalkgrad.expr.nodes import Definition, Index
        >>> K = Range("K"); k = Index("k", K); x, y = Tensor("x", (K,)), Tensor("y", (K,), role="value")
        >>> body = Apply("log", (Access(x, (k,)),))
        >>> env = sample(Program("log", (x,), (), (Definition(y, (k,), body),), (y,)), seed=0)
        >>> bool((env.arrays[x] > 0).all())
        True
    """
    rng = np.random.default_rng(seed)
    drawn = draw_sizes(program, rng, sizes)
    obstacle = ""
    fallback: Environment | None = None
    for attempt in range(tries):
        env, inspection = _draw(program, drawn, rng, attempt, parameters or {})
        clear = not inspection.obstacles and not inspection.ties
        if clear and (attempt >= FEW or not inspection.masked):
            return env
        if not inspection.obstacles and fallback is None:
            fallback = env
        # Exact ties that no draw avoids, as in abs(x[i] - x[j]) at i = j, are part of the formula:
        # the convention at kinks then holds on both sides of every line.
        if fallback is not None and attempt >= tries // 2:
            return fallback
        obstacle = (inspection.obstacles + inspection.ties + inspection.masked)[0]
    raise VerificationError(
        f"no test point of {program.name} is inside every domain and away from every kink: {obstacle}",
        hint="Is the formula defined for any real input? Add a small constant where it divides.",
    )


def _draw(
    program: Program,
    sizes: dict[Range, int],
    rng: np.random.Generator,
    attempt: int,
    parameters: Mapping[Tensor, float],
) -> tuple[Environment, Inspection]:
    arrays = {t: _input(t, program, sizes, rng, attempt) for t in program.inputs}
    for tensor, default in program.parameters:
        given = parameters.get(tensor)
        arrays[tensor] = np.asarray(_parameter(default, rng, attempt) if given is None else float(given))
    env = Environment(sizes, arrays, {d.target: d for d in program.definitions})
    inspection = Inspection()
    for definition in program.definitions:
        with np.errstate(all="ignore"):
            seen = _Inspector(env, inspection).value(definition.body, Scope.over(definition.indices, env))
        if inspection.obstacles:
            break
        value = np.array(np.broadcast_to(seen, tuple(env.size(i.range) for i in definition.indices)))
        if np.isnan(value).any():
            value = evaluate(definition.body, definition.indices, env)  # which says where
        if definition.target.dtype == "int":
            value = np.rint(value).astype(np.int64)
        elif definition.target.dtype == "bool":
            value = value != 0
        env = env.having({definition.target: value})
    return env, inspection


# --- values ----------------------------------------------------------------------------------------


def _input(
    tensor: Tensor, program: Program, sizes: dict[Range, int], rng: np.random.Generator, attempt: int
) -> Array:
    shape = tuple(r.size if r.size is not None else sizes[r] for r in tensor.axes)
    if tensor.dtype == "int":
        values = np.array(label_values(tensor, program, tuple(sizes.items())), np.int64)
        return np.asarray(values[_mixed(rng, len(values), shape, attempt)])
    if tensor.dtype == "bool":
        return _mixed(rng, 2, shape).astype(bool)
    if tensor.dtype != "float":
        raise ShapeError(f"{tensor} has the element type {tensor.dtype}; float, int and bool are known")
    interval = _interval(tensor, program)
    if interval is not None:
        return rng.uniform(*interval, size=shape)
    if len(shape) >= 2 and _inside_matrix_function(tensor, program):
        # n I keeps a random matrix far from singular, and its determinant positive.
        return rng.normal(size=shape) + shape[-1] * np.eye(shape[-1])
    # The first draws are of both signs; later ones try, input by input, intervals that a logarithm,
    # a root or 1 - x^2 of a composed argument may need.
    style = 0 if attempt < TRIES // 8 else int(rng.integers(len(INTERVALS) + 1))
    return rng.uniform(*INTERVALS[style - 1], size=shape) if style else rng.normal(size=shape)


def _mixed(rng: np.random.Generator, count: int, shape: tuple[int, ...], attempt: int = 0) -> Array:
    """Integers below `count`: the largest among them, and not all equal.

    Where that fits no formula, later draws have all of them, if there is room, or just any.
    """
    drawn = np.asarray(rng.integers(count, size=shape))
    if attempt % 3 == 1 and drawn.size >= count:
        drawn.flat[rng.permutation(drawn.size)[:count]] = np.arange(count)
    elif attempt % 3 == 0 and count > 1 and drawn.size > 1:
        last, other = rng.permutation(drawn.size)[:2]
        drawn.flat[last] = count - 1
        if (drawn == count - 1).all():
            drawn.flat[other] = int(rng.integers(count - 1))
    return drawn


@lru_cache(512)
def _inside_matrix_function(tensor: Tensor, program: Program) -> bool:
    """Whether the tensor itself is a matrix that is inverted."""
    return any(
        isinstance(node, Opaque) and isinstance(node.body, Access) and node.body.tensor is tensor
        for definition in program.definitions
        for node in walk(definition.body)
    )


@lru_cache(512)
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
        masked: Divisions by a value that is exactly 0, where a comparison says that none is needed. A line
            of the derivation may read the same value without the comparison.
    """

    obstacles: list[str] = field(default_factory=list)
    ties: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)


class _Inspector(Evaluator):
    """Evaluates, and looks at every argument of a function, comparison, power or maximum."""

    def __init__(self, env: Environment, inspection: Inspection) -> None:
        super().__init__(env)
        self.inspection = inspection
        self._seen: dict[tuple[Expr, int], tuple[Scope, Array]] = {}

    def value(self, e: Expr, scope: Scope) -> Array:
        """The value, once per scope: an argument is looked at before its function takes it."""
        key = (e, id(scope))  # the scope is kept, or its id might be given to another one
        if key not in self._seen:
            self._seen[key] = (scope, super().value(e, scope))
        return self._seen[key][1]

    def indicator(self, e: Indicator, scope: Scope) -> Array:
        if any(t.dtype == "float" for t in tensors_in(e)):
            self.keep_away(e, self.value(e.left, scope) - self.value(e.right, scope), scope, "a tie")
        return super().indicator(e, scope)

    def apply(self, e: Apply, scope: Scope) -> Array:
        primitive = PRIMITIVES.get(e.fn)
        if primitive is not None and e.fn != "where" and e.args:
            args = [self.value(a, scope) for a in e.args]
            leads = args if len(args) == 1 else [args[0] - other for other in args[1:]]
            for lead, kink in product(leads, primitive.kinks):
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
            # What is read outside of an array is 0 too, and stands for nothing.
            if (~scope.live & (base == 0)).any() and not any(leaving(e.base)):
                self.inspection.masked.append(f"{e} divides by 0 behind a mask")
        return super().power(e, scope)

    def matrix_function(self, e: Opaque, scope: Scope) -> Array:
        matrices = self.spread(e.indices, e.body, scope)
        tame = np.linalg.cond(matrices) < WORST_CONDITION
        self.report(e, np.asarray(scope.live & ~tame), "is of a nearly singular matrix")
        return super().matrix_function(e, scope)

    def reduction(self, e: Reduce, scope: Scope) -> Array:
        if e.op != "prod":
            flat = self.spread(e.indices, e.body, scope)
            flat = np.sort(flat.reshape(*flat.shape[: scope.ndim], -1), axis=-1)
            extreme = flat[..., -1] if e.op == "max" else flat[..., 0]
            # A row that a mask leaves empty, max of -inf alone, has no derivative to compare.
            self.report(e, np.asarray(scope.live & ~np.isfinite(extreme)), "is not finite")
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
