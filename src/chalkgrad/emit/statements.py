"""One definition as statements: an assignment, or zeros and an indexed update where an indicator
would otherwise be a dense array of zeros and ones."""

from __future__ import annotations

from dataclasses import dataclass

from chalkgrad.emit.arrays import (
    AddAt,
    Assign,
    Axes,
    Load,
    Positions,
    Scale,
    Statement,
    Zeros,
    kind,
)
from chalkgrad.emit.lower import (
    as_float,
    factors_of,
    flat_sum,
    lower,
    lower_to,
    solve_indicators,
    terms_of,
)
from chalkgrad.expr.nodes import Access, Add, Definition, Expr, Index, Indicator, Mul, Sum
from chalkgrad.expr.ops import free_indices, substitute


@dataclass(frozen=True, slots=True)
class Scatter:
    """A term that is zero but at places[target index] = subscript, where it is `value`.

    `summed` are the indices of a sum around it: several of its terms may fall on one place.
    """

    places: tuple[tuple[Index, Expr], ...]
    value: Expr
    summed: Axes


def statements(d: Definition, own: bool = False) -> tuple[Statement, ...]:
    """The statements that compute a definition; `own` asks for memory of its own."""
    scale, rest = _split_scale(d.body)
    scatters: list[Scatter] = []
    dense: list[Expr] = []
    for term in terms_of(rest):
        found = _scatter(term, d.indices)
        if found is None:
            dense.append(term)
        else:
            scatters.append(found)
    if not scatters:
        return (_assign(d, d.body, own),)
    if not dense and len(scatters) == 1:  # the scale belongs to the few values that are written
        only = scatters[0]
        value = Mul((*scale, *factors_of(only.value))) if scale else only.value
        scatters, scale = [Scatter(only.places, value, only.summed)], []
    result: list[Statement] = []
    if dense:
        result.append(_assign(d, dense[0] if len(dense) == 1 else Add(tuple(dense)), True))
    else:
        result.append(Zeros(d.target, d.indices))
    for place, s in enumerate(scatters):
        result.append(_update(d, s, replace=not dense and place == 0 and not s.summed))
    if scale:
        result.append(Scale(d.target, lower(Mul(tuple(scale)), d.indices), d.indices))
    return tuple(result)


def _assign(d: Definition, body: Expr, own: bool) -> Assign:
    value = lower_to(body, d.indices)
    if d.target.dtype == "float" and (d.indices or kind(value) != "host"):
        value = as_float(value)
    # A bare name or a transposed view of it would share memory with what the caller gave.
    return Assign(d.target, d.indices, value, own and isinstance(value, Load) and kind(value) != "host")


def _split_scale(body: Expr) -> tuple[list[Expr], Expr]:
    """Factors around a sum of terms, and that sum; no factors where the body is not of that form."""
    factors = factors_of(body)
    inner = [f for f in factors if isinstance(f, Add)]
    if len(inner) != 1 or len(factors) == 1:
        return [], body
    return [f for f in factors if f is not inner[0]], inner[0]


def _scatter(term: Expr, target: Axes) -> Scatter | None:
    """A term with an indicator 1(k = e) that fixes a target index, as an indexed update."""
    outer: list[Expr] = []
    summed: Axes = ()
    factors = factors_of(term)
    sums = [f for f in factors if isinstance(f, Sum)]
    if not any(isinstance(f, Indicator) for f in factors):
        if len(sums) != 1:
            return None
        outer = [f for f in factors if f is not sums[0]]
        summed, body = flat_sum(sums[0], {i.name for i in target})
        summed, factors = solve_indicators(summed, factors_of(body))
    places: dict[Index, Expr] = {}
    rest: list[Expr] = []
    for f in factors:
        place = _place(f, target, summed, places)
        if place is None:
            rest.append(f)
        else:
            places[place[0]] = place[1]
    if not places:
        return None
    value = substitute(Mul(tuple(outer + rest)), places)
    addressed = frozenset().union(*map(free_indices, places.values()))
    inside = tuple(i for i in summed if i not in addressed)
    if inside:  # a sum that does not move the place is part of the value
        value = Sum(inside, value)
    summed = tuple(i for i in summed if i in addressed)
    return Scatter(tuple(places.items()), value, summed)


def _place(f: Expr, target: Axes, summed: Axes, found: dict[Index, Expr]) -> tuple[Index, Expr] | None:
    """The target index that an indicator fixes, with its subscript."""
    if not isinstance(f, Indicator) or f.op != "==":
        return None
    for index, other in ((f.left, f.right), (f.right, f.left)):
        if not isinstance(index, Index) or index not in target or index in found:
            continue
        needs = free_indices(other)
        label = isinstance(other, Access) and other.tensor.dtype == "int"
        same = isinstance(other, Index) and other.range is index.range
        if (label or same) and index not in needs and not needs & set(found):
            fixed_elsewhere = any(index in free_indices(e) for e in found.values())
            if not fixed_elsewhere and needs <= set(target) | set(summed):
                return index, other
    return None


def _update(d: Definition, s: Scatter, replace: bool) -> AddAt:
    """The indexed update: integer arrays for the leading axes up to the last one that needs them."""
    places = dict(s.places)
    needed = set(s.summed).union(*map(free_indices, places.values()))
    last = max(n for n, i in enumerate(d.indices) if i in places or i in needed)
    leading, trailing = d.indices[: last + 1], d.indices[last + 1 :]
    shared = (*s.summed, *(i for i in leading if i not in places))
    subscripts = tuple(lower(places[i], shared) if i in places else Positions(i, (i,)) for i in leading)
    value = as_float(lower(s.value, (*shared, *trailing)))
    return AddAt(d.target, subscripts, shared, trailing, value, unique=not s.summed, replace=replace)
