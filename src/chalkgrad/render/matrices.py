"""Matrix notation in any format: xᵀ ∂L/∂f, (∂L/∂f)ᵀ 1, A ∘ B."""

from __future__ import annotations

from fractions import Fraction

from chalkgrad.expr.matrix import (
    Diag,
    Elementwise,
    Hadamard,
    Identity,
    Inverse,
    Matrix,
    Named,
    Ones,
    Plus,
    Product,
    Scalar,
    Scaled,
    Transpose,
)
from chalkgrad.expr.nodes import ONE, Expr, Pow
from chalkgrad.expr.ops import walk
from chalkgrad.expr.text import split_sign
from chalkgrad.render.notation import COMPARISONS, Writer, wrapped, write
from chalkgrad.render.pieces import ADD, ATOM, BIG, FRACTION, MUL, NEG, QUOTIENT, Break, Piece, join


def write_matrix(m: Matrix, w: Writer) -> Piece:
    """The matrix expression as the writer's format spells it."""
    match m:
        case Named(tensor):
            name = w.entry(tensor.name, (), True)
            return w.tensor(tensor, w.derivative(w.name(w.loss), name) if tensor.role == "adjoint" else name)
        case Scalar(e):
            return write(e, w)
        case Ones():
            return w.ones()
        case Identity():
            return w.name("I")
        case Inverse(of):
            return w.power(_wrapped(of, ATOM, w), join([w.symbol("−"), w.number(Fraction(1))], NEG))
        case Transpose(Inverse(of)):
            # X⁻ᵀ, as it is written.
            return w.power(_wrapped(of, ATOM, w), join([w.symbol("−"), w.symbol("⊤")], NEG))
        case Transpose(of):
            return w.transpose(_wrapped(of, ATOM, w))
        case Product(factors):
            return _row(factors, None, w)
        case Hadamard(factors):
            return _row(factors, "∘", w)
        case Scaled(scale, of):
            return _scaled(scale, of, w)
        case Plus(terms):
            return _sum(terms, w)
        case Diag(of):
            return join([w.function_name("diag"), w.paren(write_matrix(of, w))], ATOM)
        case Elementwise(fn, args):
            return _elementwise(fn, args, w)
    raise TypeError(f"no notation for the matrix node {type(m).__name__}")


def _wrapped(m: Matrix, at_least: int, w: Writer) -> Piece:
    written = write_matrix(m, w)
    return written if written.strength >= at_least else w.paren(written)


def _row(factors: tuple[Matrix, ...], sign: str | None, w: Writer) -> Piece:
    """Factors side by side. A ∘ B C is ambiguous, so products of the other kind are wrapped."""
    parts: list[Piece | Break] = []
    for place, factor in enumerate(factors):
        if place:
            parts.append(Break(1, w.space))
            if sign:
                parts.append(w.spaced(sign))
        parts.append(_wrapped(factor, FRACTION, w))
    return join(parts, MUL)


def _scaled(scale: Expr, of: Matrix, w: Writer) -> Piece:
    negative, rest = split_sign(scale)
    if negative:
        body = _wrapped(of, MUL, w) if rest == ONE else _scaled(rest, of, w)
        return join([w.symbol("−"), body], NEG)
    whole = not any(isinstance(n, Pow) for n in walk(scale))  # 2 λ w, but (1/N) w
    factor = wrapped(scale, MUL if whole else QUOTIENT + 1, w)
    # c (A ∘ B) and c A B need no parentheses: a number may stand anywhere in a product.
    return join([factor, Break(1, w.space), _wrapped(of, MUL, w)], MUL)


def _sum(terms: tuple[Matrix, ...], w: Writer) -> Piece:
    parts: list[Piece | Break] = []
    for place, term in enumerate(terms):
        negative = isinstance(term, Scaled) and split_sign(term.scale)[0]
        body = term
        if negative and isinstance(term, Scaled):
            rest = split_sign(term.scale)[1]
            body = term.of if rest == ONE else Scaled(rest, term.of)
        written = _wrapped(body, BIG, w)
        if place:
            parts += [Break(0, w.space), w.spaced("−" if negative else "+"), written]
        else:
            parts += [w.symbol("−"), written] if negative else [written]
    return join(parts, ADD)


def _elementwise(fn: str, args: tuple[Matrix, ...], w: Writer) -> Piece:
    op, _, bound = fn.partition(" ")
    if op in COMPARISONS:
        right = w.number(Fraction(bound)) if bound.isdecimal() else w.name(bound)
        return w.indicator(COMPARISONS[op], write_matrix(args[0], w), right)
    return w.call(fn, [write_matrix(a, w) for a in args], bare=False)
