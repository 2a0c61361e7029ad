"""A derivation as Markdown with `$$` blocks, as GitHub, Jupyter and VS Code show them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chalkgrad.derivation import Derived
from chalkgrad.render.aligned import aligned
from chalkgrad.render.document import (
    Block,
    Code,
    Document,
    EquationChain,
    Heading,
    Inline,
    Lemma,
    Line,
    Note,
    Paragraph,
    Verification,
    document,
    error_text,
)
from chalkgrad.render.math_latex import math_latex
from chalkgrad.render.own_names import with_names_apart

SPECIAL = re.compile(r"([\\`*_\[\]<>$|#~])")
"""Characters that Markdown, its tables or its mathematics would read as markup."""


@with_names_apart
def to_markdown(
    derived: Derived,
    *,
    brief: bool = False,
    verification: Verification | None = None,
    table: bool = False,
    code: Sequence[Code] = (),
) -> str:
    """The derivation as GitHub-flavoured Markdown.

    Args:
        derived: What the engine found.
        brief: Only the milestones and the results.
        verification: Errors to show beside the lines.
        table: Each chain as a table of line, reason and error instead of aligned equations.
        code: Emitted source to append.
    """
    content = document(derived, verification=verification, brief=brief, code=code)
    return document_markdown(content, table=table)


def document_markdown(content: Document, *, table: bool = False) -> str:
    """A document as Markdown; see `to_markdown`."""
    parts = [f"# {escape(content.title)}"]
    for block in content.blocks:
        parts += _block(block, content, table)
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """A sentence with everything that Markdown would read as markup escaped."""
    return SPECIAL.sub(r"\\\1", text)


def _block(block: Block, content: Document, table: bool) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"{'#' * (level + 1)} {escape(text)}"
        case Paragraph(parts):
            yield _inline(parts, content.loss)
        case Note(parts):
            yield f"> {_inline(parts, content.loss)}"
        case EquationChain() if table and block.lines:
            yield _table(block, content)
        case EquationChain():
            yield f"$$\n{aligned(block, content.loss)}\n$$"
        case Lemma(title, chain):
            yield f"**Lemma.** {_inline(title, content.loss)}".rstrip()
            if chain.lines:
                yield from _block(chain, content, table)
        case Code(language, source, title):
            if title:
                yield f"## {escape(title)}"
            yield _fenced(language, source)


def _inline(parts: tuple[Inline, ...], loss: str) -> str:
    return "".join(escape(p) if isinstance(p, str) else f"${math_latex(p, loss)}$" for p in parts).strip()


def _table(chain: EquationChain, content: Document) -> str:
    head = ["", "reason", *(["error"] if content.verified else [])]
    lines = [_row(head), _row(["---"] * len(head))]
    for place, line in enumerate(chain.lines):
        lhs = math_latex(chain.lhs, content.loss) if place == 0 else ""
        lines.append(_row(_cells(lhs, line, content)))
    return "\n".join(lines)


def _cells(lhs: str, line: Line, content: Document) -> list[str]:
    # A bar would end the cell, and mathematics has no other way to keep it.
    formula = f"${lhs} = {math_latex(line.value, content.loss)}$".replace("|", r"\vert ")
    cells = [formula, escape(line.reason)]
    if content.verified:
        cells.append("" if line.error is None else error_text(line.error))
    return cells


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _fenced(language: str, source: str) -> str:
    """A code block, with a fence longer than any in the source."""
    longest = max((len(run) for run in re.findall("`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{source.rstrip()}\n{fence}"
