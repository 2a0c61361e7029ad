"""What a value is where a comparison holds.

    masked-value    1(a < b) min(a, b)  =  1(a < b) a,    1(a = b) max(a, b)  =  1(a = b) a
                    1(c > b) 1(c < d) c  =  1(c > b) 1(c < d) a,    c = clip(a, b, d)

A smaller or larger of two gives way to one of the two, a clipped value to what was clipped, so applying the
rule ends. It is what makes the
clipped part drop out of c (r − c/2), c = clip(r, −δ, δ), whose derivative is c and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from chalkgrad.expr.nodes import Access, Apply, Definition, Expr, Indicator, Tensor
from chalkgrad.expr.ops import canonical, substitute
from chalkgrad.rules.polynomial import Monomial, Powers, monomial, tidy

SMALLER = {"<": 0, "<=": 0, "==": 0, ">": 1, ">=": 1}
"""Which side of a comparison is the smaller one; at a tie either, so the first."""

CHOICES = ("minimum", "maximum", "clip")
"""Functions whose value is one of their arguments."""


def with_masks(poly: Sequence[Monomial], definitions: Sequence[Definition]) -> tuple[list[Monomial], bool]:
    """Every minimum and maximum that a comparison beside it settles, and whether there was one."""
    known = {d.target: d for d in definitions if isinstance(d.body, Apply) and d.body.fn in CHOICES}
    result: list[Monomial] = []
    used = False
    for m in poly:
        current: Monomial | None = m
        while current is not None:
            found = _settled(current, known)
            if found is None:
                break
            current, used = _replaced(current, *found), True
        if current is not None:
            result.append(current)
    return result, used


def _settled(m: Monomial, known: dict[Tensor, Definition]) -> tuple[Expr, Expr] | None:
    """A factor of the monomial, and what it is under one of the monomial's comparisons."""
    masks = [a for a, p in m.powers if isinstance(a, Indicator) and p > 0 and a.op in SMALLER]
    for atom, _ in m.powers if masks else ():
        choice = _choice(atom, known)
        if choice is not None and choice.fn == "clip":
            if _unclipped(atom, choice, masks):
                return atom, choice.args[0]
            continue
        for mask in masks if choice is not None else ():
            assert choice is not None
            chosen = _side(choice, mask)
            if chosen is not None:
                return atom, chosen
    return None


def _choice(atom: Expr, known: dict[Tensor, Definition]) -> Apply | None:
    """The min(a, b) or max(a, b) that the factor is, by itself or by its definition."""
    match atom:
        case Apply(fn) if fn in CHOICES:
            return atom
        case Access(tensor, indices) if tensor in known:
            d = known[tensor]
            body = substitute(d.body, dict(zip(d.indices, indices, strict=True)))
            return body if isinstance(body, Apply) else None
    return None


def _unclipped(atom: Expr, choice: Apply, masks: Sequence[Indicator]) -> bool:
    """Whether the value lies strictly between its bounds where the comparisons hold, and passes a name."""
    value, low, high = choice.args
    below = any(m.op == ">" and m.left is atom and m.right is low for m in masks)
    above = any(m.op == "<" and m.left is atom and m.right is high for m in masks)
    return below and above and isinstance(value, Access)


def _side(choice: Apply, mask: Indicator) -> Expr | None:
    """The argument that the choice takes where the comparison holds; None where it does not say."""
    sides = [canonical(tidy(s)) for s in (mask.left, mask.right)]
    arguments = [canonical(tidy(a)) for a in choice.args]
    if arguments == sides[::-1] and arguments[0] is not arguments[1]:
        order = (1, 0)
    elif arguments == sides:
        order = (0, 1)
    else:
        return None
    if mask.op == "==":
        return choice.args[0]
    smaller = SMALLER[mask.op]
    return choice.args[order[smaller if choice.fn == "minimum" else 1 - smaller]]


def _replaced(m: Monomial, before: Expr, after: Expr) -> Monomial | None:
    powers: Powers = {}
    for atom, power in m.powers:
        new = after if atom is before else atom
        powers[new] = powers.get(new, Fraction(0)) + power
    return monomial(m.coeff, m.bound, powers)
