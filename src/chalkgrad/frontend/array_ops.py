"""Operations on traced arrays in index notation: elementwise with broadcasting, contraction, reduction.

elementwise   t[i,d] = g(x[i,d], b[d])              axes aligned from the right, as NumPy does
contract      t[i,k] = sum(d, x[i,d] * W[d,k])      every matrix product and einsum
reduce        t[d]   = sum(i, x[i,d])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from chalkgrad.errors import ChalkgradError, ShapeError, UnsupportedError
from chalkgrad.expr import arithmetic
from chalkgrad.expr.nodes import MINUS_ONE, Add, Apply, Const, Expr, Index, Indicator, Mul, Size, Sum, as_expr
from chalkgrad.expr.ops import substitute, tensors_in, walk
from chalkgrad.frontend import build
from chalkgrad.frontend.exact import Exact
from chalkgrad.frontend.recorder import Recorder
from chalkgrad.frontend.traced import SymbolicSize, TracedArray

KINDS = ("bool", "int", "float")
"""Element types, narrowest first."""

Axes = tuple[Index | None, ...]


def recorder_of(*values: Any) -> Recorder:
    """The trace that the values belong to."""
    found = [v.recorder for v in values if isinstance(v, TracedArray)]
    if any(r is not found[0] for r in found):
        raise UnsupportedError(
            "Two traced arrays of different functions met.", hint="Do not keep traced arrays in globals."
        )
    return found[0]


def lift(recorder: Recorder, value: Any) -> TracedArray:
    """A Python or NumPy scalar as a traced one; a traced array stays itself."""
    if isinstance(value, TracedArray):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_):
        return TracedArray(recorder, Const(as_expr(int(value)).value), (), "bool")  # type: ignore[attr-defined]
    if isinstance(value, Integral):
        return TracedArray(recorder, as_expr(int(value)), (), "int")
    if isinstance(value, Real):
        if math.isnan(value):
            raise recorder.error(UnsupportedError, "nan cannot stand in a formula.")
        body = value.expr if isinstance(value, Exact) else as_expr(float(value))
        if float(value) == math.pi:
            body = Apply("pi", ())
        return TracedArray(recorder, body, (), "float")
    if isinstance(value, np.ndarray):
        raise recorder.error(
            UnsupportedError,
            f"A NumPy array of shape {value.shape} stands in the formula, where only arguments can.",
            "Pass it as an argument with its axes, or build it from symbols: np.eye(K), np.arange(N), "
            "np.ones((N, D)) with sizes taken from x.shape.",
        )
    raise recorder.error(UnsupportedError, f"A {type(value).__name__} cannot stand in a formula.")


def record(
    recorder: Recorder, body: Expr, axes: Axes, kind: str, hint: str = "", kept: bool = False
) -> TracedArray:
    """The array body[axes]; recorded as a value if it reads any array."""
    if not tensors_in(body):
        if not axes and kind == "int" and _is_size(body):
            return SymbolicSize(recorder, body)
        return TracedArray(recorder, body, axes, kind)
    indices = tuple(axis for axis in axes if axis is not None)
    return TracedArray(recorder, recorder.define(body, indices, kind, hint, kept), axes, kind)


def _is_size(body: Expr) -> bool:
    whole = (Size, Const, Mul, Add)
    return all(
        isinstance(e, whole) or (isinstance(e, Apply) and e.fn in ("floordiv", "mod")) for e in walk(body)
    )


def widest(arrays: Sequence[TracedArray], at_least: str = "bool") -> str:
    """The narrowest element type that holds all of the arrays' values."""
    return KINDS[max(KINDS.index(k) for k in (at_least, *(a.kind for a in arrays)))]


# --- broadcasting ----------------------------------------------------------------------------------


def align(arrays: Sequence[TracedArray]) -> tuple[Axes, tuple[Expr, ...]]:
    """The common axes of the arrays, lined up from the right, and each body over these axes.

    Raises:
        ShapeError: Two axes that meet have different ranges.
    """
    ndim = max(a.ndim for a in arrays)
    axes: list[Index | None] = []
    for place in range(-ndim, 0):
        meeting = [(a, a.axes[place]) for a in arrays if a.ndim >= -place]
        axes.append(_common(arrays[0].recorder, meeting, place))
    bodies = tuple(
        substitute(
            a.body, {old: new for old, new in zip(a.axes[::-1], axes[::-1], strict=False) if old and new}
        )
        for a in arrays
    )
    return tuple(axes), bodies


def _common(recorder: Recorder, meeting: list[tuple[TracedArray, Index | None]], place: int) -> Index | None:
    """A fresh index over the range that the meeting axes share, None if all have length one."""
    longer = [(a, axis) for a, axis in meeting if axis is not None]
    if not longer:
        return None
    (first, axis), *others = longer
    for other, found in others:
        if found.range is not axis.range:
            raise recorder.error(
                ShapeError,
                f"{_sentence(first)} and {other} do not line up: counted from the right, axis {-place} of "
                f"the one runs over {axis.range.name} and of the other over {found.range.name}.",
                _alignment_hint(first, other),
            )
    return recorder.fresh(axis.range)


def _alignment_hint(first: TracedArray, other: TracedArray) -> str:
    short, long = sorted((first, other), key=lambda a: a.ndim)
    ranges = [[axis and axis.range for axis in array.axes] for array in (short, long)]
    if short.ndim == 1 and long.ndim == 2 and ranges[0][0] is ranges[1][0]:
        return "A new axis lines it up with the rows: v[:, None]."
    if ranges[0] == ranges[1][::-1]:
        return "Is a transpose (.T) missing?"
    return "Axes with the same name in the annotations have the same size; others are taken as different."


def _sentence(array: TracedArray) -> str:
    written = repr(array)
    return written[0].upper() + written[1:] if written.startswith("an ") else written


def elementwise(build_body: Callable[..., Expr], *operands: Any, kind: str | None = None) -> TracedArray:
    """build_body applied to corresponding entries. `kind` is the result's type, else the widest one."""
    recorder = recorder_of(*operands)
    arrays = [lift(recorder, operand) for operand in operands]
    axes, bodies = align(arrays)
    try:
        body = build_body(*bodies)
    except ZeroDivisionError:
        raise recorder.error(UnsupportedError, "The formula divides by the constant 0.") from None
    return record(recorder, body, axes, kind or widest(arrays))


def compare(op: str) -> Callable[[Any, Any], TracedArray]:
    """a op b, one where it holds and zero elsewhere."""
    return lambda a, b: elementwise(lambda x, y: Indicator(op, x, y), a, b, kind="bool")


def negation(e: Expr) -> Expr:
    """not e, for an e that is zero or one."""
    opposite = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
    if isinstance(e, Indicator):
        return Indicator(opposite[e.op], e.left, e.right)
    return Add((as_expr(1), Mul((MINUS_ONE, e))))


def truth(array: TracedArray) -> TracedArray:
    """The array as a condition: where it is not zero."""
    return array if array.kind == "bool" else compare("!=")(array, 0)


# --- contraction and reduction ---------------------------------------------------------------------


def contract(operands: Sequence[TracedArray], labels: Sequence[str], out: str) -> TracedArray:
    """Σ over the labels that are not in `out` of the product of the operands, as einsum does.

    Args:
        operands: The factors.
        labels: One character per axis of each operand; a label has one range wherever it stands.
        out: The labels of the result's axes.

    Raises:
        ShapeError: A label stands for two ranges.
    """
    recorder = recorder_of(*operands)
    index: dict[str, Index | None] = {}
    for array, written in zip(operands, labels, strict=True):
        for place, (label, axis) in enumerate(zip(written, array.axes, strict=True)):
            known = index.get(label)
            if known is not None and axis is not None and known.range is not axis.range:
                raise _contraction_error(recorder, operands, array, place, known, axis)
            if known is None:
                index[label] = recorder.fresh(axis.range) if axis is not None else None
    bodies = []
    for array, written in zip(operands, labels, strict=True):
        mapping = {a: index[s] for s, a in zip(written, array.axes, strict=True) if a is not None}
        bodies.append(substitute(array.body, {a: new for a, new in mapping.items() if new is not None}))
    body = arithmetic.multiply(tuple(bodies))
    summed = tuple(i for label, i in index.items() if label not in out and i is not None)
    if summed:
        body = Sum(summed, body)
    return record(recorder, body, tuple(index[label] for label in out), widest(operands, "int"))


def _contraction_error(
    recorder: Recorder,
    operands: Sequence[TracedArray],
    array: TracedArray,
    place: int,
    known: Index,
    axis: Index,
) -> ChalkgradError:
    written = " and ".join(repr(o) for o in operands)
    return recorder.error(
        ShapeError,
        f"The product of {written} needs the same range in the axes that it sums or joins, but they run over "
        f"{known.range.name} and {axis.range.name} (axis {place} of {array}).",
        "Is a transpose (.T) missing, or the order of the factors reversed?",
    )


def normal_axes(array: TracedArray, axis: Any) -> tuple[int, ...]:
    """The `axis` argument as places counted from the left, in order."""
    if axis is None:
        return tuple(range(array.ndim))
    given = axis if isinstance(axis, tuple | list) else (axis,)
    places = []
    for a in given:
        if isinstance(a, TracedArray) or not isinstance(a, Integral):
            raise array.fail(UnsupportedError, f"axis={axis!r} is not an integer.")
        if not -array.ndim <= int(a) < array.ndim:
            raise array.fail(ShapeError, f"{_sentence(array)} has no axis {a}.")
        places.append(int(a) % array.ndim)
    if len(set(places)) < len(places):
        raise array.fail(ShapeError, f"axis={axis!r} names an axis twice.")
    return tuple(sorted(places))


def reduce(op: str, array: TracedArray, axis: Any, keepdims: bool, kept: bool = False) -> TracedArray:
    """`op` ("sum", "mean", "max", "min", "prod") over some axes."""
    places = normal_axes(array, axis)
    summed = tuple(i for p in places if (i := array.axes[p]) is not None)
    axes: Axes = tuple(
        None if p in places else a for p, a in enumerate(array.axes) if keepdims or p not in places
    )
    kind = {"mean": "float", "max": array.kind, "min": array.kind}.get(op, widest([array], "int"))
    if not summed:
        return array.with_axes(axes, kind)
    body = build.reduction(op, summed, array.body)
    return record(array.recorder, body, axes, kind, kept=kept)


def counted(array: TracedArray, axis: Any) -> Expr:
    """How many entries a reduction over these axes takes together."""
    sizes = tuple(Size(i.range) for p in normal_axes(array, axis) if (i := array.axes[p]) is not None)
    return arithmetic.multiply(sizes) if sizes else as_expr(1)


def flag(keepdims: Any) -> bool:
    """NumPy passes a placeholder where keepdims was not given."""
    return keepdims is True or keepdims == 1


def refuse_options(a: TracedArray, op: str, others: dict[str, Any]) -> None:
    given = [k for k, v in others.items() if v is not None and v is not np._NoValue]
    if given:
        raise a.fail(UnsupportedError, f"np.{op} with {', '.join(given)}= cannot be traced.")
