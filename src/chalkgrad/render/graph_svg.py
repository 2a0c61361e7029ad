"""The computational graph as SVG: values in boxes, solid arrows forward, dashed ones for gradients.

Colours come from the page by `currentColor` and two classes, so that one picture serves light and
dark; alone in a file it brings a style of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import pairwise

from chalkgrad.expr.names import parse_name
from chalkgrad.expr.nodes import Program, Tensor
from chalkgrad.render.graph import PORT, Arrow, Box, Graph, graph, shape_text
from chalkgrad.render.own_names import with_names_apart

MARGIN = 14.0
APART = 5.0
"""How far a gradient's arrow runs beside the forward one."""

STYLE = (
    "svg{color:#1c2623;font:14px system-ui,sans-serif}.forward{stroke:currentColor}.back{stroke:#0b6b4f}"
    ".backname,.backhead{fill:#0b6b4f}"
    "@media(prefers-color-scheme:dark){svg{color:#e8eee9;background:#14201c}.back{stroke:#7fd6b4}"
    ".backname,.backhead{fill:#7fd6b4}}"
)


@with_names_apart
def graph_svg(
    program: Program, wrt: tuple[Tensor, ...], loss: str = "L", *, across: bool = False, alone: bool = False
) -> str:
    """The picture of a forward pass and of where its gradients flow.

    Args:
        program: The forward pass, one operation a line.
        wrt: The inputs whose gradient is wanted.
        loss: The name of what is differentiated.
        across: From left to right instead of downwards.
        alone: As a file of its own, with a style.
    """
    picture = graph(program, wrt, across=across)
    width, height = picture.width + 2 * MARGIN, picture.height + 2 * MARGIN
    parts = [*_arrows(picture, across), *(_box(b, picture, loss) for b in picture.boxes)]
    described = f"Computational graph of {program.name or 'the formula'}"
    attributes = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
    style = f"<style>{STYLE}</style>" if alone else ""
    return (
        f'<svg{attributes} viewBox="{_n(-MARGIN)} {_n(-MARGIN)} {_n(width)} {_n(height)}"'
        f' width="{_n(width)}" height="{_n(height)}" role="img" aria-label="{escape(described)}">'
        f"<title>{escape(described)}</title>{style}{''.join(parts)}</svg>"
    )


def _n(value: float) -> str:
    """A coordinate, to a tenth."""
    return f"{round(value, 1) + 0.0:g}"


def _box(box: Box, picture: Graph, loss: str) -> str:
    tensor = box.tensor
    assert tensor is not None
    left, top = box.x - box.width / 2, box.y - box.height / 2
    name = escape(parse_name(tensor.name).text)
    kind = "given" if tensor.role in ("input", "parameter") else "made"
    shape = shape_text(tensor) if tensor.dtype == "float" else f"{shape_text(tensor)}, {tensor.dtype}"
    gradient = ""
    if tensor in picture.active and not (tensor.name == loss and not tensor.axes):
        gradient = f'<tspan class="backname" dx="7" font-size="12">∂{escape(loss)}/∂{name}</tspan>'
    corner = 6 if kind == "made" else 18
    return (
        f'<g class="{kind}"><rect x="{_n(left)}" y="{_n(top)}" width="{_n(box.width)}"'
        f' height="{_n(box.height)}" rx="{corner}" fill="none" stroke="currentColor" stroke-opacity="0.55"/>'
        f'<text x="{_n(box.x)}" y="{_n(box.y - 3)}" text-anchor="middle" fill="currentColor">'
        f'<tspan font-weight="600">{name}</tspan>{gradient}</text>'
        f'<text x="{_n(box.x)}" y="{_n(box.y + 14)}" text-anchor="middle" fill="currentColor"'
        f' fill-opacity="0.75" font-size="11.5">{escape(shape)}</text></g>'
    )


def _arrows(picture: Graph, across: bool) -> Iterator[str]:
    for arrow in picture.arrows:
        if arrow.active:
            yield _line(arrow, -APART, across, "forward")
            yield _line(Arrow(arrow.boxes[::-1], True), -APART, across, "back")
        else:
            yield _line(arrow, 0.0, across, "forward")


def _line(arrow: Arrow, aside: float, across: bool, kind: str) -> str:
    """One arrow, set aside to its own right-hand side, with its head."""
    forward = kind == "forward"
    points = []
    for place, box in enumerate(arrow.boxes):
        along, beside = (box.x, box.y) if across else (box.y, box.x)
        half = 0.0
        if place in (0, len(arrow.boxes) - 1):
            half = (box.width if across else box.height) / 2
        outwards = (1 if forward else -1) * (1 if place == 0 else -1)
        shift = aside if forward else -aside
        points.append((along + outwards * half, beside + _port(arrow, place, across) + shift))
    path = _curve(points, across)
    (along, beside), sign = points[-1], 1 if forward else -1
    tip = ((along, beside), (along - 8 * sign, beside - 4), (along - 8 * sign, beside + 4))
    head = " ".join(f"{_n(a)},{_n(b)}" for a, b in (tip if across else [(b, a) for a, b in tip]))
    dash = "" if forward else ' stroke-dasharray="5 4"'
    fill = ' fill="currentColor"' if forward else ""
    return (
        f'<path class="{kind}" d="{path}" fill="none" stroke-width="1.4"{dash}/>'
        f'<polygon class="{kind}head" points="{head}"{fill}/>'
    )


def _port(arrow: Arrow, place: int, across: bool) -> float:
    """Where along a box's side the arrow is tied: arrows that share a side spread over it."""
    box = arrow.boxes[place]
    if box.tensor is None:
        return 0.0
    other = arrow.boxes[1] if place == 0 else arrow.boxes[-2]
    side = box.after if other in box.after else box.before
    ranked = sorted(side, key=lambda b: b.y if across else b.x)
    spread = min(PORT, ((box.height if across else box.width) - 2 * APART) / len(ranked))
    return (ranked.index(other) - (len(ranked) - 1) / 2) * spread


def _curve(points: list[tuple[float, float]], across: bool) -> str:
    """A smooth line through the points that leaves and arrives straight along the layers."""

    def at(along: float, beside: float) -> str:
        return f"{_n(along)},{_n(beside)}" if across else f"{_n(beside)},{_n(along)}"

    parts = [f"M{at(*points[0])}"]
    for (a, b), (c, d) in pairwise(points):
        middle = (a + c) / 2
        parts.append(f"C{at(middle, b)} {at(middle, d)} {at(c, d)}")
    return "".join(parts)
