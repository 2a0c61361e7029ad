"""Terms that are zero except where an equation holds: written only there.

1(k = y_i) g_i                 name[np.arange(N), y] += g
Σ_t 1(v = t_i) g_id            scatter-add of rows
Σ_hp 1(u = s h + p) g_hp       for p in range(R): name[p : p + s * H : s] += g[:, p]
1(o = 0) a_i + 1(o = 1) b_i    np.stack([a, b], axis=0)
"""

from __future__ import annotations

from dataclasses import dataclass

from chalkgrad.emit.arrays import AddAt, Assign, Axes, Loop, Positions, Slot, Stack, Statement
from chalkgrad.emit.lower import as_float, factors_of, flat_sum, lower, lower_to, solve_indicators
from chalkgrad.emit.windows import index_array, of_indices, read_slot
from chalkgrad.expr.linear import as_index, counter, inside, is_there, linear, plus, times
from chalkgrad.expr.nodes import Access, Add, Const, Definition, Expr, Index, Indicator, Mul, Sum, Tensor
from chalkgrad.expr.ops import free_indices, index_names, substitute, walk


@dataclass(frozen=True, slots=True)
class Scatter:
    """A term that is zero but at places[target index] = subscript, where it is `value`.

    `summed` are the indices of a sum around it: several of its terms may fall on one place.
    """

    places: tuple[tuple[Index, Expr], ...]
    value: Expr
    summed: Axes


def scatter(term: Expr, target: Axes) -> Scatter | None:
    """A term with an indicator 1(k = e) that fixes a target index, as an indexed update."""
    summed, factors = _opened(term, target)
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
    value = substitute(Mul(tuple(rest)), places)
    addressed = frozenset().union(*map(free_indices, places.values()))
    within = tuple(i for i in summed if i not in addressed)
    if within:  # a sum that does not move the place is part of the value
        value = Sum(within, value)
    summed = tuple(i for i in summed if i in addressed)
    return Scatter(tuple(places.items()), value, summed)


def _opened(term: Expr, target: Axes) -> tuple[Axes, list[Expr]]:
    """The factors of a term, sums around an equation for a target index opened."""
    summed: Axes = ()
    factors = factors_of(term)
    while True:
        inner = next((f for f in factors if isinstance(f, Sum) and _fixes(f, target)), None)
        if inner is None:
            return summed, factors
        others = list(factors)
        others.remove(inner)
        taken = {i.name for i in (*target, *summed)}.union(*map(index_names, others))
        bound, body = flat_sum(inner, taken)
        summed, factors = solve_indicators((*summed, *bound), [*others, *factors_of(body)])


def _fixes(e: Sum, target: Axes) -> bool:
    body: Expr = e
    bound: Axes = ()
    while isinstance(body, Sum):
        bound += body.indices
        body = body.body
    return any(
        _fixes(f, target) if isinstance(f, Sum)
        else isinstance(f, Indicator) and f.op == "==" and bool(set(target) & free_indices(f) - set(bound))
        for f in factors_of(body)
    )  # fmt: skip


def _place(f: Expr, target: Axes, summed: Axes, found: dict[Index, Expr]) -> tuple[Index, Expr] | None:
    """The target index that an indicator fixes, with its subscript."""
    if not isinstance(f, Indicator) or f.op != "==":
        return None
    for index, other in _sides(f, target):
        needs = free_indices(other)
        if index in found or index in needs or needs & set(found):
            continue
        fixed_elsewhere = any(index in free_indices(e) for e in found.values())
        if not fixed_elsewhere and needs <= set(target) | set(summed) and _addressable(index, other):
            return index, other
    return None


def _sides(f: Indicator, target: Axes) -> list[tuple[Index, Expr]]:
    """The target indices that an equation can be solved for, with what they equal."""
    pairs = [
        (a, b) for a, b in ((f.left, f.right), (f.right, f.left)) if isinstance(a, Index) and a in target
    ]
    left, right = linear(f.left), linear(f.right)
    if left is not None and right is not None:
        difference = plus(left, right, -1)
        for index in target:
            c = difference.get(index, 0)
            if abs(c) == 1 and index not in (f.left, f.right):
                rest = {a: n for a, n in difference.items() if a is not index}
                pairs.append((index, as_index(times(rest, -c))))
    return pairs


def _addressable(index: Index, other: Expr) -> bool:
    """Whether the subscript is always a place of the axis, or can be made one by a frame of zeros."""
    if isinstance(other, Index):
        return other.range is index.range or read_slot(index.range, {other: 1}) is not None
    if isinstance(other, Access):
        return other.tensor.dtype == "int"
    if not of_indices(other):
        return False
    form = linear(other)
    if form is not None and not free_indices(other):
        return is_there(form, index.range)
    return form is None or inside(form, index.range) or read_slot(index.range, form) is not None


def stacked(scale: list[Expr], terms: list[Expr], target: Axes) -> Stack | None:
    """Terms that each fill one place of the same target index, and together every place of it."""
    for index in target if len(target) > 1 and len(terms) > 1 else ():
        blocks: dict[int, list[Expr]] = {}
        for term in terms:
            factors = factors_of(term)
            place = next((n for n, f in enumerate(factors) if _fixed(f, index) is not None), None)
            if place is None:
                break
            at = _fixed(factors[place], index)
            value = Mul((*scale, *factors[:place], *factors[place + 1 :]))
            if at is None or index in free_indices(value):
                break
            blocks.setdefault(at, []).append(value)
        else:
            if sorted(blocks) == list(range(index.range.size or 0)):
                rest = tuple(i for i in target if i is not index)
                written = (Add(tuple(blocks[n])) for n in sorted(blocks))
                return Stack(tuple(as_float(lower_to(e, rest)) for e in written), index, target)
    return None


def _fixed(f: Expr, index: Index) -> int | None:
    """The number that an indicator 1(index = number) names."""
    if isinstance(f, Indicator) and f.op == "==":
        for side, other in ((f.left, f.right), (f.right, f.left)):
            if side is index and isinstance(other, Const) and other.value == int(other.value):
                return int(other.value)
    return None


def common_frame(axes: Axes, scatters: list[Scatter]) -> tuple[Slot, ...]:
    """How far outside of the target the subscripts reach, per axis; () where none does."""
    frame = [Slot(i.range, ()) for i in axes]
    for s in scatters:
        for index, other in s.places:
            form = linear(other)
            slot = None if form is None else read_slot(index.range, form)
            if slot is None or not (slot.low or slot.high):
                continue
            place = axes.index(index)
            old = frame[place]
            high = dict(slot.high)
            if old.high and dict(old.high) != high:  # the sum of both is enough for each
                known = set(high) | set(dict(old.high)) <= {None}
                most = max(high.get(None, 0), dict(old.high).get(None, 0))
                high = {None: most} if known else plus(high, dict(old.high))
            frame[place] = Slot(index.range, (), low=max(old.low, slot.low), high=tuple(high.items()))
    return tuple(frame) if any(s.low or s.high for s in frame) else ()


def updates(d: Definition, s: Scatter, frame: tuple[Slot, ...], replace: bool) -> list[Statement]:
    """The statements that add one scatter to its target; `replace` says that it holds zeros so far."""
    loop = _loop(d, s, frame, replace)
    return loop if loop is not None else [_update(d, s, frame, replace and not s.summed)]


def _shifted(index: Index, other: Expr, d: Definition, frame: tuple[Slot, ...]) -> Expr:
    low = frame[d.indices.index(index)].low if frame else 0
    form = linear(other)
    return as_index(plus(form, {None: low})) if low and form is not None else other


def _update(
    d: Definition, s: Scatter, frame: tuple[Slot, ...], replace: bool, *, apart: bool = False
) -> AddAt:
    """The indexed update: integer arrays for the leading axes up to the last one that needs them.

    `apart` says that the terms of the sum around it all fall on different places.
    """
    places = {index: _shifted(index, other, d, frame) for index, other in s.places}
    needed = set(s.summed).union(*map(free_indices, places.values()))
    if frame:
        needed |= {i for i, slot in zip(d.indices, frame, strict=True) if slot.low or slot.high}
    last = max(n for n, i in enumerate(d.indices) if i in places or i in needed)
    leading, trailing = d.indices[: last + 1], d.indices[last + 1 :]
    shared = (*s.summed, *(i for i in leading if i not in places))
    subscripts = tuple(index_array(places[i], shared) if i in places else Positions(i, (i,)) for i in leading)
    value = as_float(lower(s.value, (*shared, *trailing)))
    unique = apart or not s.summed
    return AddAt(d.target, subscripts, shared, trailing, value, unique, replace)


def _loop(d: Definition, s: Scatter, frame: tuple[Slot, ...], replace: bool) -> list[Statement] | None:
    """Loops over the offsets in a window, for subscripts step · h + dilation · p; None for others.

    Without an offset, as in h + 1 or in 0, that is one update of a slice.
    """
    upstream = {i for a in walk(s.value) if isinstance(a, Access) and a.tensor.role == "adjoint"
                for i in a.indices if isinstance(i, Index)}  # fmt: skip
    slots: dict[Index, Slot] = {}
    for index, other in s.places:
        form = linear(other)
        slot = None if form is None else read_slot(index.range, form, frozenset(upstream))
        if slot is None:
            return None
        slots[index] = slot
    counters = [slot.inner for slot in slots.values() if slot.inner is not None]
    outer = [i for i in (slots[i].outer if i in slots else i for i in d.indices) if i is not None]
    if len({*counters, *outer}) != len(counters) + len(outer):
        return None
    if set(counters) | set(outer) != set(s.summed) | (set(d.indices) - set(slots)):
        return None
    numbers = {i: counter(i) for i in counters}
    before, value = _hoisted(d, s.value, frozenset(counters)) if counters else ([], s.value)
    axes = tuple(outer)
    written = []
    for n, i in enumerate(d.indices):
        low = frame[n].low if frame else 0
        high = frame[n].high if frame else ()
        if i not in slots:
            written.append(Slot(i.range, (), i))
            continue
        start = plus(dict(slots[i].start), {None: low})
        inner = slots[i].inner
        if inner is not None:
            start = plus(start, {numbers[inner]: slots[i].dilation})
        beyond = tuple(plus(dict(high), {None: low}).items())  # the frame is part of the array here
        written.append(Slot(i.range, tuple(start.items()), slots[i].outer, slots[i].step, high=beyond))
    body = lower(substitute(value, dict(numbers)), axes)
    apart = all(_apart(slot) for slot in slots.values())
    store = replace and apart
    at_once = _update(d, Scatter(s.places, value, s.summed), frame, store, apart=apart)
    counted = tuple(numbers.values())
    return [*before, Loop(d.target, counted, tuple(written), as_float(body), axes, at_once, store)]


def _apart(slot: Slot) -> bool:
    """Whether the windows do not overlap: step · h + dilation · p is another place for each (h, p)."""
    if slot.inner is None:
        return slot.step != 0
    length = slot.inner.range.size
    return length is not None and slot.dilation * (length - 1) < slot.step


def _hoisted(d: Definition, value: Expr, counters: frozenset[Index]) -> tuple[list[Statement], Expr]:
    """What does not depend on the loop's counters, computed before it."""
    factors = factors_of(value)
    fixed = [f for f in factors if not counters & free_indices(f)]
    whole = Mul(tuple(fixed))
    if (len(fixed) < 2 and all(isinstance(f, Access | Const) for f in fixed)) or not free_indices(whole):
        return [], value
    axes = lower(whole, ()).axes
    named = Tensor(f"{d.target.name}_part", tuple(i.range for i in axes), "float", "value")
    moving = [f for f in factors if counters & free_indices(f)]
    assigned = Assign(named, axes, as_float(lower(whole, axes)))
    loaded: Expr = Access(named, axes)
    return [assigned], Mul((*moving, loaded))
