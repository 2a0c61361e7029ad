"""What a document is made of: blocks in reading order, and nothing that computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chalkgrad.expr.matrix import Matrix
from chalkgrad.expr.nodes import Expr
from chalkgrad.render.wording import Inline

Math = Expr | Matrix


class Checked(Protocol):
    """One equality that was evaluated: before = after, up to a relative error."""

    @property
    def before(self) -> Expr: ...
    @property
    def after(self) -> Expr: ...
    @property
    def error(self) -> float: ...


class Verification(Protocol):
    """What a renderer needs to know about the numbers behind a derivation."""

    @property
    def lines(self) -> Sequence[Checked]:
        """Every equality that was evaluated."""

    @property
    def worst(self) -> float:
        """The largest relative error of any line."""


Errors = dict[tuple[Expr, Expr], float]
"""The relative error of each evaluated equality."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chain: `= value`, why it equals the line above, and how well that verified.

    `parts` is the reason for formats that can set formulas in a sentence; `reason` is its text.
    """

    value: Math
    reason: str = ""
    rule: str = ""
    error: float | None = None
    parts: tuple[Inline, ...] = ()


@dataclass(frozen=True, slots=True)
class Heading:
    """A section title; level 1 is the document's parts, level 2 one finding, level 3 a step to it."""

    text: str
    level: int = 1


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence with formulas in it."""

    parts: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class EquationChain:
    """lhs = ... = ... , a line each."""

    lhs: Math
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Lemma:
    """A fact that the derivation found and uses: in words or as a formula, with its proof."""

    title: tuple[Inline, ...]
    chain: EquationChain


@dataclass(frozen=True, slots=True)
class Code:
    """Source in a language."""

    language: str
    source: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A remark: an assumption, a convention, a choice."""

    parts: tuple[Inline, ...]


Block = Heading | Paragraph | EquationChain | Lemma | Code | Note


@dataclass(frozen=True, slots=True)
class Document:
    """A title and blocks in reading order.

    Attributes:
        title: One line.
        blocks: What to print.
        loss: The name of what is differentiated.
        verified: Whether errors are shown.
        ascii: Whether nothing but ASCII may be printed (for terminals).
    """

    title: str
    blocks: tuple[Block, ...]
    loss: str = "L"
    verified: bool = False
    ascii: bool = False


def error_text(error: float) -> str:
    """A relative error in a form that stays narrow: 2e-16, 0."""
    return "0" if error == 0 else f"{error:.0e}".replace("e-0", "e-")
