"""Expressions as Unicode mathematics for a terminal: `∂L/∂W_dj = Σ_i x_id · ∂L/∂f_ij`.

Letters that are indices follow an underscore (x_id); where an index is more than a letter, or the
name has an underscore of its own, brackets are used: p[i, y_i].
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from chalkgrad.expr.matrix import Matrix
from chalkgrad.expr.names import parse_name
from chalkgrad.expr.nodes import Expr
from chalkgrad.expr.text import number
from chalkgrad.render.matrices import write_matrix
from chalkgrad.render.notation import Writer, write
from chalkgrad.render.pieces import (
    ATOM,
    BIG,
    FRACTION,
    FUNCTION,
    MUL,
    POWER,
    QUOTIENT,
    Piece,
    broken,
    join,
    piece,
)

SUPERSCRIPTS = str.maketrans("0123456789−-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
BIG_SIGNS = {"sum": "Σ", "prod": "∏", "max": "max", "min": "min"}
FUNCTION_NAMES = {"sigmoid": "σ", "maximum": "max", "minimum": "min"}


def display_width(text: str) -> int:
    """How many terminal columns the text takes: combining marks none, wide characters two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _piece(text: str, strength: int = ATOM) -> Piece:
    return piece(text, display_width(text), strength)


class TextWriter(Writer):
    """Spells mathematics in plain Unicode characters."""

    def number(self, value: Fraction | float) -> Piece:
        if isinstance(value, float):
            return _piece("∞")
        written = number(value)
        return _piece(written, QUOTIENT if "/" in written else ATOM)

    def name(self, written: str) -> Piece:
        return _piece(parse_name(written).text)

    def symbol(self, character: str) -> Piece:
        return _piece(character)

    def spaced(self, character: str) -> Piece:
        return _piece(character + " ")

    def apart(self) -> Piece:
        return self.spaced("·")

    def entry(self, written: str, indices: Sequence[Piece], plain: bool) -> Piece:
        name = parse_name(written).text
        if not indices:
            return _piece(name)
        if plain and "_" not in name:
            return _piece(f"{name}_{''.join(i.text for i in indices)}")
        return _piece(f"{name}[{', '.join(i.text for i in indices)}]")

    def subscript(self, base: Piece, indices: Sequence[Piece]) -> Piece:
        letters = [i.text for i in indices]
        plain = all(len(letter.rstrip("′")) == 1 for letter in letters)
        return join([base, _piece(f"_{''.join(letters)}" if plain else f"[{', '.join(letters)}]")], ATOM)

    def derivative(self, top: Piece, bottom: Piece) -> Piece:
        return _piece(f"∂{top.text}/∂{bottom.text}", FRACTION)

    def operator(self, bottom: Piece) -> Piece:
        return _piece(f"∂/∂{bottom.text} ")

    def fraction(self, top: Piece, bottom: Piece) -> Piece:
        if top.strength < MUL:
            top = self.paren(top)
        if bottom.strength < POWER:
            bottom = self.paren(bottom)
        bar = "/" if top.strength >= POWER and bottom.strength >= POWER and top.width < 4 else " / "
        return join([top, _piece(bar), bottom], QUOTIENT)

    def power(self, base: Piece, exponent: Piece) -> Piece:
        digits = exponent.text.removeprefix("−")
        if digits.isdecimal() and digits.isascii():
            return join([base, _piece(exponent.text.translate(SUPERSCRIPTS))], POWER)
        if digits == "⊤":
            return join([base, _piece("⁻ᵀ")], POWER)
        if exponent.strength < ATOM or "_" in exponent.text:
            exponent = self.paren(exponent)
        return join([base, _piece("^"), exponent], POWER)

    def root(self, body: Piece) -> Piece:
        if body.strength < ATOM or len(body.chunks) > 1:
            body = self.paren(body)
        return join([_piece("√"), body], POWER)

    def big(self, op: str, indices: Sequence[Piece]) -> Piece:
        return _piece("".join(f"{BIG_SIGNS[op]}_{i.text} " for i in indices), BIG)

    def call(self, fn: str, args: Sequence[Piece], bare: bool) -> Piece:
        if fn == "pi":
            return _piece("π")
        if fn == "sqrt":
            return self.root(args[0])
        if fn == "abs":
            return join([_piece("|"), args[0], _piece("|")], ATOM, deeper=2)
        name = FUNCTION_NAMES.get(fn, fn)
        if bare and name.isalpha() and name != "σ":
            return join([_piece(name + " "), args[0]], FUNCTION)
        inner = [part for a in args for part in (_piece(", "), a)][1:]
        return join([_piece(name + "("), *inner, _piece(")")], ATOM, deeper=2)

    def indicator(self, op: str, left: Piece, right: Piece) -> Piece:
        return _piece(f"1({self.comparison(op, left, right).text})")

    def comparison(self, op: str, left: Piece, right: Piece) -> Piece:
        return _piece(f"{left.text} {op} {right.text}")

    def paren(self, body: Piece) -> Piece:
        return join([_piece("("), body, _piece(")")], ATOM, deeper=2)

    def transpose(self, base: Piece) -> Piece:
        return join([base, _piece("ᵀ")], POWER)

    def ones(self) -> Piece:
        return _piece("1")

    def function_name(self, fn: str) -> Piece:
        return _piece(FUNCTION_NAMES.get(fn, fn))


def math_text(e: Expr | Matrix, loss: str = "L") -> str:
    """The expression on one line.

    >>> from chalkgrad.expr.nodes import Access, Index, Range, Sum, Tensor
    >>> N, D = Range("N"), Range("D")
    >>> i, d = Index("i", N), Index("d", D)
    >>> x = Access(Tensor("x", (N, D)), (i, d))
    >>> math_text(Sum((i,), x * x) / 2)
    '(1/2) Σ_i x_id x_id'
    """
    return math_piece(e, loss).text


def math_piece(e: Expr | Matrix, loss: str = "L") -> Piece:
    """The expression as chunks that may stand on separate lines."""
    w = TextWriter(loss)
    return write(e, w) if isinstance(e, Expr) else write_matrix(e, w)


def wrap(written: Piece, width: int) -> list[str]:
    """The piece over as many lines as it needs."""
    return [line.text for line in broken(written, width)]
