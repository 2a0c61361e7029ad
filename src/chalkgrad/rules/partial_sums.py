"""Sums of one product over some of its indices and over more of them: the second read off the first.

Σ_hw a_ichw b_ichw is there for every i and c; then Σ_ihw a_ichw b_ichw is its sum over i, which is
hardly any work, where the product over all places would be multiplied out and summed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chalkgrad.expr.nodes import Definition, Expr, Index, Sum
from chalkgrad.expr.ops import canonical, children, free_indices, map_children, substitute, walk
from chalkgrad.rules.polynomial import factors_of

Places = frozenset[int]
"""Which of a body's indices a sum binds, as places in the order of their first appearance."""


def read_off_partial_sums(definitions: Sequence[Definition]) -> tuple[Definition, ...]:
    """The definitions with each sum that contains another one as Σ of that one."""
    found: dict[Expr, set[Places]] = {}
    for d in definitions:
        for e in _sums(d.body):
            key, places = _described(e)
            found.setdefault(key, set()).add(places)
    if not any(a < b for places in found.values() for a in places for b in places):
        return tuple(definitions)
    return tuple(replace(d, body=_nested(d.body, found)) for d in definitions)


def _nested(e: Expr, found: dict[Expr, set[Places]]) -> Expr:
    if not isinstance(e, Sum):
        return map_children(e, lambda kid: _nested(kid, found))
    bound, body = _flat(e)
    if not _one_space(body, bound):
        return map_children(e, lambda kid: _nested(kid, found))
    key, places = _described(e)
    order = _order(body)
    body = map_children(body, lambda kid: _nested(kid, found))
    smaller = [p for p in found[key] if p < places]
    whole = tuple(i for i in order if i in bound)
    if not smaller:
        return Sum(whole, body)  # written the same way everywhere, so that it is found again
    most = max(smaller, key=lambda p: (len(p), sorted(p)))
    inner = tuple(order[n] for n in sorted(most))
    return Sum(tuple(i for i in whole if i not in inner), Sum(inner, body))


def _sums(e: Expr) -> Iterator[Sum]:
    """The sums of products that have one factor with all indices."""
    bound, body = _flat(e) if isinstance(e, Sum) else ((), e)
    if bound and _one_space(body, bound):
        assert isinstance(e, Sum)
        yield e
    for part in children(body):
        yield from _sums(part)


def _flat(e: Sum) -> tuple[tuple[Index, ...], Expr]:
    """Directly nested sums as one."""
    bound: tuple[Index, ...] = ()
    body: Expr = e
    while isinstance(body, Sum):
        bound, body = (*bound, *body.indices), body.body
    return bound, body


def _one_space(body: Expr, bound: tuple[Index, ...]) -> bool:
    """Whether one factor has every index, the bound ones among them: no contraction.

    Of one such as Σ_id x_id g_ij the whole may be less work than the parts.
    """
    free = free_indices(body)
    return free.issuperset(bound) and any(free_indices(f) == free for f in factors_of(body))


def _order(body: Expr) -> list[Index]:
    free = free_indices(body)
    return list(dict.fromkeys(n for n in walk(body) if isinstance(n, Index) and n in free))


def _described(e: Sum) -> tuple[Expr, Places]:
    """The body, whatever its indices are called, and which of them are summed."""
    bound, body = _flat(e)
    order = _order(body)
    named = substitute(body, {i: Index(f"@{n}", i.range) for n, i in enumerate(order)})
    return canonical(named), frozenset(n for n, i in enumerate(order) if i in bound)
