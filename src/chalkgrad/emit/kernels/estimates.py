"""Roots, quotients and powers of two by instructions that AVX-512 has for whole registers.

The processor estimates 1/x and 1/√x to 14 bits; Newton's steps double them. One instruction puts special
arguments right, and another one multiplies by a power of two.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.writer import I32, Writer

CURRENT_ROUNDING = ir.Constant(I32, 4)
"""To round as the processor is told to."""


def has_estimates(w: Writer) -> bool:
    """Whether the processor has 14-bit estimates of 1/x and 1/√x, and x 2^n, for whole registers."""
    return w.target.x86 and w.target.bytes == 64


def _kind(w: Writer) -> tuple[str, Any]:
    """How the processor's instructions call the number type, and the type of a mask of lanes."""
    return ("pd" if w.target.double else "ps"), ir.IntType(w.target.lanes)


def _estimate(w: Writer, name: str, x: Any) -> Any:
    kind, mask = _kind(w)
    full = f"llvm.x86.avx512.{name}14.{kind}.512"
    known = w.module.globals.get(full) or ir.Function(
        w.module, ir.FunctionType(w.vector, [w.vector, w.vector, mask]), full
    )
    return w.b.call(known, [x, w.splat(0.0), ir.Constant(mask, -1)])


# What a result becomes for each class of the argument, four bits each, lowest first: quiet NaN, signalling
# NaN, zero, one, −∞, +∞, negative, positive. 0 keeps the result, 1 takes the argument, 2 makes it a NaN,
# 3 a new NaN, 5 +∞, 6 an infinity of the argument's sign, 7 −0, 8 +0.
ROOT_CASES = 0x0353_0122
INVERSE_CASES = 0x0087_0622


def _with_cases(w: Writer, result: Any, x: Any, cases: int) -> Any:
    """The result with the special arguments put right, in one instruction (vfixupimm)."""
    kind, mask = _kind(w)
    full = f"llvm.x86.avx512.mask.fixupimm.{kind}.512"
    kinds = [w.vector, w.vector, w.wholes, I32, mask, I32]
    known = w.module.globals.get(full) or ir.Function(w.module, ir.FunctionType(w.vector, kinds), full)
    everywhere = ir.Constant(mask, -1)
    return w.b.call(
        known, [result, x, w.whole_splat(cases), ir.Constant(I32, 0), everywhere, CURRENT_ROUNDING]
    )


def _newton_steps(w: Writer) -> int:
    """How often 14 right bits must double."""
    return 2 if w.target.double else 1


def quotient(w: Writer, a: Any, b: Any) -> Any:
    """a / b within two units in the last place: an estimate of 1/b and Newton's steps y ← y + y (1 − b y).

    For |b| below a quarter of the largest number; beyond it the estimate is zero. A division takes the
    unit that multiplies for 16 cycles; this takes 3, beside the loads and stores.
    """
    inverse = _estimate(w, "rcp", b)
    for _ in range(_newton_steps(w)):
        error = w.fma(w.b.fneg(b), inverse, w.splat(1.0))
        inverse = w.fma(inverse, error, inverse)
    return w.b.fmul(a, _with_cases(w, inverse, b, INVERSE_CASES), flags=("contract",))


def root(w: Writer, x: Any) -> Any:
    """√x within two units in the last place: s = x y and h = y/2 for y ≈ 1/√x, then s ← s + s (½ − s h).

    Where one vector is multiplied in a cycle, the processor's own root takes the multiplier for one cycle
    instead of six, and another unit for ten, which has nothing else to do.
    """
    if w.target.multipliers == 1:
        return w.intrinsic("sqrt", x)
    estimate = _estimate(w, "rsqrt", x)
    value = w.b.fmul(x, estimate)
    half = w.b.fmul(w.splat(0.5), estimate)
    for step in range(_newton_steps(w)):
        error = w.fma(w.b.fneg(value), half, w.splat(0.5))
        value = w.fma(value, error, value)
        if step + 1 < _newton_steps(w):
            half = w.fma(half, error, half)
    return _with_cases(w, value, x, ROOT_CASES)


def scaled(w: Writer, x: Any, n: Any) -> Any:
    """x 2^n, in one instruction (vscalef)."""
    kind, mask = _kind(w)
    kinds = [w.vector, w.vector, w.vector, mask, I32]
    full = f"llvm.x86.avx512.mask.scalef.{kind}.512"
    known = w.module.globals.get(full) or ir.Function(w.module, ir.FunctionType(w.vector, kinds), full)
    return w.b.call(known, [x, n, w.splat(0.0), ir.Constant(mask, -1), CURRENT_ROUNDING])
