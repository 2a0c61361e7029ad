"""Reads that a comparison beside them keeps inside of an array, as in 1(i − 1 ≥ 0) / x[i − 1].

Where the guard fails the read has no value, and none is needed. So what is taken out of a guarded product
must take the guard along, or stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeGuard

from chalkgrad.expr.linear import inside, linear
from chalkgrad.expr.nodes import Access, Expr, Index, Indicator, Mul, Range
from chalkgrad.expr.ops import free_indices, tensors_in, walk


def is_guard(e: Expr) -> TypeGuard[Indicator]:
    """Whether a factor is a comparison of places: of indices, sizes and labels."""
    return isinstance(e, Indicator) and all(t.dtype == "int" for t in tensors_in(e))


def guards_of(e: Expr) -> tuple[Indicator, ...]:
    """The comparisons of places without which a product, or a condition, is 0."""
    factors = e.factors if isinstance(e, Mul) else (e,)
    return tuple(f for f in factors if is_guard(f))


def may_leave(e: Access) -> bool:
    """Whether some subscript is not proved to be a place of its axis; a bare label always is one.

    Bounds follow from sizes that are derived, see `chalkgrad.expr.linear.derived_sizes`.
    """
    return any(_may_leave(i, of) for i, of in zip(e.indices, e.tensor.axes, strict=True))


def _may_leave(subscript: Expr, of: Range) -> bool:
    if isinstance(subscript, Access) or (isinstance(subscript, Index) and subscript.range is of):
        return False
    form = linear(subscript)
    return form is None or not inside(form, of)


def leaving(e: Expr) -> Iterator[Access]:
    """The reads in an expression that may lie outside of their array."""
    return (a for a in walk(e) if isinstance(a, Access) and may_leave(a))


def guards_for(e: Expr, guards: Iterable[Indicator]) -> tuple[Indicator, ...]:
    """Those of the guards that speak of a place at which `e` may read outside of an array."""
    guards = tuple(guards)
    if not guards:
        return ()
    places = free_indices(e).intersection(i for a in leaving(e) for i in free_indices(a))
    return tuple(g for g in guards if free_indices(g) & places)
