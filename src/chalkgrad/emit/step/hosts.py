"""Arithmetic of Python numbers as code."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from chalkgrad.emit.step.operations import Host

SYMBOLS = {"np.add": "+", "np.subtract": "-", "np.multiply": "*", "np.divide": "/", "np.power": "**"}


def literal(value: Fraction | float) -> str:
    """The code of a constant."""
    if isinstance(value, float):
        return "np.inf" if value > 0 else "-np.inf"
    return str(value.numerator) if value.denominator == 1 else repr(float(value))


def sum_of(numbers: Sequence[tuple[bool, Host]]) -> Host | None:
    """Numbers with their signs added up, None where there are none."""
    if not numbers:
        return None
    code = ""
    for negative, h in numbers:
        sign = ("-" if negative else "") if not code else (" - " if negative else " + ")
        code += sign + h.tight
    return Host(code, any(h.moving for _, h in numbers))


def product_of(negative: bool, above: Sequence[Host], below: Sequence[Host]) -> Host | None:
    """The product of the numbers, None where it is one."""
    above = [h for h in above if h.code != "1"]
    if not above and not below and not negative:
        return None
    if len(above) == 1 and not below and not negative:
        return above[0]
    code = " * ".join(h.tight for h in above) or "1"
    if below:
        divisor = " * ".join(h.tight for h in below)
        code += f" / {divisor}" if len(below) == 1 else f" / ({divisor})"
    return Host(f"-{code}" if negative else code, any(h.moving for h in (*above, *below)))


def call_of(fn: str, args: Sequence[Host]) -> Host:
    """A NumPy function of Python numbers, as an expression."""
    moving = any(a.moving for a in args)
    if fn == "np.negative":
        return Host(f"-{args[0].tight}", moving)
    if fn in SYMBOLS:
        return Host(f" {SYMBOLS[fn]} ".join(a.tight for a in args), moving)
    return Host(f"float({fn}({', '.join(a.code for a in args)}))", moving)
