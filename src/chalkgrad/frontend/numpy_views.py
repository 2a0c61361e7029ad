"""Views, casts, triangles and constant arrays that can be traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.expr.nodes import Add, Const, Expr, Indicator, Mul, as_expr
from chalkgrad.expr.ops import substitute
from chalkgrad.frontend.array_ops import lift, normal_axes, record, refuse_options, truth
from chalkgrad.frontend.traced import METHODS, TracedArray, function


@function(np.transpose)
def transpose(a: TracedArray, axes: Any = None) -> TracedArray:
    """The axes in another order."""
    if axes is None:
        return a.T
    order = [int(p) % a.ndim for p in axes]
    if sorted(order) != list(range(a.ndim)):
        raise a.fail(ShapeError, f"{axes!r} is not an order of the {a.ndim} axes.")
    return a.with_axes(tuple(a.axes[p] for p in order))


@function(np.swapaxes)
def swapaxes(a: TracedArray, axis1: int, axis2: int) -> TracedArray:
    """Two axes exchanged."""
    order = list(a.axes)
    first, second = normal_axes(a, axis1)[0], normal_axes(a, axis2)[0]
    order[first], order[second] = order[second], order[first]
    return a.with_axes(tuple(order))


@function(np.expand_dims)
def expand_dims(a: TracedArray, axis: int) -> TracedArray:
    """A new axis of length one."""
    place = axis % (a.ndim + 1)
    return a.with_axes((*a.axes[:place], None, *a.axes[place:]))


@function(np.squeeze)
def squeeze(a: TracedArray, axis: Any = None) -> TracedArray:
    """Without axes of length one."""
    places = [p for p, i in enumerate(a.axes) if i is None] if axis is None else list(normal_axes(a, axis))
    if any(a.axes[p] is not None for p in places):
        raise a.fail(ShapeError, f"{a!r} has more than one entry along axis {axis}.")
    return a.with_axes(tuple(i for p, i in enumerate(a.axes) if p not in places))


def astype(a: TracedArray, dtype: Any) -> TracedArray:
    """Conditions and integers as numbers; precision is not traced."""
    letter = np.dtype(dtype).kind
    if letter == "f" or (letter in "iu" and a.kind != "float"):
        return TracedArray(a.recorder, a.body, a.axes, "float" if letter == "f" else "int")
    if letter == "b":
        return truth(a)
    raise a.fail(
        UnsupportedError,
        f"Rounding a float to {np.dtype(dtype).name} cannot be traced: it has no derivative.",
        'Declare an integer input: y: "N int".',
    )


METHODS["astype"] = astype


@function(np.copy)
def copy(a: TracedArray) -> TracedArray:
    """The same values."""
    return a.copy()


@function(np.tril)
def tril(m: TracedArray, k: int = 0) -> TracedArray:
    """The entries on and below the k-th diagonal."""
    return _triangle(m, "<=", k)


@function(np.triu)
def triu(m: TracedArray, k: int = 0) -> TracedArray:
    """The entries on and above the k-th diagonal."""
    return _triangle(m, ">=", k)


def _triangle(m: TracedArray, op: str, k: int) -> TracedArray:
    """m_ij where j op i + k, else zero."""
    if m.ndim < 2 or m.axes[-1] is None or m.axes[-2] is None:
        raise m.fail(ShapeError, f"{m!r} has no last two axes longer than one.")
    row, column = m.axes[-2], m.axes[-1]
    edge: Expr = row if k == 0 else Add((row, as_expr(int(k))))
    condition = Indicator(op, column, edge)
    body = condition if isinstance(m.body, Const) and m.body.value == 1 else Mul((condition, m.body))
    return record(m.recorder, body, m.axes, m.kind)


def _filled(value: Any) -> Callable[..., TracedArray]:
    def meaning(a: TracedArray, *fill: Any, **others: Any) -> TracedArray:
        refuse_options(a, "ones_like", others)
        fresh = tuple(i and a.recorder.fresh(i.range) for i in a.axes)
        return lift(a.recorder, fill[0] if fill else value).with_axes(fresh, "float" if not fill else None)

    return meaning


function(np.ones_like)(_filled(1))
function(np.zeros_like)(_filled(0))
function(np.full_like)(_filled(0))


@function(np.take_along_axis)
def take_along_axis(arr: TracedArray, indices: TracedArray, axis: int) -> TracedArray:
    """Along one axis, the entry that the integers choose: lp[i, y[i,0]]."""
    place = normal_axes(arr, axis)[0]
    along = arr.axes[place]
    if (
        not isinstance(indices, TracedArray)
        or indices.kind != "int"
        or indices.ndim != arr.ndim
        or along is None
    ):
        raise arr.fail(ShapeError, "np.take_along_axis takes integers with as many axes as the array.")
    pairs = zip(indices.axes, arr.axes, strict=True)
    if any((i and i.range) is not (a and a.range) for p, (i, a) in enumerate(pairs) if p != place):
        raise arr.fail(ShapeError, f"{indices!r} and {arr!r} differ in other axes than axis {axis}.")
    mapping: dict[Any, Expr] = {a: i for a, i in zip(arr.axes, indices.axes, strict=True) if a and i}
    mapping[along] = indices.body
    return record(arr.recorder, substitute(arr.body, mapping), indices.axes, arr.kind)


@function(np.take)
def take(a: TracedArray, indices: Any, axis: Any = None) -> TracedArray:
    """The entries of one axis that the integers choose: W[t[i], d]."""
    if axis is None and a.ndim != 1:
        raise a.fail(UnsupportedError, "np.take needs its axis here: without one it flattens the array.")
    place = 0 if axis is None else normal_axes(a, axis)[0]
    taken: TracedArray = a[(*[slice(None)] * place, indices)]
    return taken


@function(np.ndim)
def ndim(a: TracedArray) -> int:
    """How many axes."""
    return a.ndim


@function(np.shape)
def shape_of(a: TracedArray) -> tuple[Any, ...]:
    """The sizes, as symbols."""
    return a.shape


@function(np.size)
def size_of(a: TracedArray, axis: int | None = None) -> Any:
    """How many entries, as a symbol."""
    return a.size if axis is None else a.shape[axis]
