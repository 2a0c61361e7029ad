"""Common subexpressions: what a definition already holds is read back, never computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import permutations

from chalkgrad.expr.nodes import Access, Apply, Const, Definition, Expr, Index, Reduce, Size, Sum, Tensor
from chalkgrad.expr.ops import (
    canonical,
    children,
    flat_key,
    free_indices,
    map_children,
    replace_access,
    substitute,
    tensors_in,
    walk,
)

MOST_AXES = 4
"""Subexpressions with more free indices than this are not compared (the orders are n!)."""


def share(definitions: Sequence[Definition], keep: Sequence[Tensor]) -> tuple[Definition, ...]:
    """The definitions with repeated work done once.

    A definition equal to an earlier one is dropped (its readers read the earlier one) unless it is
    in `keep`. Part of a formula that equals an earlier definition becomes a read of it. A sum,
    reduction or function that occurs twice gets a name.
    """
    known: dict[Expr, Definition] = {}
    result: list[Definition] = []
    for d in _name_repeated(definitions):
        body = _read_back(d.body, known)
        key = _key(body, d.indices)
        if not isinstance(body, Access | Const | Size) and free_indices(body) == set(d.indices):
            known.setdefault(key, d)
        result.append(Definition(d.target, d.indices, body))
    return _drop_copies(result, keep)


def _whole(d: Definition, body: Access) -> bool:
    """Whether the definition only renames another value, axes in the same order."""
    return (
        body.indices == d.indices
        and len(set(d.indices)) == len(d.indices)
        and body.tensor.dtype == d.target.dtype
    )


def _drop_copies(definitions: Sequence[Definition], keep: Sequence[Tensor]) -> tuple[Definition, ...]:
    """Definitions that only rename another value, removed; their readers read that value."""
    renamed: dict[Tensor, Tensor] = {}
    result = []
    for d in definitions:
        body = d.body
        for t in tensors_in(body):
            if t in renamed:
                new = renamed[t]
                body = replace_access(body, t, partial(Access, new))
        if isinstance(body, Access) and d.target not in keep and _whole(d, body):
            renamed[d.target] = body.tensor
            continue
        result.append(Definition(d.target, d.indices, body))
    return tuple(result)


def _key(e: Expr, indices: Sequence[Index]) -> Expr:
    """One object for all expressions that are equal when their free indices are taken in order."""
    return canonical(substitute(e, {i: Index(f"@{n}", i.range) for n, i in enumerate(indices)}))


def _costly(e: Expr) -> bool:
    return bool(tensors_in(e)) and isinstance(e, Sum | Reduce | Apply)


def _read_back(e: Expr, known: dict[Expr, Definition]) -> Expr:
    """Parts of `e` that an earlier definition holds, replaced by reads of it, outermost first."""
    if not known or isinstance(e, Access | Const | Size | Index):
        return e
    free = sorted(free_indices(e), key=lambda i: i.name)
    if len(free) <= MOST_AXES:
        for order in permutations(free):
            found = known.get(_key(e, order))
            if found is not None and all(
                a.range is b.range for a, b in zip(found.indices, order, strict=True)
            ):
                return Access(found.target, order)
    return map_children(e, lambda kid: _read_back(kid, known))


def _name_repeated(definitions: Sequence[Definition]) -> list[Definition]:
    """Sums, reductions and functions that occur more than once, each under a name of its own."""
    whole = {_least_key(d.body) for d in definitions if _costly(d.body)}
    repeated = _repeated(definitions, frozenset()) - whole
    repeated = _repeated(definitions, frozenset(repeated)) - whole
    if not repeated:
        return list(definitions)
    taken = {d.target.name for d in definitions}
    for d in definitions:
        taken |= {t.name for t in tensors_in(d.body)}
    named: dict[Expr, Definition] = {}
    result: list[Definition] = []
    for d in definitions:
        for e in _parts(d):
            key = _least_key(e)
            if key in repeated and key not in named:
                named[key] = _temporary(e, taken)
                result.append(named[key])
        result.append(d)
    return result


def _repeated(definitions: Sequence[Definition], once: frozenset[Expr]) -> set[Expr]:
    """Keys of costly parts that occur twice, where the parts in `once` are worked out only once."""
    counts: Counter[Expr] = Counter()

    def visit(e: Expr, whole: bool) -> None:
        if not whole and _costly(e) and len(free_indices(e)) <= MOST_AXES:
            key = _least_key(e)
            counts[key] += 1
            if key in once and counts[key] > 1:
                return
        for kid in children(e):
            visit(kid, False)

    for d in definitions:
        visit(d.body, True)
    return {key for key, n in counts.items() if n > 1}


def _parts(d: Definition) -> Iterator[Expr]:
    """The costly parts of a body, the whole body excluded, innermost first."""
    for part in reversed(list(walk(d.body))):
        if part is not d.body and _costly(part) and len(free_indices(part)) <= MOST_AXES:
            yield part


def _least_key(e: Expr) -> Expr:
    """`_key` under the order of free indices that a fixed rule picks."""
    free = sorted(free_indices(e), key=lambda i: i.name)
    if len(free) > MOST_AXES:
        return e
    return min((_key(e, order) for order in permutations(free)), key=flat_key)


def _temporary(e: Expr, taken: set[str]) -> Definition:
    """A definition of `e` under an unused name."""
    number = 1
    while f"t{number}" in taken:
        number += 1
    taken.add(f"t{number}")
    indices = tuple(sorted(free_indices(e), key=lambda i: i.name))
    for axes in (a.indices for a in walk(e) if isinstance(a, Access)):
        if set(indices) <= set(axes):
            indices = tuple(i for i in axes if isinstance(i, Index) and i in indices)
            break
    target = Tensor(f"t{number}", tuple(i.range for i in indices), "float", "value")
    return Definition(target, indices, e)
