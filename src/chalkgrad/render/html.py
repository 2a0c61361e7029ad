"""A derivation as one self-contained web page: MathML, no network, light and dark, printable.

Nothing on the page needs a script to be read: symbols tell their shape through style rules alone.
The script adds what only a script can: copying code, a switch for light and dark, and the shape
beside the symbol instead of at the foot of the window.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files

from chalkgrad.derivation import Derived
from chalkgrad.render.blocks import (
    Block,
    Code,
    Document,
    EquationChain,
    Heading,
    Lemma,
    Line,
    Math,
    Note,
    Paragraph,
    Verification,
    error_text,
)
from chalkgrad.render.document import document
from chalkgrad.render.html_code import code_figure
from chalkgrad.render.html_symbols import Symbols, graph_figure
from chalkgrad.render.math_ml import math_ml
from chalkgrad.render.math_text import math_piece
from chalkgrad.render.own_names import with_names_apart
from chalkgrad.render.wording import Inline

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page loads nothing and sends nothing."""

TABBED = ("Forward pass", "Result")
"""The sections whose symbols the Tab key stops at; elsewhere there would be hundreds of stops."""

LONG_LHS = 13
"""A left-hand side wider than this many characters stands on a line of its own on a phone."""

THEME_BUTTON = '<button type="button" class="theme" hidden="">Dark</button>'
BRACED = re.compile(r"(?<![\w∂/])([^\W\d_]\d?)_\{([^{}<>]*)\}")
SUBSCRIPTED = re.compile(r"(?<![\w∂/])([^\W\d_](?:[\u0300-\u036f])?\d?|out|Σ)_((?:[a-z]′*){1,4})(?![\w\[])")


@with_names_apart
def to_html(
    derived: Derived,
    *,
    brief: bool = False,
    verification: Verification | None = None,
    code: Sequence[Code] = (),
    about: str = "",
    links: Sequence[tuple[str, str]] = (),
    source: str = "",
) -> str:
    """The derivation as a page that stands by itself.

    Args:
        derived: What the engine found.
        brief: Only the milestones and the results.
        verification: Errors to show beside the lines.
        code: Emitted source, shown with copy buttons.
        about: A sentence on the layer, under the title.
        links: (address, words) of neighbouring pages.
        source: The address of the text that the formula comes from.
    """
    content = document(derived, verification=verification, brief=brief, code=code)
    symbols = Symbols.of(derived, content.loss)
    extra = {"Forward pass": symbols.table() + graph_figure(derived, content.loss)}
    told = prose(about)
    if source:
        told += f' <a class="source" href="{escape(source)}" rel="noreferrer">Source</a>'
    return document_html(content, symbols=symbols, extra=extra, about=told, links=links)


def document_html(
    content: Document,
    *,
    symbols: Symbols | None = None,
    extra: dict[str, str] | None = None,
    about: str = "",
    links: Sequence[tuple[str, str]] = (),
) -> str:
    """A document as a page; see `to_html`.

    Args:
        symbols: What is known about the arrays, for their shapes.
        extra: HTML to append to a section, by its title.
        about: HTML under the title.
    """
    symbols = symbols or Symbols()
    body = _Body(content, symbols, extra or {}).sections()
    around = "".join(f'<a href="{escape(to)}">{escape(words)}</a>' for to, words in links)
    head = f'<nav class="site">{around}</nav>' if links else ""
    about = f'<p class="about">{about}</p>' if about else ""
    main = (
        f"<main>\n{head}<header><h1>{escape(content.title)}</h1>{THEME_BUTTON}</header>\n{about}{body}</main>"
    )
    return page(content.title, main, style=symbols.style())


def page(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """A whole document around a body: style and script inside, nothing from elsewhere."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{asset('page.css')}{style}</style>\n</head>\n<body>\n"
        f"{body}\n<script>\n{asset('page.js')}{script}</script>\n</body>\n</html>\n"
    )


@cache
def asset(name: str) -> str:
    """A style sheet or script of this folder."""
    return files("chalkgrad.render").joinpath(name).read_text(encoding="utf-8")


@dataclass(slots=True)
class _Body:
    """The blocks as sections: parts, findings within them, and the steps to a finding."""

    content: Document
    symbols: Symbols
    extra: dict[str, str]
    section: str = ""
    open_levels: list[int] = field(default_factory=list)

    def sections(self) -> str:
        blocks = list(self.content.blocks)
        if any(isinstance(block, Code) for block in blocks):
            first = next(n for n, block in enumerate(blocks) if isinstance(block, Code))
            blocks.insert(first, Heading("Code"))
        titles = [b.text for b in blocks if isinstance(b, Heading) and b.level == 1]
        contents = "".join(f'<a href="#{_slug(t)}">{escape(t)}</a>' for t in titles)
        introduction = [
            b for n, b in enumerate(blocks) if not any(isinstance(c, Heading) for c in blocks[: n + 1])
        ]
        parts = [part for block in introduction for part in self._block(block)]
        parts.append(f'<nav class="contents" aria-label="Contents">{contents}</nav>')
        for block in blocks[len(introduction) :]:
            parts += self._block(block)
        return "\n".join([*parts, *self._close(1)]) + "\n"

    def _block(self, block: Block) -> Iterator[str]:
        match block:
            case Heading(text, level):
                yield from self._close(level)
                yield from self._open(text, level)
            case Paragraph(parts):
                yield f"<p>{self._inline(parts)}</p>"
            case Note(parts):
                yield f'<p class="note">{self._inline(parts)}</p>'
            case EquationChain():
                yield self._chain(block)
            case Lemma(title, chain):
                proof = self._chain(chain) if chain.lines else ""
                yield f'<div class="lemma"><p><strong>Lemma.</strong> {self._inline(title)}</p>{proof}</div>'
            case Code():
                # The first one open: it is what most come for.
                first = next(b for b in self.content.blocks if isinstance(b, Code))
                yield code_figure(block, opened=block is first)

    def _open(self, text: str, level: int) -> Iterator[str]:
        self.open_levels.append(level)
        if level == 1:
            self.section = text
            yield f'<section id="{_slug(text)}"><h2>{escape(text)}</h2>'
        else:
            kind = "finding" if level == 2 else "step"
            yield f'<div class="{kind}"><h{level + 1}>{prose(text)}</h{level + 1}>'

    def _close(self, level: int) -> Iterator[str]:
        while self.open_levels and self.open_levels[-1] >= level:
            if self.open_levels.pop() == 1:
                yield self.extra.get(self.section, "") + "</section>"
            else:
                yield "</div>"

    def _math(self, e: Math, relation: str = "") -> str:
        return math_ml(
            e, self.content.loss, relation=relation, marks=self.symbols.marks, tab=self.section in TABBED
        )

    def _inline(self, parts: tuple[Inline, ...]) -> str:
        marks = self.symbols.marks
        written = (
            prose(p) if isinstance(p, str) else math_ml(p, self.content.loss, display=False, marks=marks)
            for p in parts
        )
        return "".join(written).strip()

    def _chain(self, chain: EquationChain) -> str:
        lhs = self._math(chain.lhs)
        kind = "chain long" if math_piece(chain.lhs, self.content.loss).width > LONG_LHS else "chain"
        if not chain.lines:
            return f'<div class="{kind}"><div class="lhs">{lhs}</div></div>'
        rows = [self._line(lhs if place == 0 else "", line) for place, line in enumerate(chain.lines)]
        return f'<div class="{kind}">\n' + "\n".join(rows) + "\n</div>"

    def _line(self, lhs: str, line: Line) -> str:
        error = ""
        if line.error is not None:
            shown = error_text(line.error)
            error = f'<span title="Verified by numbers: relative error {shown}">✓ {shown}</span>'
        reason = self._inline(line.parts or (line.reason,)) if line.reason else ""
        return (
            f'<div class="line"><div class="lhs">{lhs}</div>'
            f'<div class="rhs">{self._math(line.value, "=")}</div>'
            f'<div class="reason">{reason}</div><div class="error">{error}</div></div>'
        )


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def prose(text: str) -> str:
    """Text with index notation such as p_ik set with subscripts."""
    text = BRACED.sub(r"<i>\1</i><sub>\2</sub>", escape(text))
    return SUBSCRIPTED.sub(r"<i>\1</i><sub>\2</sub>", text)
