"""Functions that rearrange entries, each an affine index: slices, padding, windows, joining, reshaping.

x[1:]           x[i + 1]                        np.pad(x, 1)          1(i >= 1) 1(i < |N| + 1) x[i - 1]
x[::2]          x[2 i]                          concatenate((a, b))   1(i < |N|) a[i] + 1(i >= |N|) b[i - |N|]
x[::-1]         x[|N| - 1 - i]                  reshape(N * D)        x[i // |D|, i % |D|]

An index over another range than the axis it reads is written with its offset, zero too: x[i + 0] says that
not all of x is read. Sizes stay symbols; a slice's bounds and a reshape's sizes must fit the arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np

from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.expr import arithmetic
from chalkgrad.expr.nodes import ONE, ZERO, Add, Apply, Expr, Index, Indicator, Mul, Size, Sum, as_expr
from chalkgrad.expr.ops import substitute, tensors_in
from chalkgrad.frontend.array_ops import Axes, align, lift, normal_axes, record, recorder_of, widest
from chalkgrad.frontend.sizes import NoSizeError, size_form
from chalkgrad.frontend.traced import METHODS, UFUNCS, TracedArray, function


def size_of_axis(axis: Index | None) -> Expr:
    """How many entries an axis has."""
    return ONE if axis is None else Size(axis.range)


def whole(array: TracedArray, value: Any, what: str) -> Expr:
    """A size, or an integer made of sizes, as an expression."""
    if isinstance(value, TracedArray) and value.kind == "int" and not tensors_in(value.body):
        return value.body
    if isinstance(value, Integral) and not isinstance(value, bool):
        return as_expr(int(value))
    raise array.fail(UnsupportedError, f"{what} is {value!r}, where a whole number or a size is needed.")


def axis_of(array: TracedArray, size: Expr, what: str) -> Index | None:
    """A new axis of this size; None for the size one."""
    try:
        of = array.recorder.range_of(size)
    except (NoSizeError, ValueError):
        raise array.fail(ShapeError, f"{what} would have the size {size}.") from None
    return None if of.size == 1 else array.recorder.fresh(of)


def slice_axis(array: TracedArray, axis: Index | None, key: slice) -> tuple[Index | None, Expr]:
    """The new axis of a slice, and where it reads the old one."""
    size = size_of_axis(axis)
    if not isinstance(key.step, Integral | None) or key.step == 0:
        raise array.fail(UnsupportedError, f"The step of a slice is a whole number, not {key.step!r}.")
    step = 1 if key.step is None else int(key.step)
    count: Expr
    if step < 0:
        if (key.start, key.stop) != (None, None):
            raise array.fail(
                UnsupportedError,
                "A slice with bounds and a negative step cannot be traced.",
                "Use x[a:b][::-1].",
            )
        count = Add((Apply("floordiv", (size - 1, as_expr(-step))), ONE))
        new = axis_of(array, count, "The slice")
        return new, Add((size, as_expr(-1), Mul((as_expr(step), new)) if new else ZERO))
    low, high = _bound(array, key.start, size, ZERO), _bound(array, key.stop, size, size)
    count = Apply("floordiv", (high - low + (step - 1), as_expr(step)))
    new = axis_of(array, count, "The slice")
    moved: Expr = ZERO if new is None else new if step == 1 else Mul((as_expr(step), new))
    return new, Add((moved, low))


def _bound(array: TracedArray, given: Any, size: Expr, default: Expr) -> Expr:
    if given is None:
        return default
    bound = whole(array, given, "A slice's bound")
    if isinstance(given, Integral) and int(given) < 0:
        return Add((size, bound))
    return size_form(bound)


def reindex(
    array: TracedArray, axes: Axes, mapping: dict[Index, Expr], guard: tuple[Expr, ...] = ()
) -> TracedArray:
    """The array read at other places, where the guards hold."""
    body = substitute(array.body, mapping)
    return record(array.recorder, Mul((*guard, body)) if guard else body, axes, array.kind)


# --- longer axes -----------------------------------------------------------------------------------


@function(np.pad)
def pad(array: TracedArray, pad_width: Any, mode: str = "constant", **options: Any) -> TracedArray:
    """Zeros around the array."""
    if mode != "constant" or options.get("constant_values", 0) != 0:
        raise array.fail(
            UnsupportedError, f"np.pad with mode={mode!r} cannot be traced.", "Zeros can be put around."
        )
    widths = [pad_width] * array.ndim if isinstance(pad_width, Integral) else list(pad_width)
    if len(widths) == 2 and all(isinstance(w, Integral) for w in widths):
        widths = [tuple(widths)] * array.ndim
    pairs = [(w, w) if isinstance(w, Integral) else tuple(w) for w in widths]
    if len(pairs) == 1:
        pairs *= array.ndim
    if len(pairs) != array.ndim or any(len(p) != 2 for p in pairs):
        raise array.fail(ShapeError, f"{array!r} has {array.ndim} axes, and pad_width={pad_width!r}.")
    axes: list[Index | None] = []
    mapping: dict[Index, Expr] = {}
    guard: list[Expr] = []
    for axis, (before, after) in zip(array.axes, pairs, strict=True):
        if axis is None and (before or after):
            raise array.fail(
                UnsupportedError, "Padding an axis of length one cannot be traced.", "Drop the axis."
            )
        if axis is None or (before, after) == (0, 0):
            axes.append(axis)
            continue
        size = Size(axis.range)
        new = axis_of(array, size + (before + after), "The padded axis")
        assert new is not None
        axes.append(new)
        mapping[axis] = Add((new, as_expr(-before)))
        guard += [Indicator(">=", new, as_expr(before))] if before else []
        guard += [Indicator("<", new, Add((size, as_expr(before))) if before else size)] if after else []
    return reindex(array, tuple(axes), mapping, tuple(guard))


@function(np.concatenate)
def concatenate(arrays: Sequence[Any], axis: int = 0) -> TracedArray:
    """One after the other along an axis that exists."""
    recorder = recorder_of(*arrays)
    parts = [lift(recorder, a) for a in arrays]
    place = normal_axes(parts[0], axis)[0] if axis is not None else 0
    if any(p.ndim != parts[0].ndim for p in parts):
        raise parts[0].fail(ShapeError, "np.concatenate takes arrays with equally many axes.")
    sizes = [size_of_axis(p.axes[place]) for p in parts]
    total = size_form(arithmetic.add(tuple(sizes)))
    new = axis_of(parts[0], total, "The joined axis")
    assert new is not None
    starts = [size_form(arithmetic.add((ZERO, *sizes[:n]))) for n in range(len(parts) + 1)]
    # All other axes are lined up first, the joined one taken out.
    aligned = [p.with_axes((*p.axes[:place], *p.axes[place + 1 :])) for p in _at(parts, place, new, starts)]
    axes, bodies = align(aligned)
    terms = []
    for n, body in enumerate(bodies):
        low = () if n == 0 else (Indicator(">=", new, starts[n]),)
        high = () if n == len(parts) - 1 else (Indicator("<", new, starts[n + 1]),)
        terms.append(Mul((*low, *high, body)))
    return record(recorder, Add(tuple(terms)), (*axes[:place], new, *axes[place:]), widest(parts))


@function(np.hstack)
def hstack(arrays: Sequence[Any]) -> TracedArray:
    """Side by side: along the second axis, of vectors along the only one."""
    first = lift(recorder_of(*arrays), arrays[0])
    joined: TracedArray = concatenate(arrays, axis=min(1, first.ndim - 1))
    return joined


@function(np.vstack)
def vstack(arrays: Sequence[Any]) -> TracedArray:
    """One below the other; of vectors, each is a row."""
    first = lift(recorder_of(*arrays), arrays[0])
    joined: TracedArray = concatenate(arrays) if first.ndim > 1 else stack(arrays)
    return joined


def _at(parts: list[TracedArray], place: int, new: Index, starts: list[Expr]) -> list[TracedArray]:
    found = []
    for part, start in zip(parts, starts, strict=False):
        axis = part.axes[place]
        shifted = Add((new, arithmetic.negate(start)))
        body = part.body if axis is None else substitute(part.body, {axis: shifted})
        found.append(TracedArray(part.recorder, body, part.axes, part.kind))
    return found


@function(np.stack)
def stack(arrays: Sequence[Any], axis: int = 0) -> TracedArray:
    """Along a new axis."""
    recorder = recorder_of(*arrays)
    parts = [lift(recorder, a) for a in arrays]
    axes, bodies = align(parts)
    new = axis_of(parts[0], as_expr(len(parts)), "The new axis")
    place = axis % (len(axes) + 1)
    if new is None:
        return record(recorder, bodies[0], (*axes[:place], None, *axes[place:]), widest(parts))
    terms = tuple(Mul((Indicator("==", new, as_expr(n)), body)) for n, body in enumerate(bodies))
    return record(recorder, Add(terms), (*axes[:place], new, *axes[place:]), widest(parts))


# --- shorter axes ----------------------------------------------------------------------------------


@function(np.split, np.array_split)
def split(array: TracedArray, indices_or_sections: Any, axis: int = 0) -> list[TracedArray]:
    """Equal parts of an axis whose size they divide, or the parts between the given places."""
    place = normal_axes(array, axis)[0]
    along = array.axes[place]
    if along is None:
        raise array.fail(ShapeError, f"{array!r} has one entry along axis {axis}.")
    if isinstance(indices_or_sections, Integral):
        count = int(indices_or_sections)
        part = size_form(Apply("floordiv", (Size(along.range), as_expr(count))))
        cuts = [size_form(Mul((as_expr(n), part))) for n in range(count + 1)]
        array.recorder.require_equal(Size(along.range), cuts[-1])
    else:
        cuts = [
            ZERO,
            *(whole(array, c, "A place to split at") for c in indices_or_sections),
            Size(along.range),
        ]
    found = []
    for low, high in pairwise(cuts):
        new = axis_of(array, high - low, "A part")
        moved = low if new is None else Add((new, low))
        found.append(reindex(array, (*array.axes[:place], new, *array.axes[place + 1 :]), {along: moved}))
    return found


@function(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x: TracedArray, window_shape: Any, axis: Any = None) -> TracedArray:
    """Every window along the axes: the places first, then what lies in the window."""
    windows = list(window_shape) if isinstance(window_shape, tuple | list) else [window_shape]
    given = range(x.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    places = [int(a) % x.ndim for a in given]
    if len(places) != len(windows):
        raise x.fail(ShapeError, f"{len(windows)} windows do not fit {len(places)} axes.")
    axes = list(x.axes)
    inside: list[Index | None] = []
    mapping: dict[Index, Expr] = {}
    for place, window in zip(places, windows, strict=True):
        old = x.axes[place]
        if old is None:
            raise x.fail(ShapeError, f"{x!r} has one entry along axis {place}.")
        wide = whole(x, window, "A window")
        new = axis_of(x, Size(old.range) - wide + 1, "The windows")
        within = axis_of(x, wide, "The window")
        axes[place] = new
        inside.append(within)
        mapping[old] = arithmetic.add(tuple(t for t in (new, within) if t is not None) or (ZERO,))
    return reindex(x, (*axes, *inside), mapping)


@function(np.flip)
def flip(m: TracedArray, axis: Any = None) -> TracedArray:
    """The axes backwards."""
    places = normal_axes(m, axis)
    key = tuple(slice(None, None, -1) if p in places else slice(None) for p in range(m.ndim))
    return METHODS["getitem"](m, key)


@function(np.diff)
def diff(a: TracedArray, n: int = 1, axis: int = -1) -> TracedArray:
    """Differences of neighbours."""
    place = normal_axes(a, axis)[0]
    for _ in range(n):
        before, after = (
            METHODS["getitem"](a, tuple(key if p == place else slice(None) for p in range(a.ndim)))
            for key in (slice(None, -1), slice(1, None))
        )
        a = UFUNCS["subtract"](after, before)
    return a


@function(np.cumsum)
def cumsum(a: TracedArray, axis: Any = None) -> TracedArray:
    """Σ over the entries up to this one: a sum with a triangular indicator."""
    if axis is None and a.ndim != 1:
        raise a.fail(UnsupportedError, "np.cumsum of several axes needs axis=.")
    place = normal_axes(a, axis)[0]
    along = a.axes[place]
    if along is None:
        return a
    new = a.recorder.fresh(along.range)
    body = Sum((along,), Mul((Indicator("<=", along, new), a.body)))
    return record(a.recorder, body, (*a.axes[:place], new, *a.axes[place + 1 :]), widest([a], "int"))


# --- the same entries ------------------------------------------------------------------------------


@function(np.reshape)
def reshape(a: TracedArray, shape: Any, order: str = "C") -> TracedArray:
    """Axes joined and split, in row-major order: x.reshape(N, -1), x.reshape(N, G, C // G, H, W)."""
    if order != "C":
        raise a.fail(UnsupportedError, f"np.reshape with order={order!r} cannot be traced.")
    wanted = _wanted(a, list(shape) if isinstance(shape, tuple | list) else [shape])
    old = [i for i in a.axes if i is not None]
    axes: list[Index | None] = []
    mapping: dict[Index, Expr] = {}
    while old or wanted:
        if wanted and wanted[0] is ONE:
            axes.append(None)
            wanted.pop(0)
            continue
        taken, given = _match(a, old, wanted)
        new = [old[0]] if (taken, given) == (1, 1) else [axis_of(a, s, "An axis") for s in wanted[:given]]
        axes += new
        mapping.update(_places(old[:taken], [i for i in new if i is not None]))
        del old[:taken], wanted[:given]
    if not {k: v for k, v in mapping.items() if k is not v}:
        return a.with_axes(tuple(axes))
    return reindex(a, tuple(axes), mapping)


def _wanted(a: TracedArray, shape: list[Any]) -> list[Expr]:
    """The sizes of the new axes, with -1 worked out."""
    unknown = [n for n, s in enumerate(shape) if isinstance(s, Integral) and s == -1]
    sizes = [ONE if n in unknown else exact(a, whole(a, s, "A size")) for n, s in enumerate(shape)]
    if len(unknown) > 1:
        raise a.fail(ShapeError, "Only one size of a reshape can be -1.")
    total = arithmetic.multiply((ONE, *(Size(i.range) for i in a.indices)))
    plain = [ONE if n in unknown else whole(a, s, "A size") for n, s in enumerate(shape)]
    if unknown:
        sizes[unknown[0]] = exact(a, Apply("floordiv", (total, Mul(tuple(sizes)))))
        plain[unknown[0]] = Apply("floordiv", (total, Mul(tuple(plain))))
    a.recorder.require_equal(total, Mul(tuple(plain)))
    return sizes


def exact(a: TracedArray, size: Expr) -> Expr:
    """A size in which 2 * (|K| // 2) is |K|: a reshape says that the quotients are whole."""
    size = size_form(a.recorder.in_arguments(size))
    factors = size.factors if isinstance(size, Mul) else (size,)
    above: list[Expr] = []
    below: list[Expr] = []
    for factor in factors:
        match factor:
            case Apply("floordiv", (numerator, denominator)):
                above.append(numerator)
                below.append(denominator)
            case _:
                above.append(factor)
    if not below:
        return size
    return size_form(Apply("floordiv", (Mul(tuple(above)), Mul(tuple(below)))))


def _match(a: TracedArray, old: list[Index], wanted: list[Expr]) -> tuple[int, int]:
    """How many old and new axes come next with equally many entries."""
    for both in range(2, len(old) + len(wanted) + 1):
        for taken in range(1, min(both, len(old) + 1)):
            given = both - taken
            if given <= len(wanted):
                before = exact(a, Mul(tuple(Size(i.range) for i in old[:taken])))
                if before is exact(a, Mul(tuple(wanted[:given]))):
                    return taken, given
    raise a.fail(
        ShapeError,
        f"{a!r} cannot get the sizes {', '.join(map(str, wanted)) or 'of a scalar'}: they do not hold as "
        "many entries for every size.",
        "Write the new sizes with the old ones: x.reshape(N, C * H * W), x.reshape(N, H, D // H).",
    )


def _places(old: list[Index], new: list[Index]) -> dict[Index, Expr]:
    """Where each old axis is read, from the new ones: through the place in row-major order."""
    if old == new:
        return {}
    terms = []
    for n, index in enumerate(new):
        later = tuple(Size(i.range) for i in new[n + 1 :])
        terms.append(Mul((*later, index)) if later else index)
    flat: Expr = arithmetic.add(tuple(terms)) if terms else ZERO
    if len(old) == 1:
        return {old[0]: flat}
    found: dict[Index, Expr] = {}
    for n, index in enumerate(old):
        later = tuple(Size(i.range) for i in old[n + 1 :])
        place = Apply("floordiv", (flat, arithmetic.multiply(later))) if later else flat
        found[index] = Apply("mod", (place, Size(index.range))) if n else place
    return found


@function(np.ravel)
def ravel(a: TracedArray) -> TracedArray:
    """One axis."""
    return a if a.ndim == 1 else reshape(a, -1)


@function(np.moveaxis)
def moveaxis(a: TracedArray, source: int, destination: int) -> TracedArray:
    """One axis at another place."""
    order = list(a.axes)
    order.insert(destination % a.ndim, order.pop(source % a.ndim))
    return a.with_axes(tuple(order))
