"""Affine subscripts as arrays: slices and sliding windows where they suffice, index arrays elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from chalkgrad.emit.arrays import (
    Array,
    Axes,
    Call,
    Clamp,
    Gather,
    Load,
    Number,
    Positions,
    Product,
    SizeOf,
    Slot,
    Terms,
    Window,
)
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.linear import (
    Linear,
    equal,
    guards,
    highest,
    indices_in,
    inside,
    is_derived,
    linear,
    lowest,
    plus,
    size_of,
    times,
)
from chalkgrad.expr.nodes import Access, Add, Apply, Const, Expr, Index, Indicator, Mul, Range, Size
from chalkgrad.expr.ops import free_indices, walk

NOTHING: tuple[tuple[Expr | None, int], ...] = ()


def access(e: Access, order: Axes) -> Array:
    """An entry of a tensor: the whole array where the subscripts are distinct indices, slices and
    windows of it where they are affine, else a gather."""
    if e.tensor.role == "counter":
        return Load(e.tensor, ())
    pairs = [(i, of) for i, of in zip(e.indices, e.tensor.axes, strict=True) if isinstance(i, Index)]
    plain = [i for i, _ in pairs]
    part = {i for i, of in pairs if i.range is not of and not equal(size_of(i.range), size_of(of))}
    if len(plain) == len(e.indices) and len(set(plain)) == len(plain) and not part:
        return Load(e.tensor, tuple(plain))
    computed = [i for i in e.indices if not isinstance(i, Index)]
    if not any(_reads_labels(i) for i in computed):
        found = window(e)
        if found is not None:
            return found
    for c in computed:
        if not of_indices(c):
            raise UnsupportedError(
                f"the subscript {c} in {e} has no array code",
                hint="Indices, sizes, constants, labels such as y[i], and sums and products of these are.",
            )
    used = frozenset().union(*map(free_indices, computed)) | {i for i in plain if plain.count(i) > 1} | part
    return _gather(e, used, order)


def _reads_labels(e: Expr) -> bool:
    return any(isinstance(n, Access) and n.tensor.role != "counter" for n in walk(e))


def _gather(e: Access, used: frozenset[Index], order: Axes) -> Array:
    """Advanced indexing: subscripts that are computed, or needed beside them, are integer arrays."""
    advanced = [not isinstance(i, Index) or i in used for i in e.indices]
    shared = tuple(i for i in order if i in used)
    shared += tuple(sorted(used - set(shared), key=lambda i: i.name))
    pairs = zip(e.indices, e.tensor.axes, advanced, strict=True)
    subscripts = tuple(_subscript(i, of, shared) if a else None for i, of, a in pairs)
    whole = [i for i, a in zip(e.indices, advanced, strict=True) if not a and isinstance(i, Index)]
    first, last = advanced.index(True), len(advanced) - advanced[::-1].index(True)
    # NumPy moves the shared axes to the front when the integer arrays are not side by side.
    before = whole[:first] if all(advanced[first:last]) else []
    axes = (*before, *shared, *whole[len(before) :])
    return Gather(e.tensor, subscripts, shared, axes)


def _subscript(e: Expr, of: Range, shared: Axes) -> Array:
    """An integer array; where it might leave the axis it is clamped, and the formula's guard decides."""
    value, form = index_array(e, shared), linear(e)
    if form is None or (isinstance(e, Index) and e.range is of) or inside(form, of):
        return value
    return Clamp(value, of, value.axes)


def window(e: Access) -> Window | None:
    """The access as slices and windows of the whole array; None where its subscripts are not such."""
    forms = [linear(i) for i in e.indices]
    slots: list[Slot] = []
    for of, form in zip(e.tensor.axes, forms, strict=True):
        slot = None if form is None else read_slot(of, form)
        if slot is None:
            return None
        slots.append(slot)
    used = [i for s in slots for i in (s.outer, s.inner) if i is not None]
    if len(set(used)) != len(used):
        return None
    outer = tuple(s.outer for s in slots if s.outer is not None)
    return Window(e.tensor, tuple(slots), (*outer, *(s.inner for s in slots if s.inner is not None)))


def read_slot(of: Range, form: Linear, outer_first: frozenset[Index] = frozenset()) -> Slot | None:
    """A linear form of at most two indices with positive coefficients as a place on an axis.

    Of two indices the outer one is in `outer_first`, else has the larger coefficient.
    """
    used = indices_in(form)
    if len(used) > 2 or any(form[i] < 0 for i in used):
        return None
    start = {atom: c for atom, c in form.items() if not isinstance(atom, Index)}
    low, high = 0, NOTHING
    if not inside(form, of):
        least = lowest(form)
        low = max(0, -least) if least is not None else 0
        high = _beyond(of, form)
        if not used or (least is None and any(atom is not None for atom in start)):
            return None
    if not used:
        return Slot(of, tuple(start.items()))
    if len(used) == 1:
        return Slot(of, tuple(start.items()), used[0], form[used[0]], low=low, high=high)
    outer, inner = sorted(
        used,
        key=lambda i: (i in outer_first, form[i], is_derived(i.range), i.range.size is None),
        reverse=True,
    )
    return Slot(of, tuple(start.items()), outer, form[outer], inner, form[inner], low, high)


def _beyond(of: Range, form: Linear) -> tuple[tuple[Expr | None, int], ...]:
    """How many places the form may reach past the end of the axis: a number, or a form of sizes."""
    excess = plus(plus(form, size_of(of), -1), {None: 1})
    most = highest(excess)
    if most is not None:
        return ((None, most),) if most > 0 else ()
    for i in indices_in(excess):
        scale = excess.pop(i)
        excess = plus(excess, times(plus(size_of(i.range), {None: -1}), scale))
    return tuple(excess.items())


def filled(e: Apply) -> Window | None:
    """where(u ≥ 0, x[u], c) as x with c around it, where the comparisons only keep u inside of x."""
    match e.args:
        case (condition, Access(tensor) as read, Const(fill)) if tensor.dtype == "float":
            found = window(read)
            inside_of = _places(read)
            comparisons = condition.factors if isinstance(condition, Mul) else (condition,)
            if found is not None and all(_keeps_inside(c, inside_of) for c in comparisons):
                return replace(found, fill=fill)
    return None


def _places(e: Access) -> list[tuple[Linear, Range]]:
    """The subscripts with their axes."""
    pairs = zip(e.indices, e.tensor.axes, strict=True)
    return [(form, of) for i, of in pairs if (form := linear(i)) is not None]


def _keeps_inside(e: Expr, places: Sequence[tuple[Linear, Range]]) -> bool:
    return isinstance(e, Indicator) and any(guards(e, form, of) for form, of in places)


def without_guards(factors: Sequence[Expr]) -> list[Expr]:
    """Factors without comparisons that only keep a subscript inside of an array read beside them.

    Reading outside gives zero, so 1(0 <= u) 1(u < |H|) x[u] is x[u].
    """
    reads = [
        place
        for f in factors
        if isinstance(f, Access)
        and not all(isinstance(i, Index) for i in f.indices)
        and window(f) is not None
        for place in _places(f)
    ]
    return [f for f in factors if not _keeps_inside(f, reads)]


def of_indices(e: Expr) -> bool:
    """Whether the expression is a whole number made of indices, sizes, labels and constants."""
    for node in walk(e):
        match node:
            case Const(value):
                if isinstance(value, float) or value.denominator != 1:
                    return False
            case Access(tensor, _):
                if tensor.dtype != "int":
                    return False
            case Apply(fn, _):
                if fn not in ("floordiv", "mod"):
                    return False
            case Size() | Index() | Add() | Mul():
                continue
            case _:
                return False
    return True


def index_array(e: Expr, axes: Axes) -> Array:
    """A whole-number expression in integer arithmetic, never cast to floating point."""
    own = tuple(i for i in axes if i in free_indices(e))
    match e:
        case Const(value):
            return Number(value)
        case Size(of):
            return SizeOf(of) if of.size is None else Number(Fraction(of.size))
        case Index():
            return Positions(e, (e,))
        case Access():
            return access(e, axes)
        case Add(terms):
            return Terms(tuple(_signed(t, axes) for t in terms), own)
        case Mul(factors):
            return Product(False, tuple(index_array(f, axes) for f in factors), (), own)
        case Apply(fn, args):
            return Call(fn, tuple(index_array(a, axes) for a in args), own)
    raise UnsupportedError(f"the subscript {e} has no array code")


def _signed(e: Expr, axes: Axes) -> tuple[bool, Array]:
    match e:
        case Const(Fraction() as value) if value < 0:
            return True, Number(-value)
        case Mul((Const(Fraction() as value), *rest)) if value < 0:
            kept: list[Expr] = [*rest] if value == -1 else [Const(-value), *rest]
            return True, index_array(kept[0] if len(kept) == 1 else Mul(tuple(kept)), axes)
    return False, index_array(e, axes)


def is_whole(slot: Slot) -> bool:
    """Whether a slot is all of its axis, frame included."""
    if slot.outer is None or slot.inner is not None or slot.step != 1:
        return False
    if slot.outer.range is slot.axis and not (slot.start or slot.low or slot.high):
        return True
    least = lowest(dict(slot.high))
    if least is None or least < 0:  # only the positive part was added, so the axis may be longer
        return False
    length = plus(plus(size_of(slot.axis), {None: slot.low}), dict(slot.high))
    return not plus(dict(slot.start), {None: slot.low}) and equal(size_of(slot.outer.range), length)
