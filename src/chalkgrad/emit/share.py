"""Common subexpressions: what a definition already holds is read back, never computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import permutations

from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Reduce,
    Size,
    Sum,
    Tensor,
)
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
from chalkgrad.rules.partial_sums import read_off_partial_sums

MOST_AXES = 4
"""Subexpressions with more free indices than this are not compared (the orders are n!)."""


def share(definitions: Sequence[Definition], keep: Sequence[Tensor]) -> tuple[Definition, ...]:
    """The definitions with repeated work done once.

    A definition equal to an earlier one is dropped (its readers read the earlier one) unless it is
    in `keep`. Part of a formula that equals an earlier definition becomes a read of it. A sum,
    reduction, function or sum of arrays that occurs twice gets a name.
    """
    known: dict[Expr, Definition] = {}
    multiples: dict[Expr, tuple[Definition, Fraction]] = {}
    result: list[Definition] = []
    for d in _name_repeated(_earliest(read_off_partial_sums(definitions))):
        body = _multiple(read_back(d.body, known), d.indices, multiples)
        key = key_in_order(body, d.indices)
        if not isinstance(body, Access | Const | Size) and free_indices(body) == set(d.indices):
            known.setdefault(key, d)
            known.setdefault(key_in_order(d.body, d.indices), d)  # readers still have the parts written out
            coefficient, rest = number_and_rest(body)
            if rest is not body or not isinstance(rest, Access):
                multiples.setdefault(key_in_order(rest, d.indices), (d, coefficient))
        result.append(Definition(d.target, d.indices, body))
    return _drop_copies(result, keep)


def live(definitions: Sequence[Definition], wanted: Iterable[Tensor]) -> tuple[Definition, ...]:
    """The definitions that the wanted values depend on, in order."""
    needed = set(wanted)
    kept = []
    for d in reversed(definitions):
        if d.target in needed:
            kept.append(d)
            needed |= tensors_in(d.body)
    return tuple(reversed(kept))


def _earliest(definitions: Sequence[Definition]) -> list[Definition]:
    """The definitions, a sum or reduction that an earlier one contains moved before that one."""
    ordered = list(definitions)
    for d in definitions:
        if not isinstance(d.body, Sum | Reduce) or len(d.indices) > MOST_AXES:
            continue
        key, place = least_key(d.body), ordered.index(d)
        own = tensors_in(d.body)
        ready = max((n + 1 for n, e in enumerate(ordered) if e.target in own), default=0)
        for n in range(ready, place):
            parts = (e for e in walk(ordered[n].body) if type(e) is type(d.body))
            if any(least_key(e) is key for e in parts):
                ordered.insert(n, ordered.pop(place))
                break
    return ordered


def _multiple(body: Expr, indices: tuple[Index, ...], known: dict[Expr, tuple[Definition, Fraction]]) -> Expr:
    """−2 r / N as minus an earlier 2 r / N."""
    coefficient, rest = number_and_rest(body)
    found = known.get(key_in_order(rest, indices)) if isinstance(rest, Mul | Pow) else None
    if found is None:
        return body
    d, other = found
    if d.indices != indices and tuple(i.range for i in d.indices) != tuple(i.range for i in indices):
        return body
    read = Access(d.target, indices)
    ratio = coefficient / other
    return read if ratio == 1 else Mul((Const(ratio), read))


def number_and_rest(body: Expr) -> tuple[Fraction, Expr]:
    """A product's rational factor, and the rest."""
    if not isinstance(body, Mul):
        return Fraction(1), body
    numbers = [
        f.value for f in body.factors if isinstance(f, Const) and isinstance(f.value, Fraction) and f.value
    ]
    rest = tuple(
        f for f in body.factors if not (isinstance(f, Const) and isinstance(f.value, Fraction) and f.value)
    )
    coefficient = Fraction(1)
    for n in numbers:
        coefficient *= n
    if not rest:
        return Fraction(1), body
    return coefficient, rest[0] if len(rest) == 1 else Mul(rest)


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


def key_in_order(e: Expr, indices: Sequence[Index]) -> Expr:
    """One object for all expressions that are equal when their free indices are taken in order."""
    return canonical(substitute(e, {i: Index(f"@{n}", i.range) for n, i in enumerate(indices)}))


def _costly(e: Expr) -> bool:
    if isinstance(e, Add):
        # e − y once; 1 − p and x + 3 cost less than a name.
        return sum(isinstance(n, Access) and bool(n.tensor.axes) for n in walk(e)) > 1
    return bool(tensors_in(e)) and (isinstance(e, Sum | Reduce | Apply) or _is_mask(e))


def _is_mask(e: Expr) -> bool:
    """A comparison of array values, or a product of comparisons with such a one.

    An equality of indices and labels says where to write instead.
    """
    if isinstance(e, Mul):
        pinned = any(isinstance(f, Indicator) and f.op == "==" and not _is_mask(f) for f in e.factors)
        whole = len(e.factors) > 1 and all(isinstance(f, Indicator) for f in e.factors)
        return whole and not pinned and any(_is_mask(f) for f in e.factors)
    return isinstance(e, Indicator) and any(t.axes and t.dtype == "float" for t in tensors_in(e))


def read_back(e: Expr, known: dict[Expr, Definition]) -> Expr:
    """Parts of `e` that an earlier definition holds, replaced by reads of it, outermost first."""
    if not known or isinstance(e, Access | Const | Size | Index):
        return e
    free = sorted(free_indices(e), key=lambda i: i.name)
    if len(free) <= MOST_AXES:
        for order in permutations(free):
            found = known.get(key_in_order(e, order))
            if found is not None and all(
                a.range is b.range for a, b in zip(found.indices, order, strict=True)
            ):
                return Access(found.target, order)
    return map_children(e, lambda kid: read_back(kid, known))


def _name_repeated(definitions: Sequence[Definition]) -> list[Definition]:
    """Sums, reductions and functions that occur more than once, each under a name of its own."""
    whole = {least_key(d.body) for d in definitions if _costly(d.body)}
    # What is a multiple of an earlier value (see `_multiple`) works nothing out again.
    own = list(
        {key_in_order(number_and_rest(d.body)[1], d.indices): d for d in reversed(definitions)}.values()
    )
    repeated = _repeated(own, frozenset()) - whole
    repeated = _repeated(own, frozenset(repeated)) - whole
    if not repeated:
        return list(definitions)
    taken = {d.target.name for d in definitions}
    for d in definitions:
        taken |= {t.name for t in tensors_in(d.body)}
    named: dict[Expr, Definition] = {}
    result: list[Definition] = []
    for d in definitions:
        for e in _parts(d):
            key = least_key(e)
            if key in repeated and key not in named:
                named[key] = temporary(e, taken)
                result.append(named[key])
        result.append(d)
    return result


def _repeated(definitions: Sequence[Definition], once: frozenset[Expr]) -> set[Expr]:
    """Keys of costly parts that occur twice, where the parts in `once` are worked out only once."""
    counts: Counter[Expr] = Counter()

    def visit(e: Expr, whole: bool) -> None:
        if not whole and _costly(e) and len(free_indices(e)) <= MOST_AXES:
            key = least_key(e)
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


def least_key(e: Expr) -> Expr:
    """`key_in_order` under the order of free indices that a fixed rule picks."""
    free = sorted(free_indices(e), key=lambda i: i.name)
    if len(free) > MOST_AXES:
        return e
    return min((key_in_order(e, order) for order in permutations(free)), key=flat_key)


def temporary(e: Expr, taken: set[str], base: str | None = None) -> Definition:
    """A definition of `e` under an unused name: t1, t2, ..., or base, base2, ..."""
    number = 1
    while (name := base if base and number == 1 else f"{base or 't'}{number}") in taken:
        number += 1
    taken.add(name)
    indices = tuple(sorted(free_indices(e), key=lambda i: i.name))
    for axes in (a.indices for a in walk(e) if isinstance(a, Access)):
        if set(indices) <= set(axes):
            indices = tuple(i for i in axes if isinstance(i, Index) and i in indices)
            break
    target = Tensor(name, tuple(i.range for i in indices), "bool" if _is_mask(e) else "float", "value")
    return Definition(target, indices, e)
