"""Which weights lie flipped, weight[h,d] for weight[d,h], as the cost of their gradients says.

A gradient's vectors run along the columns of the weight as it lies. That decides how much of the last
vector is padding, how many rows of the last tile are, and which factor must be turned: the delta, or,
flipped, the activations. Data need not be turned: their rows are gathered as they are beside the transposed
panels.
"""

from __future__ import annotations

from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.parts import Gradient, Operations
from chalkgrad.emit.kernels.products import best_rows
from chalkgrad.expr.nodes import Range, Tensor

UPDATE = 20
"""What a vector's update costs, in multiplications of one; Adam's root and quotient take most of it."""
TURN = 12
"""What turning one vector costs in the same unit."""
COPY = 2
"""What copying one costs, or adding up its lanes."""
WORTH = 0.95
"""A weight is flipped where that takes less than this part of the cost. Large ones come out even."""


def flipped(found: Operations, layout: Layout) -> frozenset[str]:
    """The names of the weights that are better stored by their second index first.

    Args:
        found: The operations of the step.
        layout: Its sizes and its target.
    """
    names = set()
    for op in found.all:
        if not isinstance(op, Gradient) or op.left is None or op.right is None:
            continue
        inner, outer = op.parameter.axes
        if op.left in found.data and (layout.sizes[inner] < layout.target.lanes or op.left.dtype != "float"):
            continue  # Rows shorter than a vector, and whole numbers, are gathered number by number.
        as_is = _cost(layout, inner, outer) + TURN * _vectors(layout, op.right)
        turned = COPY if op.left in found.data else TURN
        other = _cost(layout, outer, inner) + turned * _vectors(layout, op.left)
        other += COPY * _vectors(layout, op.right)  # for the bias, which else is added up beside the weight
        if other < WORTH * as_is:
            names.add(op.parameter.name)
    return frozenset(names)


def _cost(layout: Layout, rows: Range, columns: Range) -> int:
    """Multiplications of a vector that a gradient and its update take, padding included."""
    target, count = layout.target, layout.sizes[rows]
    panels = layout.panels(columns)
    height = best_rows(count, layout.padded(rows), target.vectors, target)
    return (
        -(-count // height) * height * (panels.padded // target.lanes) * (layout.sizes[layout.batch] + UPDATE)
    )


def _vectors(layout: Layout, value: Tensor) -> int:
    """Vectors of a value with a row per observation."""
    return layout.capacity * layout.panels(value.axes[1]).padded // layout.target.lanes
