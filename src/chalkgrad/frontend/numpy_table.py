"""Elementwise functions and reductions that can be traced, each with its meaning in index notation.

Products are in `chalkgrad.frontend.numpy_products`, views and casts in `chalkgrad.frontend.numpy_views`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from chalkgrad.errors import UnsupportedError
from chalkgrad.expr import arithmetic
from chalkgrad.expr.nodes import Add, Apply, Const, Mul, Pow, as_expr
from chalkgrad.frontend import build
from chalkgrad.frontend.array_ops import (
    compare,
    counted,
    elementwise,
    flag,
    lift,
    negation,
    normal_axes,
    recorder_of,
    reduce,
    refuse_options,
    truth,
    widest,
)
from chalkgrad.frontend.traced import UFUNCS, TracedArray, function
from chalkgrad.primitives import PRIMITIVES

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


def _whole(name: str) -> Callable[..., TracedArray]:
    """a // b and a % b of whole numbers; of floats they have no useful derivative."""

    def meaning(a: Any, b: Any) -> TracedArray:
        recorder = recorder_of(a, b)
        if widest([lift(recorder, a), lift(recorder, b)]) == "float":
            raise recorder.error(
                UnsupportedError, "// and % of floats cannot be traced, only of whole numbers."
            )
        return elementwise(lambda x, y: Apply(name, (x, y)), a, b, kind="int")

    return meaning


def logaddexp(a: Any, b: Any) -> TracedArray:
    """log(exp a + exp b), as a + softplus(b - a)."""
    return elementwise(lambda x, y: Add((x, Apply("softplus", (build.subtract(y, x),)))), a, b, kind="float")


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
    "power": power, "floor_divide": _whole("floordiv"), "remainder": _whole("mod"), "logaddexp": logaddexp,
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
    branches = (lift(recorder, a), lift(recorder, b))
    return elementwise(lambda c, x, y: Apply("where", (c, x, y)), chosen, *branches, kind=widest(branches))


@function(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None) -> TracedArray:
    """min(max(a, a_min), a_max)."""
    low = a if a_min is None else UFUNCS["maximum"](a, a_min)
    return low if a_max is None else UFUNCS["minimum"](low, a_max)


# --- reductions ------------------------------------------------------------------------------------


def _reduction(op: str) -> Callable[..., TracedArray]:
    def meaning(a: Any, axis: Any = None, *, keepdims: bool = False, **others: Any) -> TracedArray:
        refuse_options(a, op, others)
        return reduce(op, lift(recorder_of(a), a), axis, flag(keepdims))

    meaning.__doc__ = f"The {op} over some axes."
    return meaning


for _op, _functions in {
    "sum": (np.sum, np.add),
    "mean": (np.mean, np.average),
    "max": (np.max, np.amax, np.maximum),
    "min": (np.min, np.amin, np.minimum),
    "prod": (np.prod, np.multiply),
}.items():
    function(*_functions)(_reduction(_op))


@function(np.var)
def var(
    a: TracedArray, axis: Any = None, *, ddof: float = 0, keepdims: Any = False, **others: Any
) -> TracedArray:
    """1/(n - ddof) Σ (a - mean)², the mean kept as a value of its own."""
    refuse_options(a, "var", others)
    centred = subtract(a, reduce("mean", a, axis, True, kept=True))
    squares = UFUNCS["square"](centred)
    if ddof == 0:
        return reduce("mean", squares, axis, flag(keepdims))
    count = counted(a, axis)
    total = reduce("sum", squares, axis, flag(keepdims))
    return elementwise(lambda s: build.divide(s, Add((count, as_expr(-ddof)))), total, kind="float")


@function(np.std)
def std(
    a: TracedArray, axis: Any = None, *, ddof: float = 0, keepdims: Any = False, **others: Any
) -> TracedArray:
    """The square root of the variance."""
    return UFUNCS["sqrt"](var(a, axis, ddof=ddof, keepdims=keepdims, **others))


@function(np.linalg.norm)
def norm(x: TracedArray, ord: Any = None, axis: Any = None, keepdims: Any = False) -> TracedArray:  # noqa: A002
    """sqrt(Σ x²): of a vector, or of all entries; (Σ |x|^p)^(1/p) and max |x| of a vector."""
    vector = len(normal_axes(x, axis)) == 1
    if vector and ord in (1, np.inf):
        return reduce("sum" if ord == 1 else "max", UFUNCS["abs"](x), axis, flag(keepdims))
    if vector and isinstance(ord, int | float) and 0 < ord < np.inf and ord != 2:
        total = reduce("sum", power(UFUNCS["abs"](x), ord), axis, flag(keepdims))
        root = Const(1 / Fraction(ord))
        return elementwise(lambda e: Pow(e, root), total, kind="float")
    if ord not in (None, "fro") and not (ord == 2 and vector):
        raise x.fail(UnsupportedError, f"np.linalg.norm with ord={ord!r} cannot be traced.")
    return UFUNCS["sqrt"](reduce("sum", UFUNCS["square"](x), axis, flag(keepdims)))
