"""Written mathematics that knows how strongly it binds and where a line may end.

A `Piece` is a tuple of `Chunk`s, each with the penalty of breaking before it: sums are cheaper to
break than products, outer ones cheaper than inner ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

ADD, NEG, BIG, MUL, QUOTIENT, FUNCTION, FRACTION, POWER, ATOM = range(9)
"""Binding strengths, loosest first. BIG is an operator such as Σ whose body runs to the right;
FUNCTION is exp x without parentheses; FRACTION is a factor, but not the base of a power."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Text that stays on one line.

    Attributes:
        text: As the format spells it.
        width: How many characters wide it looks.
        penalty: How bad a line break before it is, 0 the best.
        glue: What stands before it when there is no break.
    """

    text: str
    width: int
    penalty: int = 0
    glue: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A written subexpression: its chunks, how strongly it binds, and whether it is tall."""

    chunks: tuple[Chunk, ...]
    strength: int = ATOM
    tall: bool = False

    @property
    def text(self) -> str:
        first, *rest = self.chunks
        return first.text + "".join(c.glue + c.text for c in rest)

    @property
    def width(self) -> int:
        return sum(c.width + len(c.glue) for c in self.chunks)


def piece(text: str, width: int | None = None, strength: int = ATOM, tall: bool = False) -> Piece:
    """A piece of one chunk."""
    return Piece((Chunk(text, len(text) if width is None else width),), strength, tall)


@dataclass(frozen=True, slots=True)
class Break:
    """A place between pieces where a line may end."""

    penalty: int
    glue: str = " "


def join(parts: Iterable[Piece | Break], strength: int, deeper: int = 0) -> Piece:
    """Pieces in a row; those inside parentheses are `deeper`, so that they break last."""
    chunks: list[Chunk] = []
    pending: Break | None = None
    tall = False
    for part in parts:
        if isinstance(part, Break):
            pending = part
            continue
        tall = tall or part.tall
        first, *rest = part.chunks
        if not chunks:
            chunks.append(first)
        elif pending is not None:
            chunks.append(replace(first, penalty=pending.penalty + deeper, glue=pending.glue))
        else:
            last = chunks[-1]
            chunks[-1] = replace(last, text=last.text + first.text, width=last.width + first.width)
        chunks += [replace(c, penalty=c.penalty + deeper) for c in rest]
        pending = None
    return Piece(tuple(chunks), strength, tall)


def broken(written: Piece, width: int) -> list[Piece]:
    """The piece over as many lines as it needs, broken where that reads best.

    A break before a term of the outermost sum is preferred to one inside a product or parentheses,
    as long as a third of the line is full. A chunk that is wider than a line stays whole.
    """
    lines: list[Piece] = []
    chunks = list(written.chunks)
    while chunks:
        total, fits = 0, 0
        for place, chunk in enumerate(chunks):
            total += chunk.width + (1 if place else 0)
            if place and total > width:
                break
            fits = place + 1
        if fits < len(chunks):
            fits = _best_break(chunks, fits, width)
        lines.append(Piece((replace(chunks[0], glue=""), *chunks[1:fits]), written.strength, written.tall))
        chunks = chunks[fits:]
    return lines


def _best_break(chunks: Sequence[Chunk], fits: int, width: int) -> int:
    """How many of the first `fits` chunks to keep on this line."""
    best, best_cost = fits, float("inf")
    filled = 0
    for count in range(1, fits + 1):
        filled += chunks[count - 1].width + 1
        slack = max(0.0, 0.3 - filled / width)
        cost = chunks[count].penalty + 8 * slack - count * 1e-3
        if cost < best_cost:
            best, best_cost = count, cost
    return best
