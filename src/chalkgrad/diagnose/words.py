"""Evidence as text and formulas, written out only if somebody reads it: most hypotheses are refuted."""

from __future__ import annotations

from dataclasses import dataclass

from chalkgrad.expr.nodes import Definition, Expr, Tensor
from chalkgrad.render.math_text import math_text

PEOPLE = {"N": "the observations N", "D": "the features D", "K": "the classes K"}
"""What the conventional ranges are called."""


@dataclass(frozen=True, slots=True)
class Words:
    """Text with formulas in it; `str()` of it writes them as mathematics."""

    parts: tuple[str | Expr | Tensor, ...]

    def __str__(self) -> str:
        return "".join(_spelled(p) for p in self.parts)


def words(*parts: str | Expr | Tensor) -> Words:
    """Words of parts; a formula is written when the words are.

    Example:
        >>> from chalkgrad.expr.nodes import Range
        >>> str(words("the gradient of ", Tensor("x", (Range("N"),)).adjoint))
        'the gradient of ∂L/∂x'
    """
    return Words(parts)


def range_words(name: str) -> str:
    """A range as a person says it."""
    return PEOPLE.get(name, name)


def _spelled(part: str | Expr | Tensor) -> str:
    if isinstance(part, Tensor):
        return f"∂L/∂{part.name}" if part.role == "adjoint" else part.name
    return part if isinstance(part, str) else math_text(part)


def told_apart(one: float, other: float, least: int = 4) -> tuple[str, str]:
    """Two numbers with four digits, or at least so many, or as many more as show that they differ."""
    for digits in range(least, 18):
        texts = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if texts[0] != texts[1]:
            return texts
    return texts


def shown(line: Definition) -> str:
    """A line of the derivation for people: ∂L/∂W_dj = Σ_i x_id · ∂L/∂f_ij."""
    return f"{math_text(line.access)} = {math_text(line.body)}"
