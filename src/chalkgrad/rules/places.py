"""Places in an array whose axes were cut or joined, worked out where nothing is left of that.

    joined-again    B (e // B) + e % B                     =  e
    cut-again       (B q + r) // B = q,  (B q + r) % B     =  r      where 0 ≤ r < B

For whole numbers both hold always, and each leaves fewer operations, so working out ends. What is below B is
read off the ranges of the indices alone.
"""

from __future__ import annotations

from fractions import Fraction

from chalkgrad.expr.nodes import Access, Apply, Const, Expr, Index, Mul, Size
from chalkgrad.expr.ops import canonical, map_children, walk
from chalkgrad.rules.polynomial import Monomial, collect, expand, monomial, plain, to_expr


def with_plain_places(e: Expr) -> Expr:
    """Every read at a quotient or remainder, at the place itself where that is one without them."""
    if not any(_is_cut(n) for n in walk(e)):
        return e
    new = map_children(e, with_plain_places)
    if isinstance(new, Access):
        made = map_children(new, plain_place)
        return new if any(_is_cut(n) for n in walk(made)) else made
    return new


def _is_cut(e: Expr) -> bool:
    return isinstance(e, Apply) and e.fn in ("floordiv", "mod")


def plain_place(e: Expr) -> Expr:
    """A place with its quotients and remainders worked out as far as the ranges of its indices say."""
    if isinstance(e, Index | Const | Size | Access):
        return e
    new = map_children(e, plain_place)
    if isinstance(new, Apply) and _is_cut(new):
        found = _divided(expand(new.args[0]), expand(new.args[1]))
        if found is None:
            return new
        return to_expr(collect(found[0] if new.fn == "floordiv" else found[1]))
    return to_expr(rejoined(collect(expand(new))))


def rejoined(poly: list[Monomial]) -> list[Monomial]:
    """B (e // B) + e % B is e: an axis cut in two and joined again."""
    for rest in poly:
        match rest.powers:
            case ((Apply("mod", (whole, part)), Fraction(numerator=1, denominator=1)),):
                cut = Mul((Const(rest.coeff), part, Apply("floordiv", (whole, part))))
                keys = {canonical(plain(m)) for m in expand(cut)}
                others = [m for m in poly if m is not rest and canonical(plain(m)) not in keys]
                if len(keys) == 1 and len(others) == len(poly) - 2:
                    joined = expand(Mul((Const(rest.coeff), whole)))
                    return rejoined(collect([*others, *joined]))
    return poly


Split = tuple[list[Monomial], list[Monomial]]
"""A quotient and a remainder."""


def _divided(whole: list[Monomial], part: list[Monomial]) -> Split | None:
    """Quotient and remainder, where the remainder is below the divisor."""
    if len(part) != 1 or part[0].bound:
        return None
    quotient, rest = _split(whole, part[0])
    return (quotient, rest) if _is_below(rest, part[0]) else None


def _split(whole: list[Monomial], part: Monomial) -> Split:
    """The terms that are multiples of the divisor, without it, and the others."""
    quotient: list[Monomial] = []
    rest: list[Monomial] = []
    for m in whole:
        powers = dict(m.powers)
        for atom, power in part.powers:
            powers[atom] = powers.get(atom, Fraction(0)) - power
        coeff = m.coeff / part.coeff
        ratio = monomial(coeff, m.bound, powers)
        exact = coeff.denominator == 1 and all(p >= 0 for p in powers.values())
        (quotient if exact else rest).append(ratio if exact and ratio is not None else m)
    return quotient, rest


def _is_below(rest: list[Monomial], part: Monomial) -> bool:
    """Whether 0 ≤ rest < part for all values of the indices: digits of a number, each below its base."""
    if not rest:
        return True
    sizes = [a for a, p in part.powers if isinstance(a, Size) and p == 1]
    if len(sizes) != len(part.powers) or part.coeff < 1:
        return False
    match rest:
        case [Monomial(coeff=1, bound=(), powers=((Index() as i, Fraction(numerator=1, denominator=1)),))]:
            return Size(i.range) in sizes or (i.range.size is not None and i.range.size <= part.coeff)
    bases = [Monomial(Fraction(1), (), ((s, Fraction(1)),)) for s in sizes]
    bases += [Monomial(part.coeff, (), ())] if part.coeff > 1 else []
    for base in bases:
        quotient, low = _split(rest, base)
        above = _split([part], base)[0]
        if quotient and above and _is_below(low, base) and _is_below(quotient, above[0]):
            return True
    return False
