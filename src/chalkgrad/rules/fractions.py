"""Fractions over one denominator, where their numerators then cancel.

    one-fraction    1/p + 1/(1 − p)  =  1/(p (1 − p))

Both sides are defined at the same points. A sum is rewritten only where terms cancel and fewer operations are
left, so applying the rule ends.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from chalkgrad.expr.cost import expression_flops
from chalkgrad.expr.nodes import Access, Add, Const, Expr, Mul, Pow
from chalkgrad.expr.ops import CACHE, children, map_children, walk
from chalkgrad.rules.factoring import Term, divide, term_of, undistribute, write
from chalkgrad.rules.polynomial import Powers, collect, expand, tidy, to_expr


@lru_cache(CACHE)
def one_fraction(e: Expr) -> Expr:
    """Every sum of fractions whose numerators cancel over one denominator, as that one fraction."""
    if len(_divisors(e)) < 2:
        return e
    inner = map_children(e, one_fraction)
    if not isinstance(inner, Add):
        return tidy(inner) if inner is not e and isinstance(inner, Mul) else inner
    terms = [term_of(t) for t in inner.terms]
    below = _denominator(terms)
    if len(below) < 2:
        return inner
    over = [m for t in terms for m in expand(write(*divide(t, Fraction(1), below)))]
    numerator = collect(over)
    if len(numerator) >= len(over):
        return inner
    written = tidy(write(Fraction(1), below, undistribute(to_expr(numerator))))
    return written if _score(written) < _score(inner) else inner


@lru_cache(CACHE)
def _divisors(e: Expr) -> frozenset[Expr]:
    """The values that are divided by anywhere in the expression."""
    own = frozenset((e.base,)) if isinstance(e, Pow) and _is_divisor(e.base, e.exponent) else frozenset()
    return own.union(*map(_divisors, children(e)))


def _is_divisor(base: Expr, power: Expr) -> bool:
    return (
        isinstance(base, Access | Add)
        and isinstance(power, Const)
        and isinstance(power.value, Fraction)
        and power.value < 0
        and power.value.denominator == 1
    )


def _denominator(terms: list[Term]) -> Powers:
    """What the terms divide by, each value to its lowest power: the common denominator."""
    below: Powers = {}
    for _, powers in terms:
        for atom, power in powers.items():
            if _is_divisor(atom, Const(power)):
                below[atom] = min(power, below.get(atom, power))
    return below


def _score(e: Expr) -> tuple[float, int]:
    return expression_flops(e), sum(1 for _ in walk(e))
