"""Matrix notation, for results that have one: Xᵀ G, G Wᵀ, Gᵀ1, A ∘ B.

A small closed set apart from index notation: it is only displayed and emitted, never rewritten.
"""

from __future__ import annotations

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
