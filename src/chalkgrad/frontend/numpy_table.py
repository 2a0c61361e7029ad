"""The table of NumPy functions that can be traced, each with its meaning in index notation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.expr import arithmetic
from chalkgrad.expr.nodes import HALF, Add, Apply, Const, Expr, Indicator, Mul, Pow, as_expr
from chalkgrad.expr.ops import substitute
from chalkgrad.frontend import build
from chalkgrad.frontend.array_ops import (
    compare,
    contract,
    counted,
    elementwise,
    lift,
    negation,
    normal_axes,
    record,
    recorder_of,
    reduce,
    truth,
)
from chalkgrad.frontend.traced import FUNCTIONS, METHODS, UFUNCS, SymbolicSize, TracedArray
from chalkgrad.primitives import PRIMITIVES

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def function(*numpy_functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares what these NumPy functions mean."""

    def declare(meaning: Callable[..., Any]) -> Callable[..., Any]:
        for numpy_function in numpy_functions:
            FUNCTIONS[numpy_function] = meaning
        return meaning

    return declare


# --- elementwise -----------------------------------------------------------------------------------


def _primitive(name: str) -> Callable[..., TracedArray]:
    return lambda *operands: elementwise(lambda *bodies: build.call(name, bodies), *operands, kind="float")


def _same_kind(name: str) -> Callable[..., TracedArray]:
    return lambda *operands: elementwise(lambda *bodies: build.call(name, bodies), *operands)


def add(a: Any, b: Any) -> TracedArray:
    """a + b; of two conditions it is `or`, as in NumPy."""
    return logical_or(a, b) if _conditions(a, b) else elementwise(lambda x, y: Add((x, y)), a, b)


def subtract(a: Any, b: Any) -> TracedArray:
    """a - b."""
    if _conditions(a, b):
        raise recorder_of(a, b).error(
            UnsupportedError, "NumPy does not subtract conditions.", "Use a & ~b, or .astype(float) first."
        )
    return elementwise(build.subtract, a, b)


def negative(a: TracedArray) -> TracedArray:
    """-a."""
    if a.kind == "bool":
        raise a.fail(UnsupportedError, "NumPy does not negate conditions with -.", "Use ~a.")
    return elementwise(build.negate, a)


def _conditions(*operands: Any) -> bool:
    recorder = recorder_of(*operands)
    return all(lift(recorder, o).kind == "bool" for o in operands)


def power(a: Any, b: Any) -> TracedArray:
    """a ** b."""
    whole = not isinstance(b, TracedArray) and isinstance(b, int) and b >= 0
    return elementwise(arithmetic.power, a, b, kind=None if whole else "float")


def logical_and(a: Any, b: Any) -> TracedArray:
    """a and b, as the product of conditions."""
    recorder = recorder_of(a, b)
    conditions = (truth(lift(recorder, o)) for o in (a, b))
    return elementwise(lambda x, y: Mul((x, y)), *conditions, kind="bool")


def logical_or(a: Any, b: Any) -> TracedArray:
    """a or b, as 1 - (1 - a)(1 - b)."""
    return logical_not(logical_and(logical_not(a), logical_not(b)))


def logical_not(a: Any) -> TracedArray:
    """not a."""
    return elementwise(negation, truth(lift(recorder_of(a), a)), kind="bool")


def _bits(meaning: Callable[..., TracedArray]) -> Callable[..., TracedArray]:
    """&, | and ~ of conditions; of integers they are bits, which have no formula."""

    def checked(*operands: Any) -> TracedArray:
        if not _conditions(*operands):
            raise recorder_of(*operands).error(UnsupportedError, "&, | and ~ take conditions only.")
        return meaning(*operands)

    return checked


def logarithm(base: int) -> Callable[[Any], TracedArray]:
    """log to a base, as log x / log base."""
    return lambda a: elementwise(
        lambda x: build.divide(Apply("log", (x,)), Apply("log", (as_expr(base),))), a, kind="float"
    )


UFUNCS.update({p.name: _primitive(p.name) for p in PRIMITIVES.values() if p.arity == 1})
UFUNCS.update({name: _primitive(name) for name, same in build.ALIASES.items() if same != "abs"})
UFUNCS.update({name: _same_kind("abs") for name in ("absolute", "fabs")})
UFUNCS.update({
    "sign": _same_kind("sign"),
    "maximum": _same_kind("maximum"),
    "minimum": _same_kind("minimum"),
    "add": add,
    "subtract": subtract,
    "multiply": lambda a, b: elementwise(lambda x, y: Mul((x, y)), a, b),
    "divide": lambda a, b: elementwise(build.divide, a, b, kind="float"),
    "true_divide": lambda a, b: elementwise(build.divide, a, b, kind="float"),
    "negative": negative,
    "positive": lambda a: elementwise(lambda x: x, a),
    "power": power,
    "float_power": lambda a, b: elementwise(arithmetic.power, a, b, kind="float"),
    "square": lambda a: elementwise(lambda x: Pow(x, as_expr(2)), a),
    "reciprocal": lambda a: elementwise(lambda x: build.divide(as_expr(1), x), a, kind="float"),
    "exp2": lambda a: elementwise(lambda x: Pow(as_expr(2), x), a, kind="float"),
    "log2": logarithm(2),
    "log10": logarithm(10),
    "equal": compare("=="), "not_equal": compare("!="), "less": compare("<"), "less_equal": compare("<="),
    "greater": compare(">"), "greater_equal": compare(">="),
    "logical_and": logical_and, "logical_or": logical_or, "logical_not": logical_not,
    "bitwise_and": _bits(logical_and), "bitwise_or": _bits(logical_or), "invert": _bits(logical_not),
})  # fmt: skip


@function(np.where)
def where(condition: Any, a: Any = None, b: Any = None) -> TracedArray:
    """a where the condition holds, else b."""
    recorder = recorder_of(condition, a, b)
    if a is None or b is None:
        raise recorder.error(
            UnsupportedError,
            "np.where(condition) alone gives a list of places, whose length depends on the values.",
            "Use np.where(condition, a, b).",
        )
    chosen = truth(lift(recorder, condition))
    kind = elementwise(lambda x, y: Add((x, y)), a, b).kind if isinstance(a, TracedArray) else None
    branches = (lift(recorder, a), lift(recorder, b))
    kind = "float" if "float" in (branches[0].kind, branches[1].kind) else branches[0].kind
    return elementwise(lambda c, x, y: Apply("where", (c, x, y)), chosen, *branches, kind=kind)


@function(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None) -> TracedArray:
    """min(max(a, a_min), a_max)."""
    low = a if a_min is None else UFUNCS["maximum"](a, a_min)
    return low if a_max is None else UFUNCS["minimum"](low, a_max)


# --- reductions ------------------------------------------------------------------------------------


def _reduction(op: str) -> Callable[..., TracedArray]:
    def meaning(a: Any, axis: Any = None, *, keepdims: bool = False, **others: Any) -> TracedArray:
        _refuse_options(a, op, others)
        return reduce(op, lift(recorder_of(a), a), axis, _flag(keepdims))

    meaning.__doc__ = f"The {op} over some axes."
    return meaning


def _flag(keepdims: Any) -> bool:
    """NumPy passes a placeholder where keepdims was not given."""
    return keepdims is True or keepdims == 1


def _refuse_options(a: TracedArray, op: str, others: dict[str, Any]) -> None:
    given = [k for k, v in others.items() if v is not None and v is not np._NoValue]  # type: ignore[attr-defined]
    if given:
        raise a.fail(UnsupportedError, f"np.{op} with {', '.join(given)}= cannot be traced.")


for _op, _functions in {
    "sum": (np.sum, np.add),
    "mean": (np.mean, np.average),
    "max": (np.max, np.amax, np.maximum),
    "min": (np.min, np.amin, np.minimum),
    "prod": (np.prod, np.multiply),
}.items():
    function(*_functions)(_reduction(_op))


@function(np.var)
def var(a: TracedArray, axis: Any = None, *, ddof: float = 0, keepdims: Any = False, **others: Any) -> TracedArray:
    """1/(n - ddof) Σ (a - mean)², the mean kept as a value of its own."""
    _refuse_options(a, "var", others)
    centred = subtract(a, reduce("mean", a, axis, True, kept=True))
    squares = UFUNCS["square"](centred)
    if ddof == 0:
        return reduce("mean", squares, axis, _flag(keepdims))
    count = counted(a, axis)
    total = reduce("sum", squares, axis, _flag(keepdims))
    return elementwise(lambda s: build.divide(s, Add((count, as_expr(-ddof)))), total, kind="float")


@function(np.std)
def std(a: TracedArray, axis: Any = None, *, ddof: float = 0, keepdims: Any = False, **others: Any) -> TracedArray:
    """The square root of the variance."""
    return UFUNCS["sqrt"](var(a, axis, ddof=ddof, keepdims=keepdims, **others))


@function(np.linalg.norm)
def norm(x: TracedArray, ord: Any = None, axis: Any = None, keepdims: Any = False) -> TracedArray:  # noqa: A002
    """sqrt(Σ x²): of a vector, or of all entries."""
    if ord not in (None, "fro") and not (ord == 2 and len(normal_axes(x, axis)) == 1):
        raise x.fail(UnsupportedError, f"np.linalg.norm with ord={ord!r} cannot be traced.")
    return UFUNCS["sqrt"](reduce("sum", UFUNCS["square"](x), axis, _flag(keepdims)))


# --- products --------------------------------------------------------------------------------------


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


@function(np.inner, np.vdot)
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
        return diagonal(v)
    if v.ndim != 1 or v.axes[0] is None:
        raise v.fail(ShapeError, "np.diag takes a vector or a matrix.")
    other = v.recorder.fresh(v.axes[0].range)
    body = Mul((Indicator("==", v.axes[0], other), v.body))
    return record(v.recorder, body, (v.axes[0], other), v.kind)


@function(np.einsum)
def einsum(subscripts: Any, *operands: Any, **options: Any) -> TracedArray:
    """Σ of products, as the subscripts say."""
    options.pop("optimize", None)
    recorder = recorder_of(*operands)
    if options or not isinstance(subscripts, str):
        raise recorder.error(UnsupportedError, "np.einsum takes a string and operands here.")
    arrays = [lift(recorder, o) for o in operands]
    inputs, arrow, out = subscripts.replace(" ", "").partition("->")
    labels = inputs.split(",")
    if "." in subscripts:
        raise recorder.error(UnsupportedError, "The ellipsis in np.einsum cannot be traced.", "Name every axis.")
    if len(labels) != len(arrays) or any(len(w) != a.ndim for w, a in zip(labels, arrays, strict=False)):
        shapes = ", ".join(repr(a) for a in arrays)
        raise recorder.error(ShapeError, f"'{subscripts}' does not have one letter per axis of {shapes}.")
    if not arrow:
        out = "".join(sorted(c for c in set(inputs) - {","} if inputs.count(c) == 1))
    if len(set(out)) < len(out) or not set(out) <= set(inputs) - {","}:
        raise recorder.error(ShapeError, f"The letters after -> in '{subscripts}' are not those of the operands.")
    return contract(arrays, labels, out)


# --- views and casts -------------------------------------------------------------------------------


@function(np.transpose)
def transpose(a: TracedArray, axes: Any = None) -> TracedArray:
    """The axes in another order."""
    if axes is None:
        return a.T
    order = [int(p) % a.ndim for p in axes]
    if sorted(order) != list(range(a.ndim)):
        raise a.fail(ShapeError, f"{axes!r} is not an order of the {a.ndim} axes.")
    return a.view(tuple(a.axes[p] for p in order))


@function(np.swapaxes)
def swapaxes(a: TracedArray, axis1: int, axis2: int) -> TracedArray:
    """Two axes exchanged."""
    order = list(a.axes)
    first, second = normal_axes(a, axis1)[0], normal_axes(a, axis2)[0]
    order[first], order[second] = order[second], order[first]
    return a.view(tuple(order))


@function(np.expand_dims)
def expand_dims(a: TracedArray, axis: int) -> TracedArray:
    """A new axis of length one."""
    place = axis % (a.ndim + 1)
    return a.view((*a.axes[:place], None, *a.axes[place:]))


@function(np.squeeze)
def squeeze(a: TracedArray, axis: Any = None) -> TracedArray:
    """Without axes of length one."""
    places = [p for p, i in enumerate(a.axes) if i is None] if axis is None else list(normal_axes(a, axis))
    if any(a.axes[p] is not None for p in places):
        raise a.fail(ShapeError, f"{a!r} has more than one entry along axis {axis}.")
    return a.view(tuple(i for p, i in enumerate(a.axes) if p not in places))


@function(np.reshape)
def reshape(a: TracedArray, shape: Any, order: str = "C") -> TracedArray:
    """Only axes of length one may come and go: x.reshape(N, 1), v.reshape(-1, 1)."""
    wanted = shape if isinstance(shape, tuple | list) else (shape,)
    left = list(a.indices)
    axes: list[Any] = []
    for entry in wanted:
        if isinstance(entry, SymbolicSize):
            axes.append(left.pop(0) if left and entry.body is counted(a.view((left[0],)), None) else False)
        else:
            axes.append(None if entry == 1 else left.pop(0) if entry == -1 and left else False)
    if left or False in axes or order != "C":
        raise a.fail(
            UnsupportedError,
            "This reshape joins or splits axes, which cannot be traced.",
            "Only axes of length one can come and go; use np.einsum to sum over several axes.",
        )
    return a.view(tuple(axes))


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
        _refuse_options(a, "ones_like", others)
        fresh = tuple(i and a.recorder.fresh(i.range) for i in a.axes)
        return lift(a.recorder, fill[0] if fill else value).view(fresh, "float" if not fill else None)

    return meaning


function(np.ones_like)(_filled(1))
function(np.zeros_like)(_filled(0))
function(np.full_like)(_filled(0))


@function(np.take_along_axis)
def take_along_axis(arr: TracedArray, indices: TracedArray, axis: int) -> TracedArray:
    """Along one axis, the entry that the integers choose: lp[i, y[i,0]]."""
    place = normal_axes(arr, axis)[0]
    along = arr.axes[place]
    if not isinstance(indices, TracedArray) or indices.kind != "int" or indices.ndim != arr.ndim or along is None:
        raise arr.fail(ShapeError, "np.take_along_axis takes integers with as many axes as the array.")
    pairs = zip(indices.axes, arr.axes, strict=True)
    if any((i and i.range) is not (a and a.range) for p, (i, a) in enumerate(pairs) if p != place):
        raise arr.fail(ShapeError, f"{indices!r} and {arr!r} differ in other axes than axis {axis}.")
    mapping: dict[Any, Expr] = {a: i for a, i in zip(arr.axes, indices.axes, strict=True) if a and i}
    mapping[along] = indices.body
    return record(arr.recorder, substitute(arr.body, mapping), indices.axes, arr.kind)


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


__all__ = ["HALF", "einsum", "function", "matmul", "where"]
