"""Reads outside of an array must not be divided by.

1(i − 1 ≥ 0) x[i − 1] / r[i − 1] is computed for all i, and what lies outside of r is zero there: 0 / 0 is no
number, and no guard beside it makes one of it. So where the guard fails, what is divided by, or what a
function that is not defined everywhere takes, is 1 instead.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from chalkgrad.expr.guarded import guards_for, guards_of
from chalkgrad.expr.linear import holds_always
from chalkgrad.expr.nodes import (
    ONE,
    ZERO,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Pow,
    Reduce,
    Size,
    Sum,
)
from chalkgrad.expr.ops import free_indices, map_children
from chalkgrad.primitives import PRIMITIVES, Primitive
from chalkgrad.rules.factoring import opposite

Guards = tuple[Indicator, ...]

EVERYWHERE = Primitive.__dataclass_fields__["domain"].default
"""The interval that points are drawn from for functions of any real number."""


def without_poles(d: Definition) -> Definition:
    """The definition with 1 for each guarded denominator or argument where its guard fails."""
    return replace(d, body=_held(d.body, ()))


def _held(e: Expr, guards: Guards) -> Expr:
    match e:
        case Mul():
            guards += guards_of(e)
        case Sum(indices) | Reduce(_, indices) | Opaque(_, indices):
            guards = tuple(g for g in guards if free_indices(g).isdisjoint(indices))
        case Apply("where", (condition, chosen, other)):
            fails = guards_of(opposite(condition)) if isinstance(condition, Indicator) else ()
            branches = (_held(chosen, guards + guards_of(condition)), _held(other, guards + fails))
            return Apply("where", (_held(condition, guards), *branches))
        case Pow(base, exponent) if not _is_whole(exponent):
            return Pow(_one_outside(base, guards), _held(exponent, guards))
        case Apply(fn, (argument,)) if fn in PRIMITIVES and PRIMITIVES[fn].domain != EVERYWHERE:
            return Apply(fn, (_one_outside(argument, guards),))
    return map_children(e, lambda kid: _held(kid, guards))


def _is_whole(exponent: Expr) -> bool:
    """Whether any number has this power: 0, 1, 2 and so on."""
    match exponent:
        case Const(Fraction() as power):
            return power >= 0 and power.denominator == 1
    return False


def _one_outside(e: Expr, guards: Guards) -> Expr:
    inner = _held(e, guards)
    said = dict.fromkeys(c for g in guards_for(e, guards) for c in _bounds(g))
    # One that also speaks of other indices is about another read, and would spread e along these.
    needed = tuple(c for c in said if not holds_always(c) and free_indices(c) <= free_indices(e))
    if not needed:
        return inner
    return Apply("where", (needed[0] if len(needed) == 1 else Mul(needed), inner, ONE))


def _bounds(guard: Indicator) -> Guards:
    """What a guard says about places: an equation with an index says that it is one of the index's."""
    if guard.op != "==":
        return (guard,)
    for index, place in ((guard.left, guard.right), (guard.right, guard.left)):
        if isinstance(index, Index) and not isinstance(place, Index):
            return Indicator(">=", place, ZERO), Indicator("<", place, Size(index.range))
    return ()
