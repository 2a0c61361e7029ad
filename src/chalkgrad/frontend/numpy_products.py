"""Products that can be traced: matrix products, einsum, traces and diagonals, all one contraction."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import Any, NamedTuple

import numpy as np

from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.expr.nodes import Index, Indicator, Mul, Opaque
from chalkgrad.expr.ops import substitute
from chalkgrad.frontend.array_ops import contract, lift, record, recorder_of, reduce
from chalkgrad.frontend.traced import UFUNCS, TracedArray, function

LETTERS = "abcdefghijklmnopqrstuvw"
"""Labels of axes that are neither rows, summed, nor columns (x, y, z)."""


def matmul(a: Any, b: Any) -> TracedArray:
    """a @ b: the last axis of `a` with the last but one (or only) axis of `b`; leading axes broadcast."""
    recorder = recorder_of(a, b)
    left, right = lift(recorder, a), lift(recorder, b)
    if not left.ndim or not right.ndim:
        raise recorder.error(ShapeError, "@ takes arrays of one axis or more.", "Use * for a scalar.")
    _refuse_conditions(left, right)
    batch = LETTERS[: max(left.ndim, right.ndim, 2) - 2]
    rows, columns = "x" * (left.ndim > 1), "z" * (right.ndim > 1)
    left_labels = batch[len(batch) - max(left.ndim - 2, 0) :] + rows + "y"
    right_labels = batch[len(batch) - max(right.ndim - 2, 0) :] + "y" + columns
    return contract((left, right), (left_labels, right_labels), batch + rows + columns)


UFUNCS["matmul"] = matmul


def _refuse_conditions(*operands: TracedArray) -> None:
    if all(o.kind == "bool" for o in operands):
        raise operands[0].fail(
            UnsupportedError, "NumPy's product of conditions is a condition.", "Use .astype(float) first."
        )


@function(np.dot)
def dot(a: Any, b: Any) -> TracedArray:
    """The product over the last axis of `a` and the last but one of `b`; with a scalar, times it."""
    recorder = recorder_of(a, b)
    left, right = lift(recorder, a), lift(recorder, b)
    if not left.ndim or not right.ndim:
        return UFUNCS["multiply"](left, right)
    _refuse_conditions(left, right)
    left_labels = LETTERS[: left.ndim - 1] + "z"
    free = LETTERS[left.ndim : left.ndim + right.ndim - 1]
    right_labels = free[:-1] + "z" + free[-1:]
    return contract((left, right), (left_labels, right_labels), left_labels[:-1] + free)


@function(np.outer)
def outer(a: TracedArray, b: TracedArray) -> TracedArray:
    """a_i b_j."""
    recorder = recorder_of(a, b)
    left, right = lift(recorder, a), lift(recorder, b)
    if left.ndim != 1 or right.ndim != 1:
        raise recorder.error(ShapeError, "np.outer takes two vectors here.", "Use np.einsum.")
    return contract((left, right), ("a", "b"), "ab")


@function(np.vdot)
def vdot(a: TracedArray, b: TracedArray) -> TracedArray:
    """Σ a b over all entries."""
    recorder = recorder_of(a, b)
    left, right = lift(recorder, a), lift(recorder, b)
    if [axis and axis.range for axis in left.axes] != [axis and axis.range for axis in right.axes]:
        raise recorder.error(
            UnsupportedError, "np.vdot takes two arrays of the same axes here.", "Use np.einsum."
        )
    return reduce("sum", UFUNCS["multiply"](left, right), None, False)


@function(np.inner)
def inner(a: TracedArray, b: TracedArray) -> TracedArray:
    """The product over the last axis of both."""
    recorder = recorder_of(a, b)
    left, right = lift(recorder, a), lift(recorder, b)
    if not left.ndim or not right.ndim:
        return UFUNCS["multiply"](left, right)
    labels = LETTERS[: left.ndim - 1], LETTERS[left.ndim : left.ndim + right.ndim - 1]
    return contract((left, right), (labels[0] + "z", labels[1] + "z"), labels[0] + labels[1])


@function(np.trace)
def trace_of(a: TracedArray) -> TracedArray:
    """Σ_i a_ii."""
    if a.ndim != 2:
        raise a.fail(ShapeError, "np.trace takes a matrix here.", "Use np.einsum.")
    return contract((a,), ("aa",), "")


@function(np.diagonal)
def diagonal(a: TracedArray) -> TracedArray:
    """a_ii."""
    if a.ndim != 2:
        raise a.fail(ShapeError, "np.diagonal takes a matrix here.", "Use np.einsum.")
    return contract((a,), ("aa",), "a")


@function(np.diag)
def diag(v: TracedArray) -> TracedArray:
    """The diagonal of a matrix, or 1(i = j) v_i of a vector."""
    if v.ndim == 2:
        return contract((v,), ("aa",), "a")
    if v.ndim != 1 or v.axes[0] is None:
        raise v.fail(ShapeError, "np.diag takes a vector or a matrix.")
    other = v.recorder.fresh(v.axes[0].range)
    body = Mul((Indicator("==", v.axes[0], other), v.body))
    return record(v.recorder, body, (v.axes[0], other), v.kind)


@function(np.einsum)
def einsum(subscripts: Any, *operands: Any, **options: Any) -> TracedArray:
    """Σ of products, as the subscripts say; an ellipsis stands for the leading axes of an operand."""
    options.pop("optimize", None)
    recorder = recorder_of(*operands)
    if options or not isinstance(subscripts, str):
        raise recorder.error(UnsupportedError, "np.einsum takes a string and operands here.")
    arrays = [lift(recorder, o) for o in operands]
    subscripts = subscripts.replace(" ", "")
    summed, arrow, out = subscripts.partition("->")
    if arrow and "..." in summed and "..." not in out:
        raise recorder.error(
            UnsupportedError,
            f"'{subscripts}' does not say where the axes of the ellipsis go.",
            "Write ... after the arrow too; name the axes that are summed.",
        )
    subscripts = _without_ellipsis(subscripts, [a.ndim for a in arrays])
    inputs, arrow, out = subscripts.partition("->")
    labels = inputs.split(",")
    if len(labels) != len(arrays) or any(len(w) != a.ndim for w, a in zip(labels, arrays, strict=False)):
        shapes = ", ".join(repr(a) for a in arrays)
        raise recorder.error(ShapeError, f"'{subscripts}' does not have one letter per axis of {shapes}.")
    if not arrow:
        out = "".join(sorted(c for c in set(inputs) - {","} if inputs.count(c) == 1))
    if len(set(out)) < len(out) or not set(out) <= set(inputs) - {","}:
        raise recorder.error(
            ShapeError, f"The letters after -> in '{subscripts}' are not those of the operands."
        )
    return contract(arrays, labels, out)


def _without_ellipsis(subscripts: str, ranks: Sequence[int]) -> str:
    """The subscripts with a letter for each axis that an ellipsis stands for, counted from the right."""
    if "..." not in subscripts:
        return subscripts
    inputs, arrow, out = subscripts.partition("->")
    words = inputs.split(",")
    counts = [n - len(w) + 3 if "..." in w else 0 for w, n in zip(words, ranks, strict=False)]
    spare = "".join(c for c in ascii_letters if c not in subscripts)[: max(0, *counts)]
    if not arrow:  # these axes come first, then the letters that occur once
        once = "".join(sorted(c for c in set(inputs) - {",", "."} if inputs.count(c) == 1))
        out = f"...{once}"
    words = [w.replace("...", spare[len(spare) - n :]) for w, n in zip(words, counts, strict=False)]
    return f"{','.join(words)}->{out.replace('...', spare)}"


# --- matrix functions ------------------------------------------------------------------------------


def _matrix(a: Any, what: str) -> tuple[TracedArray, tuple[Index, Index]]:
    """The last two axes of an array of square matrices."""
    array = lift(recorder_of(a), a)
    rows, columns = array.axes[-2:] if array.ndim >= 2 else (None, None)
    if rows is None or columns is None or rows.range is not columns.range:
        raise array.fail(ShapeError, f"np.linalg.{what} takes square matrices; {array!r} is not one.")
    return array, (rows, columns)


def _opaque(fn: str, array: TracedArray, bound: tuple[Index, Index], entry: bool) -> TracedArray:
    rows, columns = bound
    fresh = (array.recorder.fresh(rows.range), array.recorder.fresh(columns.range))
    body = substitute(array.body, dict(zip(bound, fresh, strict=True)))
    found = Opaque(fn, fresh, body, bound if entry else ())
    return record(array.recorder, found, array.axes if entry else array.axes[:-2], "float")


@function(np.linalg.inv)
def inv(a: Any) -> TracedArray:
    """The inverse of each matrix."""
    return _opaque("inv", *_matrix(a, "inv"), entry=True)


@function(np.linalg.det)
def det(a: Any) -> TracedArray:
    """The determinant of each matrix."""
    return _opaque("det", *_matrix(a, "det"), entry=False)


class Slogdet(NamedTuple):
    """What np.linalg.slogdet returns, by NumPy's names."""

    sign: TracedArray
    logabsdet: TracedArray


@function(np.linalg.slogdet)
def slogdet(a: Any) -> Slogdet:
    """The sign of the determinant, and the logarithm of its absolute value."""
    return Slogdet(UFUNCS["sign"](det(a)), _opaque("logdet", *_matrix(a, "slogdet"), entry=False))


@function(np.linalg.solve)
def solve(a: Any, b: Any) -> TracedArray:
    """A⁻¹ b, of a vector or of the columns of a matrix."""
    return matmul(inv(a), b)
