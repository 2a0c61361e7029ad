"""The syntax tree of formula text: small frozen nodes, each with its place."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Syntax:
    """A piece of formula text: `text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Number(Syntax):
    value: Fraction


@dataclass(frozen=True, slots=True)
class Name(Syntax):
    """A name without brackets; with `adjoint`, dL/d name."""

    name: str
    adjoint: bool = False


@dataclass(frozen=True, slots=True)
class Entry(Syntax):
    """name[indices]; with `adjoint`, dL/d name[indices]."""

    name: str
    indices: tuple[Syntax, ...]
    adjoint: bool = False


@dataclass(frozen=True, slots=True)
class Call(Syntax):
    """name(args)."""

    name: str
    args: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class Binder(Syntax):
    """op(indices, body) with op one of BINDER_NAMES."""

    op: str
    indices: tuple[Name, ...]
    body: Syntax


@dataclass(frozen=True, slots=True)
class MatrixFunction(Syntax):
    """op(i j, body)[at]: an entry of the inverse, or with no `at` the determinant, of a matrix."""

    op: str
    indices: tuple[Name, ...]
    body: Syntax
    at: tuple[Syntax, ...]


@dataclass(frozen=True, slots=True)
class Condition(Syntax):
    """left op right, written in 1(...) or as the condition of where."""

    op: str
    left: Syntax
    right: Syntax


@dataclass(frozen=True, slots=True)
class Terms(Syntax):
    """A sum of terms, each with whether it is subtracted."""

    terms: tuple[tuple[bool, Syntax], ...]


@dataclass(frozen=True, slots=True)
class Factors(Syntax):
    """A product of factors, each with whether it divides."""

    factors: tuple[tuple[bool, Syntax], ...]


@dataclass(frozen=True, slots=True)
class Negative(Syntax):
    operand: Syntax


@dataclass(frozen=True, slots=True)
class Power(Syntax):
    base: Syntax
    exponent: Syntax


@dataclass(frozen=True, slots=True)
class Derivative(Syntax):
    """d body / d wrt."""

    body: Syntax
    wrt: Syntax


@dataclass(frozen=True, slots=True)
class Declaration(Syntax):
    """name: words, such as x: N D or y: N int."""

    name: Name
    words: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Equation(Syntax):
    """left = right; `left` is None where only an expression was written."""

    left: Syntax | None
    right: Syntax


@dataclass(frozen=True, slots=True)
class RangeSize(Syntax):
    """range name: size, such as range h: (size(u) - size(r)) // 2 + 1."""

    name: Name
    size: Syntax


@dataclass(frozen=True, slots=True)
class Parameter(Syntax):
    """parameter name: default, such as parameter eps: 1e-5."""

    name: Name
    default: Syntax


Statement = Declaration | RangeSize | Parameter | Equation
