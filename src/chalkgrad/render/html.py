"""A derivation as one self-contained web page: MathML, no network, light and dark, printable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from chalkgrad.derivation import Derived
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
from chalkgrad.render.math_ml import math_ml

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""The page loads nothing and sends nothing."""


def to_html(
    derived: Derived,
    *,
    brief: bool = False,
    verification: Verification | None = None,
    code: Sequence[Code] = (),
) -> str:
    """The derivation as a page that stands by itself.

    Args:
        derived: What the engine found.
        brief: Only the milestones and the results.
        verification: Errors to show beside the lines.
        code: Emitted source, shown with copy buttons.
    """
    return document_html(document(derived, verification=verification, brief=brief, code=code))


def document_html(content: Document) -> str:
    """A document as a page; see `to_html`."""
    body = "\n".join(part for block in content.blocks for part in _block(block, content))
    has_code = any(isinstance(block, Code) for block in content.blocks)
    script = f"<script>\n{_asset('page.js')}</script>\n" if has_code else ""
    title = escape(content.title)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{title}</title>\n<style>\n{_asset('page.css')}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{title}</h1>\n{body}\n</main>\n{script}</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    return files("chalkgrad.render").joinpath(name).read_text(encoding="utf-8")


def _block(block: Block, content: Document) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f"<h{level + 1}>{escape(text)}</h{level + 1}>"
        case Paragraph(parts):
            yield f"<p>{_inline(parts, content.loss)}</p>"
        case Note(parts):
            yield f'<p class="note">{_inline(parts, content.loss)}</p>'
        case EquationChain():
            yield _chain(block, content)
        case Lemma(title, chain):
            yield f'<div class="lemma"><p><strong>Lemma.</strong> {escape(title)}</p>'
            yield _chain(chain, content) + "</div>"
        case Code(_, source, title):
            yield '<figure class="code"><figcaption>' + escape(title or "Code")
            yield '<button type="button" class="copy" aria-live="polite">Copy</button></figcaption>'
            yield f'<pre tabindex="0"><code>{escape(source.rstrip())}</code></pre></figure>'


def _inline(parts: tuple[Inline, ...], loss: str) -> str:
    return "".join(
        escape(p) if isinstance(p, str) else math_ml(p, loss, display=False) for p in parts
    ).strip()


def _chain(chain: EquationChain, content: Document) -> str:
    lhs = math_ml(chain.lhs, content.loss)
    if not chain.lines:
        return f'<div class="chain"><div class="lhs">{lhs}</div></div>'
    rows = [_line(lhs if place == 0 else "", line, content) for place, line in enumerate(chain.lines)]
    return '<div class="chain">\n' + "\n".join(rows) + "\n</div>"


def _line(lhs: str, line: Line, content: Document) -> str:
    rhs = math_ml(line.value, content.loss, relation="=")
    error = ""
    if line.error is not None:
        shown = error_text(line.error)
        error = f'<span title="relative error {shown}">✓ {shown}</span>'
    return (
        f'<div class="line"><div class="lhs">{lhs}</div><div class="rhs">{rhs}</div>'
        f'<div class="reason">{escape(line.reason)}</div>'
        f'<div class="error">{error}</div></div>'
    )
