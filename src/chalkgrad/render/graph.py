"""A layer's computational graph on paper: which value stands where, and how the arrows run.

A small layered layout (Sugiyama's method): values go to layers by their longest path from an input,
long arrows get a bend in every layer they cross, each layer is sorted by the middle of its
neighbours, and boxes are pulled towards them. Everything is decided by the order of the program,
so the same layer gives the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from chalkgrad.diff.reverse import active_values
from chalkgrad.expr.nodes import Definition, Program, Tensor
from chalkgrad.expr.ops import tensors_in

SWEEPS = 8
BOX = 92.0
"""The least width of a box."""

HEIGHT = 46.0
CHARACTER = 7.6
GAP = 26.0
PORT = 24.0
"""The room that the head of an arrow takes on the side of a box."""

BEND = 18.0
"""The room that an arrow takes where it passes between boxes."""

LEVEL = 46.0
"""The room between layers."""


@dataclass(eq=False, slots=True)
class Box:
    """A value (or a bend of an arrow, without a tensor) and the middle of its place."""

    tensor: Tensor | None
    layer: int
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0
    before: list[Box] = field(default_factory=list)
    after: list[Box] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a value to one that is computed from it, by way of bends.

    Attributes:
        boxes: Start, bends, end.
        active: Whether a gradient flows back along it.
    """

    boxes: tuple[Box, ...]
    active: bool


@dataclass(frozen=True, slots=True)
class Graph:
    """The picture: boxes and arrows with their places; the origin is the upper left corner."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    width: float
    height: float
    layers: int
    active: frozenset[Tensor]


def graph(program: Program, wrt: tuple[Tensor, ...], *, across: bool = False) -> Graph:
    """The computational graph, laid out.

    Args:
        program: The forward pass, one operation a line.
        wrt: The inputs whose gradient is wanted: where gradients flow.
        across: From left to right instead of downwards.
    """
    active = frozenset(active_values(program, wrt))
    boxes = _boxes(program)
    arrows = [
        _arrow(boxes[source], boxes[d.target], source in active and d.target in active)
        for d in program.definitions
        for source in _sources(d, boxes)
    ]
    for box in boxes.values():
        # Room for every arrow head on a side.
        most = max(len(box.before), len(box.after)) * PORT
        box.width, box.height = max(box.width, most), max(box.height, most if across else 0.0)
    layers = _layers(list(boxes.values()), arrows)
    _order(layers)
    _place(layers, across)
    flat = [box for layer in layers for box in layer]
    width = max((b.x + b.width / 2 for b in flat), default=0.0)
    height = max((b.y + b.height / 2 for b in flat), default=0.0)
    real = tuple(b for b in flat if b.tensor is not None)
    return Graph(real, tuple(arrows), width, height, len(layers), active)


def shape_text(tensor: Tensor) -> str:
    """The axes as people write them: N × D, or "scalar"."""
    return " × ".join(axis.name for axis in tensor.axes) or "scalar"


def _boxes(program: Program) -> dict[Tensor, Box]:
    """Every value that is read or computed, with its layer."""
    read = {t for d in program.definitions for t in tensors_in(d.body)}
    made = {d.target for d in program.definitions}
    layer: dict[Tensor, int] = {}
    inputs = (*program.inputs, *(p for p, _ in program.parameters))
    for tensor in (t for t in inputs if t in read or t in made):
        layer[tensor] = 0
    for d in program.definitions:
        layer[d.target] = 1 + max(
            (layer.get(t, 0) for t in tensors_in(d.body) if t is not d.target), default=-1
        )
    first = {
        t: min((layer[d.target] for d in program.definitions if t in tensors_in(d.body)), default=1)
        for t in layer
    }
    boxes = {}
    for tensor, place in layer.items():
        # An input stands just before its first use, not far up where its arrow would be long.
        put = place if tensor in made else first[tensor] - 1
        written = max(2 * len(tensor.name) + 7, len(shape_text(tensor)) + 3) * CHARACTER
        boxes[tensor] = Box(tensor, put, max(BOX, written), HEIGHT)
    return boxes


def _sources(d: Definition, boxes: dict[Tensor, Box]) -> list[Tensor]:
    read = tensors_in(d.body)
    return [t for t in boxes if t in read and t is not d.target]


def _arrow(start: Box, end: Box, active: bool) -> Arrow:
    """The arrow with its bends, linked into the neighbours of each."""
    bends = [Box(None, layer, BEND, BEND) for layer in range(start.layer + 1, end.layer)]
    boxes = (start, *bends, end)
    for one, other in pairwise(boxes):
        one.after.append(other)
        other.before.append(one)
    return Arrow(boxes, active)


def _layers(boxes: list[Box], arrows: list[Arrow]) -> list[list[Box]]:
    found = dict.fromkeys([*boxes, *(b for a in arrows for b in a.boxes)])
    layers: list[list[Box]] = [[] for _ in range(1 + max((b.layer for b in found), default=-1))]
    for box in found:
        layers[box.layer].append(box)
    return layers


def _order(layers: list[list[Box]]) -> None:
    """Sort each layer by the middle of its neighbours in the layer before, then after, in turn.

    The order with the fewest crossings seen is kept.
    """
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            place = {b: float(n) for other in layers for n, b in enumerate(other)}
            middle = {
                b: _middle([place[n] for n in (b.before if down else b.after)], place[b]) for b in layer
            }
            layer.sort(key=middle.__getitem__)
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, kept in zip(layers, best, strict=True):
        layer[:] = kept


def _middle(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(layers: list[list[Box]]) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        place = {b: n for n, b in enumerate(lower)}
        ends = [place[e] for b in upper for e in sorted(b.after, key=place.__getitem__)]
        starts = [n for n, b in enumerate(upper) for _ in b.after]
        for n, (start, end) in enumerate(zip(starts, ends, strict=True)):
            for other, other_end in zip(starts[:n], ends[:n], strict=True):
                count += other < start and other_end > end
    return count


def _place(layers: list[list[Box]], across: bool) -> None:
    """Boxes side by side, then pulled towards the middle of their neighbours, as far as there is room."""
    breadth = {b: (b.height if across else b.width) for layer in layers for b in layer}
    at: dict[Box, float] = {}
    for layer in layers:
        edge = 0.0
        for box in layer:
            at[box] = edge + breadth[box] / 2
            edge += breadth[box] + GAP
    for sweep in range(2 * SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            want = [_middle([at[n] for n in (*b.before, *b.after)], at[b]) for b in layer]
            at |= zip(layer, _apart(want, [breadth[b] for b in layer]), strict=True)
    least = min((at[b] - breadth[b] / 2 for b in at), default=0.0)
    depth = 0.0
    for layer in layers:
        size = max((b.width if across else b.height) for b in layer)
        for box in layer:
            along, beside = depth + size / 2, at[box] - least
            box.x, box.y = (along, beside) if across else (beside, along)
        depth += size + LEVEL


def _apart(want: list[float], breadth: list[float]) -> list[float]:
    """Places as near to the wanted ones as boxes in this order can be: blocks that touch move as one."""
    blocks: list[tuple[float, int]] = []  # the sum of the wanted starts, and how many boxes
    offsets = [0.0]
    for left, right in pairwise(breadth):
        offsets.append(offsets[-1] + left / 2 + GAP + right / 2)
    for place, offset in zip(want, offsets, strict=True):
        blocks.append((place - offset, 1))
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1] = (blocks[-1][0] + total, blocks[-1][1] + count)
    starts = [total / count for total, count in blocks for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]
