"""Elementwise functions on vectors, as polynomials; right to a few units in the last place.

    exp x    = 2^n exp r,           n = round(x / ln 2), r = x − n ln 2, |r| ≤ ln 2 / 2, Taylor
    log x    = e ln 2 + 2 artanh s,  x = 2^e m, √½ ≤ m < √2, s = (m − 1)/(m + 1)
    tanh x   = sign x · u / (u + 2), u = expm1(2|x|)
    sigmoid x = 1 / (1 + exp(−x))
    erfc x   = t exp(P(t) − x²),     t = 2 / (2 + x), P a Chebyshev fit; erf x by its series near zero

Reference: J.-M. Muller, Elementary Functions (2016), chapters 4 and 11.
What has no polynomial here is called lane by lane in the C library.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir

from chalkgrad.emit.draws import FACTORS, OF_COLUMN, OF_ROW, SHIFTS
from chalkgrad.emit.kernels.estimates import has_estimates, scaled
from chalkgrad.emit.kernels.parts import UNIFORM
from chalkgrad.emit.kernels.writer import I32, Writer
from chalkgrad.errors import UnsupportedError

LIBRARY = {
    "sin": "sin", "cos": "cos", "tan": "tan", "sinh": "sinh", "cosh": "cosh",
    "arctan": "atan",
}  # fmt: skip
"""Functions of the C library by the name of our primitive."""


MANY_TERMS = 12
"""As many terms of a polynomial are added in two halves."""


def polynomial(w: Writer, x: Any, coefficients: list[float]) -> Any:
    """Σ_n c_n x^n by Horner's rule; the first coefficient is the constant.

    Where there are many terms, even and odd ones go side by side: each step waits for the one before.
    """
    if len(coefficients) >= MANY_TERMS:
        square = w.b.fmul(x, x)
        even, odd = (polynomial(w, square, coefficients[parity::2]) for parity in (0, 1))
        return w.fma(odd, x, even)
    value = w.splat(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = w.fma(value, x, w.splat(c))
    return value


def _reduced(w: Writer, x: Any) -> tuple[Any, Any]:
    """n = round(x / ln 2) as a number, and r = x − n ln 2 in two parts without rounding error."""
    high = 0.693359375 if not w.target.double else 0.693145751953125
    low = math.log(2) - high if not w.target.double else 1.42860682030941723212e-6
    n = w.intrinsic("rint", w.b.fmul(x, w.splat(1 / math.log(2))))
    r = w.fma(n, w.splat(-high), x)
    return n, w.fma(n, w.splat(-low), r)


def _taylor_tail(w: Writer, r: Any) -> Any:
    """exp r − 1 for |r| ≤ ln 2 / 2."""
    degree = 13 if w.target.double else 7
    tail = polynomial(w, r, [1 / math.factorial(n) for n in range(2, degree + 1)])
    return w.fma(w.b.fmul(r, r), tail, r)


def _power_of_two(w: Writer, n: Any) -> Any:
    """2^n for a vector of whole numbers within the exponents of normal numbers."""
    shift, bias = (52, 1023) if w.target.double else (23, 127)
    bits = w.b.shl(w.b.add(n, w.whole_splat(bias)), w.whole_splat(shift))
    return w.b.bitcast(bits, w.vector)


def _power(w: Writer, n: Any) -> Any:
    """2^n for a vector of whole numbers in the number type, not beyond normal exponents."""
    if has_estimates(w):
        return scaled(w, w.splat(1.0), n)
    return _power_of_two(w, w.b.fptosi(n, w.wholes))


def _clamped(w: Writer, x: Any, low: float, high: float) -> Any:
    """x between two bounds; a NaN stays one."""
    x = w.b.select(w.b.fcmp_ordered("<", x, w.splat(low)), w.splat(low), x)
    return w.b.select(w.b.fcmp_ordered(">", x, w.splat(high)), w.splat(high), x)


def exp(w: Writer, x: Any) -> Any:
    low, high = (-745.2, 709.8) if w.target.double else (-104.0, 88.8)
    n, r = _reduced(w, _clamped(w, x, low, high))
    value = w.b.fadd(_taylor_tail(w, r), w.splat(1.0))
    if has_estimates(w):
        return scaled(w, value, n)
    whole = w.b.fptosi(n, w.wholes)
    # In two factors, because 2^128 and 2^-130 are no normal numbers while their product with exp r may be.
    half = w.b.ashr(whole, w.whole_splat(1))
    value = w.b.fmul(value, _power_of_two(w, half))
    return w.b.fmul(value, _power_of_two(w, w.b.sub(whole, half)))


def expm1(w: Writer, x: Any) -> Any:
    low, high = (-40.0, 709.0) if w.target.double else (-20.0, 88.0)
    n, r = _reduced(w, _clamped(w, x, low, high))
    scale = _power(w, n)
    small = w.fma(scale, _taylor_tail(w, r), w.b.fsub(scale, w.splat(1.0)))
    huge = w.b.fcmp_ordered(">", x, w.splat(high))
    return w.b.select(huge, exp(w, x), small)


def _artanh_twice(w: Writer, s: Any, terms: int) -> Any:
    """2 artanh s = 2s (1 + s²/3 + s⁴/5 + …)."""
    square = w.b.fmul(s, s)
    tail = polynomial(w, square, [2 / (2 * n + 1) for n in range(1, terms)])
    twice = w.b.fadd(s, s)
    return w.fma(w.b.fmul(square, s), tail, twice)


def log(w: Writer, x: Any) -> Any:
    shift, root, mask = (
        (52, 0x3FE6A09E667F3BCD, (1 << 52) - 1) if w.target.double else (23, 0x3F3504F3, 0x7FFFFF)
    )
    bits = w.b.bitcast(x, w.wholes)
    above = w.b.sub(bits, w.whole_splat(root))
    exponent = w.b.ashr(above, w.whole_splat(shift))
    mantissa = w.b.bitcast(w.b.add(w.b.and_(above, w.whole_splat(mask)), w.whole_splat(root)), w.vector)
    one = w.splat(1.0)
    s = w.b.fdiv(w.b.fsub(mantissa, one), w.b.fadd(mantissa, one))
    e = w.b.sitofp(exponent, w.vector)
    high = 0.693359375 if not w.target.double else 0.693145751953125
    low = math.log(2) - high if not w.target.double else 1.42860682030941723212e-6
    value = w.fma(e, w.splat(low), _artanh_twice(w, s, 11 if w.target.double else 6))
    value = w.fma(e, w.splat(high), value)
    infinity = w.splat(math.inf)
    value = w.b.select(w.b.fcmp_ordered("==", x, infinity), infinity, value)
    value = w.b.select(w.b.fcmp_ordered("==", x, w.splat(0.0)), w.splat(-math.inf), value)
    return w.b.select(w.b.fcmp_unordered("<", x, w.splat(0.0)), w.splat(math.nan), value)


def log1p(w: Writer, x: Any) -> Any:
    sum_ = w.b.fadd(x, w.splat(1.0))
    lost = w.b.fsub(x, w.b.fsub(sum_, w.splat(1.0)))
    value = w.b.fadd(log(w, sum_), w.b.fdiv(lost, sum_))
    return w.b.select(w.b.fcmp_ordered("==", x, w.splat(math.inf)), x, value)


def tanh(w: Writer, x: Any) -> Any:
    size = w.intrinsic("fabs", x)
    # Beyond this the quotient is 1 in every digit, and the doubled argument cannot overflow.
    bound = 20.0 if w.target.double else 10.0
    size = w.b.select(w.b.fcmp_ordered(">", size, w.splat(bound)), w.splat(bound), size)
    n, r = _reduced(w, w.b.fadd(size, size))
    scale = _power(w, n)
    u = w.fma(scale, _taylor_tail(w, r), w.b.fsub(scale, w.splat(1.0)))
    return w.intrinsic("copysign", w.b.fdiv(u, w.b.fadd(u, w.splat(2.0))), x)


def sigmoid(w: Writer, x: Any) -> Any:
    return w.b.fdiv(w.splat(1.0), w.b.fadd(w.splat(1.0), exp(w, w.b.fneg(x))))


def softplus(w: Writer, x: Any) -> Any:
    u = exp(w, w.b.fneg(w.intrinsic("fabs", x)))
    # log(1 + u) for 0 ≤ u ≤ 1 without the loss of the sum's rounding.
    s = w.b.fdiv(u, w.b.fadd(u, w.splat(2.0)))
    return w.b.fadd(relu(w, x), _artanh_twice(w, s, 17 if w.target.double else 8))


def silu(w: Writer, x: Any) -> Any:
    return w.b.fmul(x, sigmoid(w, x))


NEAR = 0.5
"""Below this the series of erf is used in float64, above it 1 − erfc."""

FAR = {False: 3.95, True: 6.1}
"""Beyond this erf is 1 in float32 and in float64."""


def _powers(function: Callable[[Any], Any], degree: int) -> list[float]:
    """The polynomial that agrees with a function at the Chebyshev nodes from −1 to 1."""
    fit: Any = np.polynomial.Chebyshev.interpolate(function, degree)
    return [float(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef]


@lru_cache(None)
def _erfc_exponent() -> tuple[float, list[float]]:
    """Half of the width of t's range [2/(2 + far), 1], and P in powers of t's place in it, from −1 to 1."""
    half = (1 - 2 / (2 + FAR[True])) / 2

    def exponent(s: Any) -> Any:
        t = 1 - half + half * s
        x = 2 / t - 2
        return np.array([math.log(math.erfc(v)) for v in x]) + x * x - np.log(t)

    return half, _powers(exponent, 26)


def _erfc(w: Writer, a: Any) -> Any:
    """erfc a = t exp(P(t) − a²) for a ≥ 0, with t = 2/(2 + a), in float64."""
    half, coefficients = _erfc_exponent()
    t = w.b.fdiv(w.splat(2.0), w.b.fadd(a, w.splat(2.0)))
    lowest = w.splat(1 - 2 * half)
    t = w.b.select(w.b.fcmp_ordered("<", t, lowest), lowest, t)
    s = w.fma(t, w.splat(1 / half), w.splat(1 - 1 / half))
    power = w.fma(w.b.fneg(a), a, polynomial(w, s, coefficients))
    return w.b.fmul(t, exp(w, power))


@lru_cache(None)
def _erf_ratio() -> list[float]:
    """erf(x)/x in powers of the place of x² between 0 and `FAR`², from −1 to 1."""
    half = FAR[False] ** 2 / 2
    return _powers(lambda s: np.array([math.erf(v) / v for v in np.sqrt(half + half * s)]), 16)


def _erf_single(w: Writer, x: Any) -> Any:
    """One polynomial, which in float32 is shorter than a series near zero and an exponential beyond."""
    far = FAR[False]
    bounded = _clamped(w, x, -far, far)
    s = w.fma(w.b.fmul(bounded, bounded), w.splat(2 / far**2), w.splat(-1.0))
    near = w.b.fmul(bounded, polynomial(w, s, _erf_ratio()))
    # Exactly 1 beyond, or x + x erf x would grow with x where it is to vanish.
    beyond = w.b.fcmp_ordered(">=", w.intrinsic("fabs", x), w.splat(far))
    return w.b.select(beyond, w.intrinsic("copysign", w.splat(1.0), x), _clamped(w, near, -1.0, 1.0))


def erf(w: Writer, x: Any) -> Any:
    if not w.target.double:
        return _erf_single(w, x)
    a = w.intrinsic("fabs", x)
    factors = [2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(12)]
    near = w.b.fmul(x, polynomial(w, w.b.fmul(x, x), factors))
    far = w.intrinsic("copysign", w.b.fsub(w.splat(1.0), _erfc(w, a)), x)
    return w.b.select(w.b.fcmp_ordered("<", a, w.splat(NEAR)), near, far)


def gelu(w: Writer, x: Any) -> Any:
    """x Φ(x): in float32 with Φ = ½ + ½ erf(x/√2), as right as the formula can be there; in float64 with
    ½ erfc(−x/√2), which keeps its digits where x is far below zero."""
    half = w.b.fmul(w.splat(0.5), x)
    if not w.target.double:
        return w.fma(half, erf(w, w.b.fmul(x, w.splat(math.sqrt(0.5)))), half)
    tail = _erfc(w, w.intrinsic("fabs", w.b.fmul(x, w.splat(math.sqrt(0.5)))))
    below = w.b.fcmp_ordered("<", x, w.splat(0.0))
    return w.b.fmul(half, w.b.select(below, tail, w.b.fsub(w.splat(2.0), tail)))


def relu(w: Writer, x: Any) -> Any:
    # In this order a NaN stays one, and a diverging run shows.
    return w.b.select(w.b.fcmp_ordered("<", x, w.splat(0.0)), w.splat(0.0), x)


def sign(w: Writer, x: Any) -> Any:
    one = w.intrinsic("copysign", w.splat(1.0), x)
    return w.b.select(w.b.fcmp_ordered("==", x, w.splat(0.0)), w.splat(0.0), one)


def maximum(w: Writer, a: Any, b: Any) -> Any:
    return w.b.select(w.b.fcmp_unordered(">", a, b), a, b)


def minimum(w: Writer, a: Any, b: Any) -> Any:
    return w.b.select(w.b.fcmp_unordered("<", a, b), a, b)


def mixed(w: Writer, x: Any) -> Any:
    """`chalkgrad.emit.draws.mix` of a whole number, or of a vector of them."""

    def constant(value: int) -> Any:
        if isinstance(x.type, ir.VectorType):
            return ir.Constant(x.type, [value] * x.type.count)
        return ir.Constant(x.type, value)

    for shift, factor in zip(SHIFTS, FACTORS, strict=False):
        x = w.b.mul(w.b.xor(x, w.b.lshr(x, constant(shift))), constant(factor))
    return w.b.xor(x, w.b.lshr(x, constant(SHIFTS[-1])))


def uniform(w: Writer, low: Any, high: Any, row: Any, column: Any) -> Any:
    """The number that is drawn for a row and a column; the halves of the key come as numbers."""
    wholes = ir.VectorType(I32, w.target.lanes)

    def constant(value: int) -> Any:
        return ir.Constant(wholes, [value] * w.target.lanes)

    low, high, row, column = (w.b.fptosi(x, wholes) for x in (low, high, row, column))
    key = w.b.or_(low, w.b.shl(high, constant(16)))
    start = mixed(w, w.b.add(key, w.b.mul(row, constant(OF_ROW))))
    bits = mixed(w, w.b.add(start, w.b.mul(column, constant(OF_COLUMN))))
    number = w.b.sitofp(w.b.lshr(bits, constant(8)), w.vector)
    return w.b.fmul(number, w.splat(2.0**-24))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "tanh": tanh, "sigmoid": sigmoid,
    "softplus": softplus, "silu": silu, "erf": erf, "gelu": gelu, "relu": relu, "sign": sign,
    "maximum": maximum, "minimum": minimum, UNIFORM: uniform,
    "clip": lambda w, a, b, c: minimum(w, maximum(w, a, b), c),
    "sqrt": lambda w, x: w.intrinsic("sqrt", x),
    "abs": lambda w, x: w.intrinsic("fabs", x),
    "pi": lambda w: w.splat(math.pi),
}  # fmt: skip
"""The functions written here, by the name of their primitive."""


def library(w: Writer, name: str, x: Any) -> Any:
    """A function of the C library, lane by lane."""
    symbol = LIBRARY[name] + ("" if w.target.double else "f")
    known = w.module.globals.get(symbol) or ir.Function(
        w.module, ir.FunctionType(w.number, [w.number]), symbol
    )
    value = x
    for lane in range(w.target.lanes):
        at = ir.Constant(I32, lane)
        value = w.b.insert_element(value, w.b.call(known, [w.b.extract_element(x, at)]), at)
    return value


def apply(w: Writer, name: str, arguments: list[Any]) -> Any:
    """The function's value.

    Raises:
        UnsupportedError: When there is neither a polynomial nor a C function.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name](w, *arguments)
    if name in LIBRARY:
        return library(w, name, arguments[0])
    raise UnsupportedError(f"The compiled step has no '{name}'.", hint='Choose engine="auto".')
