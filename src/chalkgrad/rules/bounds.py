"""Between which numbers the values of an expression lie, as far as its form tells.

    2 + s²  ≥ 2      1 + exp(x) ≥ 1      −1 ≤ tanh(x) ≤ 1      Σ |x| ≥ 0

So a reciprocal, a root or a logarithm of something that stays away from its end needs no guard.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Indicator,
    Mul,
    Pow,
    Reduce,
    Size,
    Sum,
)
from chalkgrad.primitives import PRIMITIVES

Interval = tuple[float, float]
ALL: Interval = (-math.inf, math.inf)


class Bounds:
    """Intervals that hold every value of an expression; ends belong to it.

    Args:
        definitions: What their names stand for is seen through.

    Example:
        >>> from chalkgrad.frontend.text_formula import read_formula
        >>> program = read_formula("y[i] = 3 - 2 * tanh(x[i]) * sigmoid(x[i])^2", "f")
        >>> Bounds().of(program.definitions[0].body)
        (1.0, 5.0)
    """

    def __init__(self, definitions: Iterable[Definition] = ()) -> None:
        self.own = {d.target: d for d in definitions}
        self.known: dict[Expr, Interval] = {}

    def of(self, e: Expr) -> Interval:
        """The interval of an expression."""
        if e not in self.known:
            self.known[e] = self._of(e)
        return self.known[e]

    def _of(self, e: Expr) -> Interval:
        match e:
            case Const(value):
                return float(value), float(value)
            case Size():
                return 1.0, math.inf
            case Indicator():
                return 0.0, 1.0
            case Access(tensor) if tensor in self.own:
                return self.of(self.own[tensor].body)
            case Access(tensor) if tensor.dtype == "bool":
                return 0.0, 1.0
            case Add(terms):
                return _sum(self.of(t) for t in terms)
            case Mul(factors):
                # Equal factors by twos are squares, which are not negative.
                counts = Counter(factors)
                return _product(_power(self.of(f), n) for f, n in counts.items())
            case Pow(base, Const(Fraction() as power)) if power > 0 and power.denominator == 1:
                return _power(self.of(base), int(power))
            case Pow(base, _):
                return (0.0, math.inf) if self.of(base)[0] >= 0 else ALL
            case Sum(_, body):
                low, high = self.of(body)
                return (low if low >= 0 else -math.inf), (high if high <= 0 else math.inf)
            case Reduce("max" | "min", _, body):
                return self.of(body)
            case Apply(fn, args):
                return self._function(fn, args)
        return ALL

    def _function(self, fn: str, args: tuple[Expr, ...]) -> Interval:
        if fn == "where":
            (a, b), (c, d) = (self.of(branch) for branch in args[1:])
            return min(a, c), max(b, d)
        if fn in ("maximum", "minimum"):
            (a, b), (c, d) = (self.of(x) for x in args)
            chosen = max if fn == "maximum" else min
            return chosen(a, c), chosen(b, d)
        return PRIMITIVES[fn].values if fn in PRIMITIVES else ALL


def _sum(parts: Iterable[Interval]) -> Interval:
    lows, highs = zip(*parts, strict=True)
    return sum(lows), sum(highs)


def _product(parts: Iterable[Interval]) -> Interval:
    low, high = 1.0, 1.0
    for a, b in parts:
        # 0 · ∞ stands for numbers, however large, times 0.
        ends = [0.0 if 0.0 in (x, y) else x * y for x in (low, high) for y in (a, b)]
        low, high = min(ends), max(ends)
    return low, high


def _power(of: Interval, n: int) -> Interval:
    low, high = (end**n for end in of)
    if n % 2:
        return low, high
    return (0.0 if of[0] <= 0 <= of[1] else min(low, high)), max(low, high)
