"""What the symbols of a page stand for: a table, a picture, and rules that tell a shape on hover."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from chalkgrad.derivation import Derived
from chalkgrad.expr.matrix import Named
from chalkgrad.expr.names import parse_name
from chalkgrad.expr.nodes import Access, Tensor
from chalkgrad.expr.ops import walk
from chalkgrad.render.graph import graph, shape_text
from chalkgrad.render.graph_svg import graph_svg
from chalkgrad.render.math_ml import math_ml

WIDEST = 1160
"""A picture wider than this many pixels, which a page would shrink too much, runs downwards instead."""

KINDS = {"input": "input", "parameter": "constant", "value": "computed", "adjoint": "gradient"}


@dataclass(slots=True)
class Symbols:
    """The arrays of a derivation, each with a class of its own for the style sheet.

    Attributes:
        marks: The class of each array.
        loss: The name of what is differentiated.
    """

    marks: dict[Tensor, str] = field(default_factory=dict)
    loss: str = "L"

    @staticmethod
    def of(derived: Derived, loss: str) -> Symbols:
        """Every array that occurs, in the order of the program; each one's gradient after it."""
        program = derived.program
        found = dict.fromkeys((*program.inputs, *(p for p, _ in program.parameters)))
        found |= dict.fromkeys(d.target for d in program.definitions)
        used = {n.tensor for s in derived.stages for n in walk(s.lhs) if isinstance(n, Access)}
        ordered = [t for value in found for t in (value, value.adjoint) if t.role != "adjoint" or t in used]
        ordered += [t for t in derived.upstream if t not in ordered]
        return Symbols({t: f"t{n}" for n, t in enumerate(ordered)}, loss)

    def style(self) -> str:
        """Rules that show an array's name and axes while one of its symbols has the pointer or focus."""
        return "".join(
            f'body:has(.{mark}:is(:hover,:focus))::after{{content:"{_css(self.told(t))}"}}\n'
            for t, mark in self.marks.items()
        )

    def told(self, tensor: Tensor) -> str:
        """One line about an array: x: N × D, input."""
        name = parse_name(tensor.name).text
        if tensor.role == "adjoint":
            name = f"∂{self.loss}/∂{name}"
        kind = KINDS[tensor.role] + (f", {tensor.dtype}" if tensor.dtype != "float" else "")
        return f"{name}: {shape_text(tensor)} ({kind})"

    def table(self) -> str:
        """Every array with its axes, for those who do not point at symbols."""
        rows = []
        for tensor, mark in self.marks.items():
            if tensor.role == "adjoint":
                continue
            letters = math_ml(Named(tensor), self.loss, marks={tensor: mark}, tab=False)
            kind = KINDS[tensor.role] + (f", {tensor.dtype}" if tensor.dtype != "float" else "")
            rows.append(f"<tr><td>{letters}</td><td>{escape(shape_text(tensor))}</td><td>{kind}</td></tr>")
        return (
            '<details class="symbols"><summary>Shapes of all symbols</summary>'
            "<p>A gradient ∂L/∂x has the shape of x. Point at a symbol, or move to it with the Tab key, "
            "to see its shape.</p>"
            '<table><thead><tr><th scope="col">Symbol</th><th scope="col">Axes</th>'
            f'<th scope="col">Is</th></tr></thead><tbody>{"".join(rows)}</tbody></table></details>'
        )


def graph_figure(derived: Derived, loss: str) -> str:
    """The picture of the graph: across where it fits a wide window, downwards on a narrow one."""
    program, wrt = derived.program, derived.wrt
    wide = graph(program, wrt, across=True).width <= WIDEST
    down = graph_svg(program, wrt, loss)
    pictures = f'<div class="picture down">{down}</div>'
    if wide:
        across = graph_svg(program, wrt, loss, across=True)
        pictures = f'<div class="picture across">{across}</div>' + pictures.replace("down", "down narrow", 1)
    return (
        f'<figure class="graph">{pictures}<figcaption>Solid arrows: the forward pass. '
        '<span class="backname">Dashed arrows: gradients flow back.</span></figcaption></figure>'
    )


def _css(text: str) -> str:
    r"""A string for a style sheet: quotes, backslashes and angle brackets as numbers."""
    return "".join(f"\\{ord(c):x} " if c in '"\\<>&\n' else c for c in text)
