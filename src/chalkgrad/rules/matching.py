"""Matching a pattern against an expression, up to order of terms and names of bound indices.

Pattern variables are indices (they stand for any index expression) and rank-0 tensors whose name
starts with `?` (they stand for any expression).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fractions import Fraction
from itertools import permutations

from chalkgrad.expr.nodes import Access, Add, Const, Expr, Index, Mul, Reduce, Sum
from chalkgrad.expr.ops import children, free_indices, map_children, substitute

Binding = Mapping[Expr, Expr]

MAX_COMMUTING = 5
"""Products and sums of more factors than this match only in their written order."""


def match(
    pattern: Expr, e: Expr, variables: Collection[Expr], bound: Binding | None = None
) -> Iterator[Binding]:
    """Every way to choose the variables that makes `pattern` equal to `e`."""
    known: Binding = bound or {}
    if pattern in known:
        if known[pattern] is e:
            yield known
        return
    if pattern in variables:
        yield {**known, pattern: e}
        return
    if type(pattern) is not type(e):
        return
    multiple = _multiple(pattern, e, variables)
    if multiple is not None:
        yield from match(*multiple, variables, known)
        return
    if isinstance(pattern, Sum | Reduce):
        yield from _match_binder(pattern, e, variables, known)
        return
    left, right = children(pattern), children(e)
    if len(left) != len(right) or not _same_head(pattern, e):
        return
    if isinstance(pattern, Add | Mul) and len(left) <= MAX_COMMUTING:
        yield from _match_any_order(left, list(right), variables, known)
    elif not left:
        if pattern is e:
            yield known
    else:
        yield from _match_in_order(left, right, variables, known)


def _multiple(pattern: Expr, e: Expr, variables: Collection[Expr]) -> tuple[Expr, Expr] | None:
    """For −a against −2 x: a, and the 2 x that it stands for; None where the numbers' signs differ."""
    match pattern, e:
        case Mul((Const(Fraction() as own), variable)), Mul((Const(Fraction() as number), *rest)):
            if variable in variables and own * number > 0:
                whole = (Const(number / own), *rest) if number != own else tuple(rest)
                return variable, whole[0] if len(whole) == 1 else Mul(whole)
    return None


def _same_head(a: Expr, b: Expr) -> bool:
    """Whether two nodes of one class agree in everything but their subexpressions."""
    for name in ("tensor", "op", "fn"):
        if getattr(a, name, None) is not getattr(b, name, None) and getattr(a, name, None) != getattr(
            b, name, None
        ):
            return False
    return True


def _match_in_order(
    left: tuple[Expr, ...], right: tuple[Expr, ...], variables: Collection[Expr], known: Binding
) -> Iterator[Binding]:
    if not left:
        yield known
        return
    for found in match(left[0], right[0], variables, known):
        yield from _match_in_order(left[1:], right[1:], variables, found)


def _match_any_order(
    left: tuple[Expr, ...], right: list[Expr], variables: Collection[Expr], known: Binding
) -> Iterator[Binding]:
    if not left:
        yield known
        return
    for place, candidate in enumerate(right):
        for found in match(left[0], candidate, variables, known):
            yield from _match_any_order(left[1:], right[:place] + right[place + 1 :], variables, found)


def _match_binder(
    pattern: Sum | Reduce, e: Expr, variables: Collection[Expr], known: Binding
) -> Iterator[Binding]:
    assert isinstance(e, Sum | Reduce)
    if len(pattern.indices) != len(e.indices) or not _same_head(pattern, e):
        return
    for order in permutations(e.indices):
        if all(a.range is b.range for a, b in zip(pattern.indices, order, strict=True)):
            mapping: dict[Index, Expr] = dict(zip(pattern.indices, order, strict=True))
            for found in match(substitute(pattern.body, mapping), e.body, variables, known):
                # A variable must not stand for something that the sum binds.
                if not any(_mentions(v, order) for k, v in found.items() if k not in known):
                    yield found


def _mentions(e: Expr, indices: tuple[Index, ...]) -> bool:
    return any(i in free_indices(e) for i in indices)


def instantiate(e: Expr, binding: Binding) -> Expr:
    """The expression with the variables replaced by what they stand for."""
    indices = {k: v for k, v in binding.items() if isinstance(k, Index)}
    result = substitute(e, indices)
    symbols = {k: v for k, v in binding.items() if isinstance(k, Access)}
    return _replace(result, symbols) if symbols else result


def _replace(e: Expr, symbols: Mapping[Access, Expr]) -> Expr:
    if isinstance(e, Access) and e in symbols:
        return symbols[e]
    return map_children(e, lambda kid: _replace(kid, symbols))
