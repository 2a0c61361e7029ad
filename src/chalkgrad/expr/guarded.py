"""Reads that a comparison beside them keeps inside of an array, as in 1(i − 1 ≥ 0) / x[i − 1].

Where the guard fails the read has no value, and none is needed. So what is taken out of a guarded product
must take the guard along, or stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TypeGuard

from chalkgrad.expr.linear import (
    LeastSizes,
    Linear,
    as_index,
    derived_sizes,
    inside,
    linear,
    lowest,
    plus,
    size_of,
    times,
)
from chalkgrad.expr.nodes import Access, Apply, Expr, Index, Indicator, Mul, Program, Range, Size
from chalkgrad.expr.ops import children, free_indices, tensors_in, walk


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


# --- reads that nothing guards ----------------------------------------------------------------------

Guarded = frozenset[Index | None]
"""Indices that a comparison around a read looks at; None for one that looks at sizes alone."""


def unguarded(e: Expr, guarded: Guarded = frozenset()) -> Iterator[tuple[Access, Guarded]]:
    """Every access, with what a factor 1(...) or a where(...) around it looks at."""
    match e:
        case Access():
            yield e, guarded
        case Mul(factors):
            guards = (f for f in factors if isinstance(f, Indicator))
            guarded = guarded.union(*(free_indices(f) or {None} for f in guards))
        case Apply("where", (condition, *_)):
            guarded |= free_indices(condition) or {None}
    for kid in children(e):
        yield from unguarded(kid, guarded)


def must_be_there(program: Program) -> Iterator[tuple[Access, Range, Linear]]:
    """The computed subscripts that nothing guards: what they read must be there."""
    for d in program.definitions:
        for access, guarded in unguarded(d.body):
            for subscript, axis in zip(access.indices, access.tensor.axes, strict=True):
                form = linear(subscript)
                if form is None or (isinstance(subscript, Index) and subscript.range is axis):
                    continue
                if not (free_indices(subscript) or {None}) & guarded:
                    yield access, axis, form


def end(form: Linear, sign: int) -> Linear:
    """The largest value of a form, or with sign −1 the smallest: each index is at one of its ends."""
    result: Linear = {}
    for atom, c in form.items():
        if not isinstance(atom, Index):
            result = plus(result, {atom: c})
        elif c * sign > 0:
            result = plus(result, times(plus(size_of(atom.range), {None: -1}), c))
    return result


def sizes_known(program: Program) -> AbstractContextManager[None]:
    """Within, bounds are proved with the program's sizes, and with what it reads: that must be there."""
    return derived_sizes(program.sizes, least_sizes(program))


@lru_cache(256)
def least_sizes(program: Program) -> LeastSizes:
    """Sizes that the program needs, as it reads up to there without a guard: x[i+1] w[i] asks for |N| + 1.

    Example:
        >>> from chalkgrad.frontend.text_formula import read_formula
        >>> [(of, least)] = least_sizes(read_formula("y[i] = x[i+1] * w[i]", "f"))
        >>> print(of.name, as_index(dict(least)))
        I 1 + size(N)
    """
    found: dict[Range, Linear] = {}
    with derived_sizes(program.sizes):
        for _, axis, form in must_be_there(program):
            if free_indices(as_index(form)) and inside(form, axis):
                continue
            past_end = plus(plus(size_of(axis), {None: -1}), end(form, 1), -1)
            for room in (past_end, end(form, -1)):  # neither is negative
                for atom, factor in room.items():
                    if isinstance(atom, Size) and factor == 1 and atom.range not in dict(program.sizes):
                        least = plus({atom: 1}, room, -1)
                        if atom.range not in found or _larger(least, found[atom.range]):
                            found[atom.range] = least
    return tuple((of, tuple(form.items())) for of, form in found.items())


def _larger(a: Linear, b: Linear) -> bool:
    least = lowest(plus(a, b, -1))
    return least is not None and least >= 0
