"""A derivation for a terminal: equal signs aligned, reasons on the right, errors at the far right."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace

from chalkgrad.derivation import Derived
from chalkgrad.render.ascii_text import spell
from chalkgrad.render.document import (
    Block,
    Code,
    Document,
    EquationChain,
    Heading,
    Inline,
    Lemma,
    Line,
    Math,
    Note,
    Paragraph,
    Verification,
    document,
    error_text,
)
from chalkgrad.render.math_text import display_width, math_piece, wrap
from chalkgrad.render.own_names import with_names_apart
from chalkgrad.render.pieces import Piece

INDENT = 2
GAP = 3
CONTINUED = 4
LONGEST_LHS = 26
NARROWEST_LINE = 24
NARROWEST = 40
NARROWEST_REASON = 18
ERROR_COLUMN = 9
HARD_EQUALS = "\u00a0=\u00a0"


@dataclass(frozen=True, slots=True)
class Span:
    """Text in one style: "", "title", "heading", "math", "reason", "good" or "dim"."""

    text: str
    style: str = ""


Row = tuple[Span, ...]

STYLES = {
    "title": "bold underline", "heading": "bold cyan", "subheading": "bold", "step": "underline", "math": "",
    "reason": "dim italic", "good": "green", "dim": "dim", "lemma": "bold magenta",
}  # fmt: skip


@with_names_apart
def to_text(
    derived: Derived,
    *,
    width: int = 80,
    brief: bool = False,
    color: bool = False,
    verification: Verification | None = None,
    ascii_only: bool = False,
) -> str:
    """The derivation as text.

    Args:
        derived: What the engine found.
        width: How many columns a line may take; below 40 it is taken as 40.
        brief: Only the milestones and the results.
        color: With terminal colours (needs rich).
        verification: Errors to show beside the lines.
        ascii_only: Spell out what is not ASCII, for a terminal that cannot show it.

    Returns:
        Lines joined by newlines, without one at the end.
    """
    content = document(derived, verification=verification, brief=brief)
    return document_text(replace(content, ascii=ascii_only), width=width, color=color)


def document_text(content: Document, *, width: int = 80, color: bool = False) -> str:
    """A document as text; see `to_text`."""
    width = max(width, NARROWEST)
    rows: list[Row] = [(Span(_said(content.title, content), "title"),)]
    for before, block in zip((None, *content.blocks), content.blocks, strict=False):
        if isinstance(block, EquationChain) and isinstance(before, EquationChain) and len(before.lines) > 1:
            rows.append(())
        rows += _block(block, content, width)
    if content.ascii:
        # What is drawn rather than written: rules, arrows, ticks.
        rows = [tuple(Span(spell(span.text), span.style) for span in row) for row in rows]
    if color:
        return "\n".join(_coloured(row) for row in rows)
    return "\n".join("".join(span.text for span in row).rstrip() for row in rows)


def _coloured(row: Row) -> str:
    # Loaded here so that plain text, and the package's import, need NumPy alone.
    from rich.color import ColorSystem
    from rich.style import Style

    return "".join(
        Style.parse(STYLES[s.style]).render(s.text, color_system=ColorSystem.STANDARD)
        if STYLES.get(s.style)
        else s.text
        for s in row
    ).rstrip()


def _said(text: str, content: Document) -> str:
    return spell(text) if content.ascii else text


def _math(e: Math, content: Document) -> Piece:
    """The expression, spelled before it is laid out where it has to be."""
    written = math_piece(e, content.loss)
    if not content.ascii:
        return written
    chunks = []
    for chunk in written.chunks:
        text = spell(chunk.text)
        chunks.append(replace(chunk, text=text, width=len(text), glue=spell(chunk.glue)))
    return replace(written, chunks=tuple(chunks))


def _block(block: Block, content: Document, width: int) -> Iterator[Row]:
    match block:
        case Heading(text, 1):
            yield ()
            yield (Span(f"── {text} " + "─" * max(0, width - display_width(text) - 4), "heading"),)
        case Heading(text, level):
            yield ()
            style = "subheading" if level == 2 else "step"
            yield from ((Span(line, style),) for line in textwrap.wrap(_said(text, content), width))
        case Paragraph(parts):
            yield from _prose(parts, content, width, "")
        case Note(parts):
            yield from _prose(parts, content, width, "  ")
        case EquationChain():
            yield from _chain(block, content, width)
        case Lemma(title, chain):
            yield ()
            rows = list(_prose(("Lemma. ", *title), content, width, ""))
            yield (Span("Lemma. ", "lemma"), Span(rows[0][0].text[7:]))
            yield from rows[1:]
            if chain.lines:
                yield from _chain(chain, content, width)
        case Code(_, source, title):
            if title:
                yield ()
                yield (Span(title, "subheading"),)
            yield from ((Span("    " + line),) for line in source.splitlines())


def _prose(parts: tuple[Inline, ...], content: Document, width: int, indent: str) -> Iterator[Row]:
    # A formula must not be broken at its spaces: they become hard ones until the text is wrapped.
    text = "".join(
        _said(p, content) if isinstance(p, str) else _math(p, content).text.replace(" ", "\u00a0")
        for p in parts
    ).strip()
    for line in textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent):
        yield (Span(line.replace("\u00a0", " ")),)


@dataclass(frozen=True, slots=True)
class _Set:
    """A line of a chain, typeset: its rows of mathematics and what goes beside the first."""

    rows: tuple[str, ...]
    reason: str
    error: str

    @property
    def width(self) -> int:
        """The width of the last row, which the reason stands beside."""
        return display_width(self.rows[-1])


def _chain(chain: EquationChain, content: Document, width: int) -> Iterator[Row]:
    lhs = _math(chain.lhs, content).text
    if not chain.lines:
        yield (Span(" " * INDENT + lhs, "math"),)
        return
    left = display_width(lhs)
    error_column = ERROR_COLUMN if content.verified else 0
    if left > LONGEST_LHS or width - INDENT - left - 3 - error_column < NARROWEST_LINE:
        for row in wrap(_math(chain.lhs, content), width - INDENT):
            yield (Span(" " * INDENT + row, "math"),)
        lhs, left = "", 2
    start = INDENT + left + 3
    room = width - start - error_column
    typeset = [_typeset(line, content, room) for line in chain.lines]
    beside = _reason_column(typeset, room)
    for place, line in enumerate(typeset):
        shown = lhs if place == 0 else ""
        head = " " * INDENT + shown + " " * (left - display_width(shown))
        yield from _set_rows(line, head, start, beside, width)


def _typeset(line: Line, content: Document, room: int) -> _Set:
    written = _math(line.value, content)
    first, *rest = wrap(written, room)
    if rest:
        first, *rest = wrap(written, room - CONTINUED)
    error = "" if line.error is None else f"✓ {error_text(line.error)}"
    return _Set((first, *(" " * CONTINUED + row for row in rest)), _said(line.reason, content), error)


def _reason_column(lines: list[_Set], room: int) -> int | None:
    """Where reasons start, from the left of the right-hand sides; None sets them on rows below.

    All reasons of a chain go the same way: beside the lines when each takes three rows at most.
    """
    column = max(line.width for line in lines) + GAP
    longest = max(display_width(line.reason) for line in lines)
    narrow = room - column
    if longest <= narrow:
        return column
    if narrow >= NARROWEST_REASON and all(len(_split(line.reason, narrow)) <= 3 for line in lines):
        return column
    return None


def _split(reason: str, width: int) -> list[str]:
    """The reason over several rows; an equation in it stays together where it can."""
    rows = textwrap.wrap(reason.replace(" = ", HARD_EQUALS), width) or [""]
    return [row.replace("\u00a0", " ") for row in rows]


def _set_rows(line: _Set, head: str, start: int, beside: int | None, width: int) -> Iterator[Row]:
    """The rows of one line: mathematics, its error at the right edge, its reason."""
    blank = " " * start
    *above, last = line.rows
    lead = head + " = "
    for row in above:
        yield (Span(lead), Span(row, "math"))
        lead = blank
    spans = [Span(lead), Span(last, "math")]
    used = start + line.width
    reasons: list[str] = []
    if beside is not None and line.reason:
        right = width - start - beside - (ERROR_COLUMN if line.error else 0)
        first, *reasons = _split(line.reason, right)
        spans += [Span(" " * (beside - line.width)), Span(first, "reason")]
        used = start + beside + display_width(first)
    if line.error and width - used < ERROR_COLUMN - 1:
        yield tuple(spans)
        spans, used = [], 0
    if line.error:
        spans += [Span(" " * max(1, width - used - ERROR_COLUMN + 2)), Span(line.error, "good")]
    yield tuple(spans)
    for row in reasons:
        yield (Span(" " * (start + (beside or 0))), Span(row, "reason"))
    if beside is None and line.reason:
        for number, row in enumerate(_split(line.reason, width - start - CONTINUED)):
            yield (Span(blank + ("  ↳ " if number == 0 else "    ")), Span(row, "reason"))
