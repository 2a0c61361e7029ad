"""The gallery as a folder of pages: each stands by itself, and an index leads to them.

    gallery/index.html      every layer by group: formula, gradients, picture
    gallery/batch_norm.html the derivation, step by step
    gallery/batch_norm.svg  the computational graph alone

The same layers give the same bytes, whenever and in whatever order they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from chalkgrad.derivation_type import code_blocks
from chalkgrad.layer_type import Layer
from chalkgrad.layers import GALLERY
from chalkgrad.layers.forwards import MODULES
from chalkgrad.render.blocks import Math
from chalkgrad.render.document import loss_name
from chalkgrad.render.graph import graph
from chalkgrad.render.graph_svg import graph_svg
from chalkgrad.render.html import THEME_BUTTON, page, prose, to_html
from chalkgrad.render.math_ml import math_ml
from chalkgrad.render.telling import backward_pass

MOST_LINES = 7
"""A card shows this many lines of a forward pass or of its gradients, and says that there are more."""

SMALL = 400
"""A picture up to this many pixels wide stands beside the formulas, a wider one below them."""

INTRODUCTION = (
    "Every layer here is a forward formula of a few lines; its backward pass was derived from it, line by "
    "line, and every line was verified by numbers. No gradient was written by hand."
)


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that belong together.

    Attributes:
        title: A few words.
        about: What they have in common.
        names: The layers in order.
    """

    title: str
    about: str
    names: tuple[str, ...]


def groups() -> tuple[Group, ...]:
    """The gallery's layers by the module that their formula stands in."""
    found = []
    for module in MODULES:
        own = {id(value) for value in vars(module).values()}
        names = tuple(name for name, layer in GALLERY.items() if id(layer.forward) in own)
        if names:
            title = module.__name__.rpartition(".")[2].replace("_", " ").capitalize()
            found.append(Group(title, first_sentence(module.__doc__ or ""), names))
    return tuple(found)


def write_site(
    directory: Path,
    write: Callable[[Path, str], None],
    sections: Sequence[Group] | None = None,
    told: Callable[[str], None] = lambda name: None,
) -> list[Path]:
    """The whole gallery, or the groups given.

    Args:
        directory: Where the pages go; it exists.
        write: Writes one file.
        sections: What to write; everything by default.
        told: Called with each layer's name before the work on it.

    Returns:
        The files written, the index last.
    """
    sections = groups() if sections is None else sections
    names = [name for group in sections for name in group.names]
    cards: dict[str, str] = {}
    written = []
    for place, name in enumerate(names):
        told(name)
        before = names[place - 1] if place else None
        after = names[place + 1] if place + 1 < len(names) else None
        layer = GALLERY[name]
        for suffix, text in (("html", layer_page(layer, before, after)), ("svg", _picture_file(layer))):
            written.append(directory / f"{name}.{suffix}")
            write(written[-1], text)
        cards[name] = _card(name, layer)
    written.append(directory / "index.html")
    write(written[-1], index_page(sections, cards))
    return written


def layer_page(layer: Layer, before: str | None = None, after: str | None = None) -> str:
    """One layer's derivation, verified, with its code."""
    derivation = layer.derive()
    links = [("index.html", "All layers")]
    links += [(f"{before}.html", f"← {_words(before)}")] if before else []
    links += [(f"{after}.html", f"{_words(after)} →")] if after else []
    return to_html(
        derivation.record,
        verification=derivation.verification,
        code=code_blocks(layer.program, layer.name),
        about=first_sentence(layer.forward.doc),
        links=links,
        source=source_of(layer.forward.doc),
    )


def index_page(sections: Iterable[Group], cards: dict[str, str]) -> str:
    """The index: a search box where scripts run, and every layer's card by group."""
    sections = list(sections)
    contents = "".join(f'<a href="#{_slug(g.title)}">{escape(g.title)}</a>' for g in sections)
    body = [
        f"<main>\n<header><h1>The gallery</h1>{THEME_BUTTON}</header>\n<p>{escape(INTRODUCTION)}</p>",
        '<p class="search" hidden=""><label>Search <input type="search" autocomplete="off" '
        'placeholder="norm, loss, softmax …"></label> <span class="found" role="status"></span></p>',
        f'<nav class="contents" aria-label="Groups">{contents}</nav>',
    ]
    for group in sections:
        body.append(f'<section id="{_slug(group.title)}"><h2>{escape(group.title)}</h2>')
        body.append(f"<p>{prose(group.about)}</p>")
        body += [cards[name] for name in group.names]
        body.append("</section>")
    return page(
        "The gallery", "\n".join([*body, "</main>"]), style=_asset("site.css"), script=_asset("site.js")
    )


def _card(name: str, layer: Layer) -> str:
    """A layer on the index: what it computes, its gradients, its picture."""
    record = layer.derive().record
    loss = loss_name(record)
    forward = [(d.access, d.body) for d in record.program.definitions]
    gradients: list[tuple[Math, Math]] = [(e.lhs, e.rhs) for e in backward_pass(record)]
    about = first_sentence(layer.forward.doc)
    picture = graph_svg(record.program, record.wrt, loss, across=True)
    address = escape(name) + ".html"
    small = " small" if graph(record.program, record.wrt, across=True).width <= SMALL else ""
    return (
        f'<article class="card{small}" id="{escape(name)}">'
        f'<h3><a href="{address}">{escape(_words(name))}</a></h3>'
        f'<p class="about">{prose(about)}</p><div class="sides">'
        f"<div><h4>Forward</h4>{_lines(forward, loss)}</div>"
        f"<div><h4>Gradients</h4>{_lines(gradients, loss)}</div></div>"
        f'<a class="picture" href="{address}" tabindex="-1" aria-hidden="true">{picture}</a></article>'
    )


def _lines(equations: Sequence[tuple[Math, Math]], loss: str) -> str:
    """Equations, a line each; a long forward pass ends in dots."""
    shown = [
        f'<div class="equation">{math_ml(lhs, loss)} {math_ml(rhs, loss, relation="=")}</div>'
        for lhs, rhs in equations[:MOST_LINES]
    ]
    if len(equations) > MOST_LINES:
        shown.append(f'<div class="equation more">and {len(equations) - MOST_LINES} more</div>')
    return "".join(shown)


def _picture_file(layer: Layer) -> str:
    record = layer.derive().record
    return graph_svg(record.program, record.wrt, loss_name(record), across=True, alone=True) + "\n"


def first_sentence(doc: str) -> str:
    """What a docstring says first, without its source.

    >>> first_sentence("o = p v. Source: https://example.org")
    'o = p v.'
    """
    paragraph = " ".join(doc.strip().partition("\n\n")[0].split())
    return re.split(r"\s*\bSource:", paragraph)[0].strip()


def source_of(doc: str) -> str:
    """The address that a docstring names as its source, or nothing."""
    found = re.search(r"Source:\s*(https?://\S+)", doc)
    return found[1].rstrip(".,;)") if found else ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def _asset(name: str) -> str:
    return files("chalkgrad.web").joinpath(name).read_text(encoding="utf-8")
