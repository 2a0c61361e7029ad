r"""A derivation as LaTeX: a fragment for any page, or a document that pdflatex compiles.

The fragment uses `\[ \begin{aligned} … \]` and nothing that KaTeX and MathJax lack; the document
needs amsmath, amssymb and geometry.
"""

from __future__ import annotations

from collections.abc import Iterator

from chalkgrad.derivation import Derived
from chalkgrad.render.aligned import aligned, rows
from chalkgrad.render.document import (
    Block,
    Code,
    Document,
    EquationChain,
    Heading,
    Inline,
    Lemma,
    Note,
    Paragraph,
    Verification,
    document,
)
from chalkgrad.render.math_latex import escape, math_latex
from chalkgrad.render.own_names import with_names_apart

PREAMBLE = r"""\documentclass[10pt,a4paper,fleqn]{article}
\usepackage[utf8]{inputenc}
\usepackage{amsmath,amssymb}
\usepackage[margin=22mm]{geometry}
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt}
\setlength{\mathindent}{1em}
\setlength{\jot}{6pt}
\allowdisplaybreaks
\begin{document}
"""


@with_names_apart
def to_latex(
    derived: Derived,
    *,
    document: bool = False,
    brief: bool = False,
    verification: Verification | None = None,
) -> str:
    r"""The derivation as LaTeX.

    Args:
        derived: What the engine found.
        document: A whole document, from \documentclass to \end{document}, instead of a fragment.
        brief: Only the milestones and the results.
        verification: Errors to show beside the lines.
    """
    content = _content(derived, verification=verification, brief=brief)
    return document_latex(content) if document else fragment_latex(content)


_content = document  # `to_latex` has an argument of the same name


def fragment_latex(content: Document) -> str:
    """The blocks alone, to be put into a page that has a title of its own."""
    return "\n\n".join(part for block in content.blocks for part in _fragment(block, content.loss))


def document_latex(content: Document) -> str:
    """A document that compiles by itself."""
    body = "\n\n".join(part for block in content.blocks for part in _page(block, content.loss))
    return f"{PREAMBLE}\\section*{{{escape(content.title)}}}\n\n{body}\n\\end{{document}}\n"


def _fragment(block: Block, loss: str) -> Iterator[str]:
    match block:
        case EquationChain():
            yield f"\\[\n{aligned(block, loss)}\n\\]"
        case Lemma(title, chain):
            yield rf"\textbf{{Lemma.}} {inline(title, loss)}".rstrip()
            if chain.lines:
                yield from _fragment(chain, loss)
        case _:
            yield from _words(block, loss)


def _page(block: Block, loss: str) -> Iterator[str]:
    match block:
        case EquationChain():
            # Unlike aligned, alignat can be broken between pages.
            body = " \\\\\n".join(row.latex for row in rows(block, loss))
            yield f"\\begin{{alignat*}}{{3}}\n{body}\n\\end{{alignat*}}"
        case Lemma(title, chain):
            yield rf"\textbf{{Lemma.}} {inline(title, loss)}".rstrip()
            if chain.lines:
                yield from _page(chain, loss)
        case _:
            yield from _words(block, loss)


def _words(block: Block, loss: str) -> Iterator[str]:
    match block:
        case Heading(text, 1):
            yield rf"\subsection*{{{escape(text)}}}"
        case Heading(text, 2):
            yield rf"\textbf{{{escape(text)}}}"
        case Heading(text, _):
            yield rf"\textit{{{escape(text)}}}"
        case Paragraph(parts) | Note(parts):
            yield inline(parts, loss)
        case Code(_, source, title):
            if title:
                yield rf"\textbf{{{escape(title)}}}"
            yield _code(source)


def inline(parts: tuple[Inline, ...], loss: str) -> str:
    """A sentence with formulas in it."""
    return "".join(escape(p) if isinstance(p, str) else f"${math_latex(p, loss)}$" for p in parts).strip()


def _code(source: str) -> str:
    # Not verbatim, which cannot hold the mathematical characters of the comments.
    lines = (rf"\texttt{{{escape(line.replace(' ', chr(0xA0)))}}}" for line in source.splitlines())
    return "{\\small\\raggedright\n" + "\\\\\n".join(lines) + "\n}"
