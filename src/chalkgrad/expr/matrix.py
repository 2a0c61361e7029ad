"""Matrix notation, for results that have one: Xᵀ G, G Wᵀ, Gᵀ1, A ∘ B.

A small closed set apart from index notation: it is only displayed and emitted, never rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chalkgrad.expr.nodes import Expr, Node, Tensor


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Matrix(Node):
    """Base class of the matrix-notation nodes."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Named(Matrix):
    """A whole array by its name."""

    tensor: Tensor


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Scalar(Matrix):
    """A number that no index of the result reaches (a constant, a size, a parameter)."""

    expr: Expr


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Ones(Matrix):
    """The column of ones."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Identity(Matrix):
    """The identity matrix."""


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Inverse(Matrix):
    """A⁻¹."""

    of: Matrix


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Transpose(Matrix):
    """Aᵀ."""

    of: Matrix


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Product(Matrix):
    """The matrix product A B ... ."""

    factors: tuple[Matrix, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Hadamard(Matrix):
    """The elementwise product A ∘ B ∘ ... ."""

    factors: tuple[Matrix, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Scaled(Matrix):
    """c A, with a scalar c."""

    scale: Expr
    of: Matrix


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Plus(Matrix):
    """A + B + ... ."""

    terms: tuple[Matrix, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Diag(Matrix):
    """diag(v), the diagonal matrix of a vector."""

    of: Matrix


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Elementwise(Matrix):
    """A function applied to every entry, written fn(A); `fn` is a primitive or a comparison such
    as "> 0" that makes an indicator matrix 1(A > 0)."""

    fn: str
    args: tuple[Matrix, ...]


# --- the same matrix in fewer signs ----------------------------------------------------------------


def product(factors: Iterable[Matrix]) -> Matrix:
    """A B C, factors that are products themselves written out and numbers in front."""
    flat: list[Matrix] = []
    scales: list[Expr] = []
    for f in factors:
        inner = f
        while isinstance(inner, Scaled):
            scales.append(inner.scale)
            inner = inner.of
        flat.extend(inner.factors if isinstance(inner, Product) else (inner,))
    made: Matrix = flat[0] if len(flat) == 1 else Product(tuple(flat))
    for scale in reversed(scales):
        made = Scaled(scale, made)
    return made


def transposed(m: Matrix) -> Matrix:
    """mᵀ with the sign on the names: (A B)ᵀ = Bᵀ Aᵀ, (Aᵀ)ᵀ = A."""
    match m:
        case Transpose(of):
            return of
        case Product(factors):
            return product(transposed(f) for f in reversed(factors))
        case Scaled(scale, of):
            return Scaled(scale, transposed(of))
        case Diag() | Identity() | Scalar():
            return m
    return Transpose(m)


def hadamard(factors: Sequence[Matrix]) -> Matrix:
    """A ∘ B ∘ ..., (A ∘ B)ᵀ where every factor is transposed."""
    if len(factors) == 1:
        return factors[0]
    if all(isinstance(f, Transpose) for f in factors):
        return Transpose(Hadamard(tuple(transposed(f) for f in factors)))
    return Hadamard(tuple(factors))
