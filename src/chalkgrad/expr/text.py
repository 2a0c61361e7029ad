"""Expressions as plain text in the grammar that `chalkgrad.formula` reads.

What this prints can be read back: `sum(d, x[i,d] * W[d,k]) + b[k]`, `dL/df[i,k]`, `1(j == k)`.
"""

from __future__ import annotations

from fractions import Fraction

from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Partial,
    Pow,
    Reduce,
    Size,
    Sum,
    Tensor,
)

ADD, MUL, NEG, POW, ATOM = range(5)
"""Binding strengths, loosest first."""


def text(e: Expr) -> str:
    """The expression in the formula grammar."""
    return _text(e)[0]


def tensor_name(t: Tensor) -> str:
    """`x`, or `dL/dx` for the adjoint of x."""
    return f"dL/d{t.name}" if t.role == "adjoint" else t.name


def number(value: Fraction | float) -> str:
    """A rational as an integer, a short exact decimal, or a quotient."""
    if isinstance(value, float):
        return "inf" if value > 0 else "-inf"
    if value.denominator == 1:
        return str(value.numerator)
    decimal = repr(float(value))
    if Fraction(decimal) == value and len(decimal) <= 12 and value.denominator > 9:
        return decimal
    return f"{value.numerator}/{value.denominator}"


def is_decimal(value: Fraction) -> bool:
    """Whether a fraction prints exactly as a short decimal."""
    return len(repr(float(value))) <= 8 and Fraction(repr(float(value))) == value


def split_sign(e: Expr) -> tuple[bool, Expr]:
    """Whether the expression carries a leading minus, and what stays without it."""
    match e:
        case Const(value) if value < 0:
            return True, Const(-value)
        case Mul((Const(value), *rest)) if value < 0:
            kept = tuple(rest) if value == -1 and rest else (Const(-value), *rest)
            return True, kept[0] if len(kept) == 1 else Mul(kept)
    return False, e


def split_quotient(factors: tuple[Expr, ...]) -> tuple[list[Expr], list[Expr]]:
    """Factors above and below the fraction bar: negative constant exponents go below."""
    above: list[Expr] = []
    below: list[Expr] = []
    for f in factors:
        match f:
            case Pow(base, Const(power)) if power < 0:
                below.append(base if power == -1 else Pow(base, Const(-power)))
            case Const(Fraction(numerator=1, denominator=bottom)) if bottom > 1 and len(factors) > 1:
                below.append(Const(Fraction(bottom)))
            case _:
                above.append(f)
    return above, below


def _wrap(e: Expr, at_least: int) -> str:
    written, strength = _text(e)
    return written if strength >= at_least else f"({written})"


def _text(e: Expr) -> tuple[str, int]:
    match e:
        case Const(value):
            written = number(value)
            return written, NEG if value < 0 else MUL if "/" in written else ATOM
        case Size(of):
            return f"size({of.name})", ATOM
        case Index(name, _):
            return name, ATOM
        case Access(tensor, indices):
            name = tensor_name(tensor)
            if not indices:
                return name, ATOM
            return f"{name}[{','.join(_text(i)[0].replace(' ', '') for i in indices)}]", ATOM
        case Indicator(op, left, right):
            return f"1({_text(left)[0]} {op} {_text(right)[0]})", ATOM
        case Apply(fn, ()):
            return fn, ATOM
        case Apply("floordiv" | "mod" as fn, (a, b)):
            return f"{_wrap(a, POW)} {'//' if fn == 'floordiv' else '%'} {_wrap(b, POW)}", MUL
        case Apply("where", (Indicator(op, left, right), *branches)):
            condition = f"{_text(left)[0]} {op} {_text(right)[0]}"
            return f"where({', '.join([condition, *(_text(b)[0] for b in branches)])})", ATOM
        case Apply(fn, args):
            return f"{fn}({', '.join(_text(a)[0] for a in args)})", ATOM
        case Sum(indices, body):
            return f"sum({' '.join(i.name for i in indices)}, {_text(body)[0]})", ATOM
        case Reduce(op, indices, body):
            return f"{op}({' '.join(i.name for i in indices)}, {_text(body)[0]})", ATOM
        case Opaque(fn, indices, body, at):
            inside = f"{fn}({' '.join(i.name for i in indices)}, {_text(body)[0]})"
            return (f"{inside}[{','.join(_text(i)[0].replace(' ', '') for i in at)}]" if at else inside), ATOM
        case Pow(base, Const(Fraction(numerator=-1, denominator=1))):
            return f"1 / {_wrap(base, POW)}", MUL
        case Pow(base, exponent):
            return f"{_wrap(base, ATOM)}^{_wrap(exponent, ATOM)}", POW
        case Partial(body, wrt):
            return f"d {_wrap(body, ATOM)} / d {_text(wrt)[0]}", MUL
        case Mul(()):
            return "1", ATOM
        case Mul(factors):
            negative, rest = split_sign(e)
            if negative:
                return f"-{_wrap(rest, MUL)}", NEG
            above, below = split_quotient(factors)
            # -x * y would be read as -(x * y): a minus that leads a product is bracketed.
            top = " * ".join(_wrap(f, NEG if n else POW) for n, f in enumerate(above)) if above else "1"
            if not below:
                return top, MUL
            several = f"({' * '.join(_wrap(f, NEG) for f in below)})"
            bottom = _wrap(below[0], POW) if len(below) == 1 else several
            return f"{top} / {bottom}", MUL
        case Add(()):
            return "0", ATOM
        case Add(terms):
            parts: list[str] = []
            for position, term in enumerate(terms):
                negative, rest = split_sign(term)
                written = _wrap(rest, MUL)
                if position == 0:
                    parts.append(f"-{written}" if negative else written)
                else:
                    parts.append(f"{'-' if negative else '+'} {written}")
            return " ".join(parts), ADD
    raise TypeError(f"no text for the node {type(e).__name__}")
