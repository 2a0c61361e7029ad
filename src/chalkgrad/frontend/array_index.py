"""Indexing of traced arrays: new axes, constants, and gathers by integer arrays.

x[:, None]           [i,1]     x[i]                     lp[np.arange(N), y]   [i]     lp[i, y[i]]
x[:, 1]              [i]       x[i,1]                   W[t]                  [i,d]   W[t[i],d]
x[1:]                [i]       x[i + 1]                 x[::-1]               [i]     x[|N| - 1 - i]
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.expr.nodes import Expr, Index, Size, as_expr
from chalkgrad.expr.ops import substitute
from chalkgrad.frontend.array_ops import Axes, align, lift, record
from chalkgrad.frontend.numpy_shapes import slice_axis
from chalkgrad.frontend.traced import METHODS, SymbolicSize, TracedArray

WHOLE = slice(None)


def getitem(array: TracedArray, key: Any) -> TracedArray:
    """array[key], by NumPy's rules.

    Raises:
        UnsupportedError: A boolean mask, or an index that is not an integer.
        ShapeError: Too many indices, or np.arange over another axis.
    """
    entries = _entries(array, key if isinstance(key, tuple) else (key,))
    if not any(isinstance(e, TracedArray) for e in entries):
        return _basic(array, entries)
    return _gather(array, entries)


def _entries(array: TracedArray, key: tuple[Any, ...]) -> list[Any]:
    """One entry per axis, plus None for each new axis; the ellipsis written out."""
    checked = [_checked(array, k) for k in key]
    used = sum(k is not None and k is not Ellipsis for k in checked)
    if used > array.ndim or sum(k is Ellipsis for k in checked) > 1:
        raise array.fail(ShapeError, f"{array!r} has {array.ndim} axes, fewer than the index takes.")
    if not any(k is Ellipsis for k in checked):
        checked.append(Ellipsis)
    entries: list[Any] = []
    for k in checked:
        entries += [WHOLE] * (array.ndim - used) if k is Ellipsis else [k]
    return entries


def _checked(array: TracedArray, key: Any) -> Any:
    if key is None or key is Ellipsis or isinstance(key, slice):
        return key
    if isinstance(key, SymbolicSize):
        raise array.fail(UnsupportedError, "A size as an index lies outside the axis.", "Use x[-1].")
    if isinstance(key, TracedArray) and key.kind == "int":
        return key
    if isinstance(key, TracedArray):
        mask = key.kind == "bool"
        raise array.fail(
            UnsupportedError,
            "A boolean mask as an index cannot be traced: how many entries it takes depends on the values."
            if mask
            else "Only integer arrays can be indices.",
            "Use np.where(mask, x, 0)." if mask else 'Declare the labels as integers: y: "N int".',
        )
    if isinstance(key, Integral) and not isinstance(key, bool):
        return int(key)
    raise array.fail(
        UnsupportedError,
        f"The index {key!r} cannot be traced.",
        "Slices, constants (0, -1), None, ... and integer arrays can be indices.",
    )


def _constant(array: TracedArray, axis: Index | None, number: int) -> Expr:
    """The index expression of a constant place, counted from the end where it is negative."""
    size = 1 if axis is None else axis.range.size
    if size is not None and not -size <= number < size:
        raise array.fail(ShapeError, f"The index {number} lies outside an axis of size {size}.")
    if number >= 0:
        return as_expr(number)
    assert axis is not None
    return as_expr(size + number) if size is not None else Size(axis.range) + number


def _basic(array: TracedArray, entries: Sequence[Any]) -> TracedArray:
    """Slices, new axes and constants: no array among the indices."""
    mapping: dict[Index, Expr] = {}
    axes: list[Index | None] = []
    place = 0
    for entry in entries:
        if entry is None:
            axes.append(None)
            continue
        axis = array.axes[place]
        place += 1
        if isinstance(entry, slice):
            new, read = (axis, axis) if is_whole(axis, entry) else slice_axis(array, axis, entry)
            axes.append(new)
            if axis is not None and read is not None and read is not axis:
                mapping[axis] = read
        elif axis is not None:
            mapping[axis] = _constant(array, axis, entry)
        elif entry not in (0, -1):
            _constant(array, axis, entry)
    if not mapping:
        return array.with_axes(tuple(axes))
    found = record(array.recorder, substitute(array.body, mapping), tuple(axes), array.kind)
    found.buffer = array.buffer  # a constant index gives a view in NumPy
    return found


def is_whole(axis: Index | None, key: slice) -> bool:
    """Whether a slice takes all entries: x[:], x[0:N]."""
    if not all(given is None or (isinstance(given, Integral) and given == default)
               for given, default in ((key.step, 1), (key.start, 0))):  # fmt: skip
        return False
    if key.stop is None or axis is None:
        return True
    return isinstance(key.stop, SymbolicSize) and key.stop.body is Size(axis.range)


def _gather(array: TracedArray, entries: Sequence[Any]) -> TracedArray:
    """Integer arrays (and constants) among the indices: they broadcast against each other."""
    sliced = [isinstance(e, slice) and e != WHOLE for e in entries]
    if any(sliced):
        # The slices first, on an array of all axes; then the integers.
        only = tuple(e if s else WHOLE for e, s in zip(entries, sliced, strict=True) if e is not None)
        array = _basic(array, only)
        entries = [WHOLE if s else e for e, s in zip(entries, sliced, strict=True)]
    arrays = [lift(array.recorder, e) for e in entries if isinstance(e, TracedArray | int)]
    common, bodies = align(arrays)
    sources = iter(bodies)
    mapping: dict[Index, Expr] = {}
    before: list[Index | None] = []
    after: list[Index | None] = []
    seen, gap, apart = False, False, False
    place = 0
    for entry in entries:
        is_array = isinstance(entry, TracedArray | int)
        apart = apart or (is_array and gap)
        gap = gap or (seen and not is_array)
        seen = seen or is_array
        kept: Index | None = None
        if entry is not None:
            axis = array.axes[place]
            place += 1
            if is_array:
                _bind(array, mapping, axis, next(sources))
                continue
            kept = axis
        (after if seen else before).append(kept)
    # NumPy puts the gathered axes where the index arrays stand, and in front if they stand apart.
    axes: Axes = (*common, *before, *after) if apart else (*before, *common, *after)
    return record(array.recorder, substitute(array.body, mapping), axes, array.kind)


def _bind(array: TracedArray, mapping: dict[Index, Expr], axis: Index | None, source: Expr) -> None:
    """The axis reads at `source`."""
    if axis is None:
        raise array.fail(
            UnsupportedError, "An axis of length one is indexed by an array.", "Drop it: keepdims=False."
        )
    if isinstance(source, Index) and source.range is not axis.range:
        raise array.fail(
            ShapeError,
            f"np.arange over {source.range.name} indexes an axis over {axis.range.name}.",
            f"Take the size of that axis: np.arange({axis.range.name}).",
        )
    mapping[axis] = source


METHODS["getitem"] = getitem
