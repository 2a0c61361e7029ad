"""Values with what is needed to judge a difference from them: how large the terms are that made them.

    x - x + 1e-17   is 1e-17, of terms as large as x: an error of 1e-17 says nothing
    d (sin² x + cos² x) / d x   is 0, of 2 sin x cos x and its negative

Rounding errors are in proportion to the terms, not to a value that cancellation made small.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from chalkgrad.expr.nodes import Access, Add, Apply, Const, Expr, Index, Mul, Partial, Pow, Sum, Tensor
from chalkgrad.expr.ops import tensors_in, walk
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.verify.environment import Array, Environment, Scope
from chalkgrad.verify.reference import Evaluator, numbers, values

NEAR = 1e-6
"""A step at which an elementwise function's slope is right to a few digits, which is enough for a scale."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A value with what is needed to judge a difference from it.

    Attributes:
        value: One axis per index.
        magnitude: The same with every term taken as positive.
        error: Estimated absolute error of the derivatives taken numerically inside, 0 if exact.
        method: "exact", "complex step" or "Richardson": how derivatives inside were taken.
    """

    value: Array
    magnitude: Array
    error: float
    method: str


def evaluate_closely(expr: Expr, indices: tuple[Index, ...], env: Environment) -> Evaluated:
    """`evaluate` with the magnitude of the summands and the error of derivatives inside."""
    evaluator = Evaluator(env)
    value = numbers(expr, indices, evaluator)
    return Evaluated(value, np.abs(values(expr, indices, Magnitude(env))), evaluator.error, evaluator.method)


def summands(expr: Expr, indices: tuple[Index, ...], env: Environment) -> Array:
    """The magnitude, that of the terms inside of derivatives included, which takes longer.

    Zero where the expression holds no derivative.
    """
    if not any(isinstance(node, Partial) for node in walk(expr)):
        return np.zeros(())
    return np.abs(values(expr, indices, _WithSlopes(env)))


class Magnitude(Evaluator):
    """The evaluator with positive leaves: sums of absolute values, without cancellation."""

    def value(self, e: Expr, scope: Scope) -> Array:
        match e:
            case Add() | Mul() | Sum():
                return super().value(e, scope)
            case Pow(base, Const(Fraction(numerator=whole, denominator=1))) if whole > 0:
                return np.asarray(self.value(base, scope) ** whole)
        return np.abs(Evaluator(self.env).value(e, scope))


class _WithSlopes(Magnitude):
    """The same for derivatives: the terms that the rules of differentiation make, taken as positive."""

    def value(self, e: Expr, scope: Scope) -> Array:
        if not isinstance(e, Partial):
            return super().value(e, scope)
        body, inner = self.unfolded(e, scope)
        return self.slope(body, inner, e.wrt.tensor, self.flat_position(e.wrt, scope))

    def slope(self, e: Expr, scope: Scope, by: Tensor, at: NDArray[np.int64]) -> Array:
        """Σ |terms of d e / d by[at]|."""
        if by not in tensors_in(e):
            return np.zeros((1,) * scope.ndim)
        match e:
            case Add(terms):
                return sum((self.slope(t, scope, by, at) for t in terms), np.zeros((1,) * scope.ndim))
            case Mul():
                return self._of_product(e, scope, by, at)
            case Sum(indices, body):
                deeper = at.reshape(at.shape + (1,) * len(indices))
                inner = self.slope(body, scope.inside(indices, self.env), by, deeper)
                bound = tuple(range(scope.ndim, scope.ndim + len(indices)))
                sizes = tuple(self.env.size(i.range) for i in indices)
                return np.asarray(np.broadcast_to(inner, inner.shape[: scope.ndim] + sizes).sum(axis=bound))
            case Pow(base, Const(Fraction() as power)):
                x = np.abs(Evaluator(self.env).value(base, scope))
                return np.asarray(abs(float(power)) * x ** float(power - 1) * self.slope(base, scope, by, at))
            case Apply(fn, (argument,)):
                x, f = Evaluator(self.env).value(argument, scope), PRIMITIVES[fn].reference
                steep = np.abs(f(x + NEAR) - f(x - NEAR)) / (2 * NEAR)
                return np.asarray(steep * self.slope(argument, scope, by, at))
            case Access():
                return np.asarray(self.flat_position(e, scope) == at, float)
        return np.abs(Evaluator(self.env).slopes(e, scope, by, at))

    def _of_product(self, e: Mul, scope: Scope, by: Tensor, at: NDArray[np.int64]) -> Array:
        """Σ_j |d f_j| Π |the other factors|."""
        total = np.zeros((1,) * scope.ndim)
        for place, factor in enumerate(e.factors):
            rest = Mul(e.factors[:place] + e.factors[place + 1 :])
            total = total + self.product(rest, scope) * self.slope(factor, scope, by, at)
        return total
