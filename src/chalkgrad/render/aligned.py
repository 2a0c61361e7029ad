r"""Chains of equations as rows of LaTeX cells, for every format that sets `aligned`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chalkgrad.render.document import EquationChain, Line, error_text
from chalkgrad.render.math_latex import escape, math_piece
from chalkgrad.render.pieces import Piece, broken

PAGE = 92
"""How many characters, as `Chunk.width` counts them, a line of a page takes."""

LONGEST_LHS = 30
NARROWEST_REASON = 24
GAP = 4


@dataclass(frozen=True, slots=True)
class Cells:
    """One row: left-hand side, right-hand side with its `=`, reason, error; "" is an empty cell."""

    lhs: str = ""
    rhs: str = ""
    reason: str = ""
    error: str = ""

    @property
    def latex(self) -> str:
        r"""The row for a three-pair alignment, without trailing empty cells and without `\\`."""
        cells = [self.lhs, "&" + self.rhs]
        if self.reason or self.error:
            cells.append(rf" &&\quad {self.reason}")
        if self.error:
            cells.append(rf" &&\quad {self.error}")
        return "".join(cells).strip()


def aligned(chain: EquationChain, loss: str, page: int = PAGE) -> str:
    r"""The chain as one `\begin{aligned}` environment."""
    body = " \\\\\n".join(row.latex for row in rows(chain, loss, page))
    return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"


def rows(chain: EquationChain, loss: str, page: int = PAGE) -> Iterator[Cells]:
    """The chain row by row. Reasons stand beside the lines where there is room, else below them."""
    lhs = math_piece(chain.lhs, loss)
    left = lhs.text
    if not chain.lines:
        yield Cells(left)
        return
    start = lhs.width + 3
    if lhs.width > LONGEST_LHS:
        yield Cells("", left)
        left, start = "", 3
    room = page - start - (9 if any(line.error is not None for line in chain.lines) else 0)
    pieces = [math_piece(line.value, loss) for line in chain.lines]
    broken_pieces = [_lines(p, room) for p in pieces]
    beside = _room_beside(broken_pieces, chain, room)
    for line, parts in zip(chain.lines, broken_pieces, strict=True):
        yield from _line_rows(left, line, [text for text, _ in parts], beside, room)
        left = ""


def _lines(written: Piece, room: int) -> list[tuple[str, int]]:
    """The piece's lines with their widths; those after the first are set in."""
    return [(p.text, p.width) for p in broken(written, room)]


def _room_beside(lines: list[list[tuple[str, int]]], chain: EquationChain, room: int) -> int:
    """How wide the column of reasons is, or 0 where they go below."""
    narrow = room - GAP - max(width for parts in lines for _, width in parts)
    longest = max(len(line.reason) for line in chain.lines)
    return min(narrow, 60) if longest <= narrow or narrow >= NARROWEST_REASON else 0


def _line_rows(left: str, line: Line, parts: list[str], beside: int, room: int) -> Iterator[Cells]:
    reasons = _split(line.reason, beside or room - GAP)
    error = "" if line.error is None else error_latex(line.error)
    mathematics = [f"= {parts[0]}", *(rf"\qquad {part}" for part in parts[1:])]
    above = [Cells(left if n == 0 else "", text) for n, text in enumerate(mathematics)]
    last = replace(above.pop(), error=error)
    yield from above
    if beside and reasons:
        yield replace(last, reason=_text(reasons[0]))
        yield from (Cells(reason=_text(reason)) for reason in reasons[1:])
        return
    yield last
    yield from (Cells(rhs=rf"\qquad {_text(reason)}") for reason in reasons)


def _split(reason: str, width: int) -> list[str]:
    return [
        row.replace("\u00a0", " ") for row in textwrap.wrap(reason.replace(" = ", "\u00a0=\u00a0"), width)
    ]


def _text(reason: str) -> str:
    return rf"\text{{{escape(reason)}}}"


def error_latex(error: float) -> str:
    r"""A relative error as LaTeX: \checkmark 2 \cdot 10^{-16}."""
    mantissa, e, exponent = error_text(error).partition("e")
    number = rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if e else mantissa
    return rf"\checkmark\ {number}"
