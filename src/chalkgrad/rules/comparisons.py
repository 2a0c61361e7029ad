"""What comparisons of values say together and about differences.

    sign         1(c a > d a)                      =  1(a > 0)     where c − d is a positive number
    trichotomy   1(a > b) + 1(a = b) + 1(a < b)    =  1

The first leaves a shorter comparison, the second fewer terms, so applying them ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from chalkgrad.expr.nodes import ZERO, Access, Const, Expr, Indicator, Size
from chalkgrad.expr.ops import CACHE, canonical, children, flat_key, map_children, tensors_in
from chalkgrad.rules.polynomial import Monomial, collect, expand, monomial, plain

WAYS = {
    ">": (1, 0, 0), ">=": (1, 1, 0), "==": (0, 1, 0), "<=": (0, 1, 1), "<": (0, 0, 1), "!=": (1, 0, 1),
}  # fmt: skip
"""Which of larger, equal and smaller a comparison lets through."""

OPERATORS = {ways: op for op, ways in WAYS.items()}


def compares_values(e: Expr | None) -> bool:
    """Whether a comparison looks at values; one of places says where to read or write, and stays a factor."""
    return isinstance(e, Indicator) and any(t.dtype == "float" and t.axes for t in tensors_in(e))


@lru_cache(CACHE)
def has_comparisons(e: Expr) -> bool:
    """Whether values are compared anywhere in the expression."""
    return compares_values(e) or any(map(has_comparisons, children(e)))


@lru_cache(CACHE)
def by_signs(e: Expr) -> Expr:
    """Every comparison of two multiples of one value, as a comparison of that value with zero."""
    if not has_comparisons(e):
        return e
    new = map_children(e, by_signs)
    if not isinstance(new, Indicator) or not compares_values(new) or isinstance(new.right, Const):
        return new
    difference = collect([*expand(new.left), *(m.scaled(Fraction(-1)) for m in expand(new.right))])
    if len(difference) != 1 or difference[0].bound:
        return new
    (m,) = difference
    values = [(a, p) for a, p in m.powers if not isinstance(a, Size)]
    if len(values) != 1 or values[0][1] != 1 or not isinstance(values[0][0], Access):
        return new
    larger, equal, smaller = WAYS[new.op]
    ways = (larger, equal, smaller) if m.coeff > 0 else (smaller, equal, larger)
    return Indicator(OPERATORS[ways], values[0][0], ZERO)


def three_ways(poly: Sequence[Monomial]) -> tuple[list[Monomial], bool]:
    """Terms that differ in one comparison of two values alone, as fewer; and whether there were any."""
    groups: dict[Expr, list[_Case]] = {}
    compared = [m for m in poly if any(compares_values(a) for a, _ in m.powers)]
    for m in compared if len(compared) > 1 else ():
        # Two comparisons of one term may have one key, by renaming; the term is there but once.
        for case in {case.key: case for case in _cases(m)}.values():
            groups.setdefault(case.key, []).append(case)
    for found in groups.values():
        fewer = _fewer(found)
        if fewer is not None:
            gone = [case.term for case in found]
            rest = [m for m in poly if not any(m is g for g in gone)]
            return three_ways([*rest, *fewer])[0], True
    return list(poly), False


@dataclass(frozen=True, slots=True)
class _Case:
    """A term and one of its comparisons.

    Attributes:
        term: The term.
        mask: The comparison, with the sides in an order of their own.
        key: The term with 1(a = b) for whatever comparison of a and b it is: cases of one choice share it.
    """

    term: Monomial
    mask: Indicator
    key: Expr

    @property
    def weights(self) -> list[Fraction]:
        """The term's coefficient where the left side is larger, equal, smaller."""
        return [self.term.coeff * way for way in WAYS[self.mask.op]]

    def having(self, coeff: Fraction, mask: Indicator | None) -> Monomial | None:
        """The term with another coefficient and comparison."""
        powers = {a: p for a, p in self.term.powers if not _same_sides(a, self.mask)}
        return monomial(coeff, self.term.bound, powers | ({mask: Fraction(1)} if mask else {}))


def _cases(m: Monomial) -> list[_Case]:
    masks = [a for a, _ in m.powers if isinstance(a, Indicator) and compares_values(a)]
    found = []
    for mask in masks:
        if sum(_same_sides(a, mask) for a in masks) > 1:
            continue
        first, second = sorted((mask.left, mask.right), key=flat_key)
        larger, equal, smaller = WAYS[mask.op]
        op = mask.op if first is mask.left else OPERATORS[smaller, equal, larger]
        powers = [(Indicator("==", first, second) if a is mask else a, p) for a, p in m.powers]
        key = canonical(plain(Monomial(Fraction(1), m.bound, tuple(sorted(powers, key=_order)))))
        found.append(_Case(m, Indicator(op, first, second), key))
    return found


def _order(factor: tuple[Expr, Fraction]) -> tuple[object, ...]:
    return flat_key(factor[0])


def _same_sides(e: Expr, mask: Indicator) -> bool:
    return isinstance(e, Indicator) and {e.left, e.right} == {mask.left, mask.right}


def _fewer(found: Sequence[_Case]) -> list[Monomial] | None:
    """The terms as fewer: a number where three weights are one, a number and a comparison where two are."""
    weights = [sum(column, Fraction(0)) for column in zip(*(case.weights for case in found), strict=True)]
    base = next((w for w in weights if w and weights.count(w) > 1), Fraction(0))
    made = [found[0].having(base, None)] if base else []
    for other in dict.fromkeys(w - base for w in weights if w != base):
        larger, equal, smaller = (int(w - base == other) for w in weights)
        mask = replace(found[0].mask, op=OPERATORS[larger, equal, smaller])
        made.append(found[0].having(other, mask))
    return [m for m in made if m is not None] if len(made) < len(found) else None
