"""Gradient tiles with the update in their epilogue: the gradient of a weight never touches memory.

dW[d,h] = Σ_i left[i,d] · right[i,h], then w, m, v ← rule(w, dW, m, v), in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.expressions import Slots, Vectors
from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.parts import Gradient
from chalkgrad.emit.kernels.passes import number_pointer
from chalkgrad.emit.kernels.products import best_rows, block_depth
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.tile import FIRST, LAST, Shape, write_tile
from chalkgrad.emit.kernels.writer import I64, Writer
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Access, Definition, Expr, Program, Tensor
from chalkgrad.expr.ops import replace_access

MOST_SLOTS = 256
"""Scalars of a step."""
NEAR_TILES = 8
"""Tiles of a gradient whose partial sums are kept while blocks of observations pass by."""


def scratch(target: Target) -> int:
    """Numbers that every thread needs for itself: its slots and its partial sums."""
    return MOST_SLOTS + NEAR_TILES * 2 * target.most * target.panel


@dataclass(frozen=True, slots=True)
class Update:
    """The optimiser: its program and the names of its memories."""

    program: Program
    memories: tuple[str, ...]


def _update_lines(w: Writer, layout: Layout, slots: Slots, gradient: Gradient, update: Update) -> Any:
    """A function that writes the update of one vector of a parameter, given Σ_i and its offset."""
    names = {"w": "", **{m: m for m in update.memories}}

    def write(total: Any, offset: Any) -> None:
        own = {
            name: w.load(w["arena"], layout.parameter(gradient.parameter, m), offset)
            for name, m in names.items()
        }

        def in_gradient(e: Expr) -> Any:
            if isinstance(e, Access) and e.tensor is gradient.total.tensor:
                return total
            if isinstance(e, Access) and e.tensor is gradient.parameter and e.indices == gradient.indices:
                return own["w"]
            if isinstance(e, Access) and e.indices == gradient.indices and len(e.indices) == 1:
                return w.load(w["arena"], layout.vector(e.tensor), offset)  # a statistic of the batch
            raise UnsupportedError(f"The compiled step cannot read {e} in a gradient.")

        values: dict[str, Any] = {**own, "g": Vectors(w, slots, w["slots"], in_gradient)(gradient.body)}

        def in_update(e: Expr) -> Any:
            if isinstance(e, Access) and e.tensor.name in values:
                return values[e.tensor.name]
            raise UnsupportedError(f"The update rule reads {e}, which nothing defines.")

        for definition in _inlined(update.program):
            lower = Vectors(w, slots, w["slots"], in_update, estimates=True)
            values[definition.target.name] = lower(definition.body)
        for name, memory in names.items():
            if name + "2" in values:
                w.store(values[name + "2"], w["arena"], layout.parameter(gradient.parameter, memory), offset)

    return write


def _inlined(rule: Program) -> list[Definition]:
    """The outputs' definitions with the lines between written out, so that their scalars meet."""
    bodies: dict[Tensor, Expr] = {}
    definitions = []
    for d in rule.definitions:
        body = d.body
        for t, inner in bodies.items():
            body = replace_access(body, t, lambda _, inner=inner: inner)  # type: ignore[misc]
        if d.target in rule.outputs:
            definitions.append(Definition(d.target, d.indices, body))
        else:
            bodies[d.target] = body
    return definitions


def write_gradient(
    module: Any, layout: Layout, slots: Slots, gradient: Gradient, update: Update, name: str,
    beside: Sequence[Gradient] = (),
) -> tuple[Any, int]:  # fmt: skip
    """f(arena, slots, first, last, groups): the parameter's gradient and update, for a share of it.

    With a weight's gradient go those of the vectors `beside` it, sums of the same turned values, which
    the first share works out while a panel of them is near.

    Returns the function and the number of shares: tiles of rows for a weight, panels for a vector.
    `groups` is the number of panels of observations.
    """
    pointer = number_pointer(layout.target)
    arguments = [("arena", pointer), ("slots", pointer), ("first", I64), ("last", I64), ("groups", I64)]
    w = Writer(module, layout.target, name, arguments)
    if gradient.left is None:
        return _vector_gradient(w, layout, slots, gradient, update)
    return _weight_gradient(w, layout, slots, gradient, update, name, beside)


CHAINS = 4
"""Partial sums that grow side by side, so that an addition need not wait for the one before."""


def _vector_gradient(
    w: Writer, layout: Layout, slots: Slots, gradient: Gradient, update: Update
) -> tuple[Any, int]:
    columns = layout.panels(gradient.parameter.axes[0])
    for start, count, vectors, _ in columns.parts():
        low = w.least(start + count, _most(w, w["first"], start))
        high = w.least(w["last"], start + count)
        with w.loop(low, high) as q:
            _vector_panel(w, layout, slots, gradient, update, vectors, q.index)
    return w.end(), columns.count


def _vector_panel(
    w: Writer, layout: Layout, slots: Slots, gradient: Gradient, update: Update, vectors: int, q: Any
) -> None:
    """The sums over the observations of one panel of columns, and the update."""
    lanes, panel = w.target.lanes, w.target.panel
    write = _update_lines(w, layout, slots, gradient, update)
    if gradient.right is None:
        for v in range(vectors):
            write(w.splat(0.0), w.add(w.mul(q, panel), v * lanes))
        return
    base = w.add(layout.turned(gradient.right), w.mul(q, panel * layout.capacity))
    zeros = [w.splat(0.0)] * (CHAINS * vectors)
    with w.loop(0, w.mul(w["groups"], panel), CHAINS, carried=zeros) as i:
        for c in range(CHAINS * vectors):
            value = w.load(w["arena"], base, w.mul(i.index, vectors * lanes), c * lanes)
            i.after[c] = w.b.fadd(i.carried[c], value)
    for v in range(vectors):
        parts = [i.carried[c * vectors + v] for c in range(CHAINS)]
        total = w.b.fadd(w.b.fadd(parts[0], parts[1]), w.b.fadd(parts[2], parts[3]))
        write(total, w.add(w.mul(q, panel), v * lanes))


def _most(w: Writer, a: Any, b: int) -> Any:
    return w.b.select(w.b.icmp_signed(">", a, ir.Constant(I64, b)), a, ir.Constant(I64, b))


def _weight_gradient(
    w: Writer, layout: Layout, slots: Slots, gradient: Gradient, update: Update, name: str,
    beside: Sequence[Gradient],
) -> tuple[Any, int]:  # fmt: skip
    target, panel = w.target, w.target.panel
    assert gradient.left is not None
    assert gradient.right is not None
    inner, outer = gradient.parameter.axes
    count, depth, columns = layout.sizes[inner], layout.padded(inner), layout.panels(outer)
    source, left = layout.turned(gradient.right), layout.features(gradient.left)
    rows = best_rows(count, depth, target.vectors, target)
    # A narrow tile may have twice the rows; a share holds whole tiles of both kinds.
    unit = 2 * rows if columns.last and _fits(2 * rows, count, depth, target) else rows
    shares = -(-count // unit)
    span = block_depth(layout.capacity, target)
    top = w.mul(w["first"], unit)
    end = w.least(w.mul(w["last"], unit), count)
    for part, (start, number, vectors, _) in enumerate(columns.parts()):
        height = rows if vectors == target.vectors else unit
        shape = Shape(
            height, vectors, "along", panel, panel * depth, blocked=layout.capacity > span,
            used=min(panel, layout.sizes[layout.batch]),
        )  # fmt: skip
        tile = write_tile(
            w.module,
            target,
            f"{name}_tile{part}",
            shape,
            _update_epilogue(layout, slots, gradient, update, vectors),
            _update_ahead(layout, gradient, update, height * vectors),
        )
        block = max(1, target.second_level // (layout.capacity * target.item * unit)) * unit
        with w.loop(top, end, block) as chunk, w.loop(start, start + number) as q:
            if beside:
                with w.b.if_then(w.b.icmp_signed("==", chunk.index, ir.Constant(I64, 0))):
                    for vector_gradient in beside:
                        _vector_panel(w, layout, slots, vector_gradient, update, vectors, q.index)
            stop = w.least(w.add(chunk.index, block), end)
            place = (w.at(w["arena"], source, w.mul(q.index, panel * layout.capacity)), left, q.index)
            _weight_tiles(w, tile, shape, (chunk.index, stop), place, depth, span)
    return w.end(), shares


def _weight_tiles(
    w: Writer, tile: Any, shape: Shape, rows: tuple[Any, Any], place: tuple[Any, int, Any], depth: int,
    block: int,
) -> None:  # fmt: skip
    """The tiles of rows first … last of one panel, in blocks of so many observations, which stay near.

    Partial sums of several blocks lie behind the slots of this thread, for a few tiles at a time.
    """
    panel, width = w.target.panel, shape.vectors * w.target.lanes
    vector, left, q = place

    def tiles(low: Any, high: Any, first_group: Any, groups: Any, flags: Any) -> None:
        with w.loop(low, high, shape.rows) as d:
            at = w.at(vector, w.mul(first_group, panel * width))
            scalar = w.at(w["arena"], left, w.mul(d.index, panel), w.mul(first_group, panel * depth))
            offset = w.add(w.mul(q, panel * depth), w.mul(d.index, width))
            sums = w.at(w["slots"], MOST_SLOTS, w.mul(w.add(d.index, w.mul(low, -1)), width))
            w.call(tile, w["arena"], w["slots"], at, scalar, groups, 0, sums, flags, offset, d.index, q)

    if not shape.blocked:
        tiles(*rows, 0, w["groups"], FIRST | LAST)
        return
    b, span = w.b, block // panel
    with w.loop(*rows, NEAR_TILES * shape.rows) as low:
        high = w.least(w.add(low.index, NEAR_TILES * shape.rows), rows[1])
        with w.loop(0, w["groups"], span) as g:
            first = b.zext(b.icmp_signed("==", g.index, ir.Constant(I64, 0)), I64)
            ends = b.icmp_signed(">=", w.add(g.index, span), w["groups"])
            flags = b.or_(first, b.select(ends, ir.Constant(I64, LAST), ir.Constant(I64, 0)))
            groups = w.least(span, b.sub(w["groups"], g.index))
            tiles(low.index, high, g.index, groups, flags)


def _fits(rows: int, count: int, depth: int, target: Target) -> bool:
    """Whether narrow tiles of so many rows fit the registers and the padding."""
    return rows <= 2 * target.most and -(-count // rows) * rows <= depth


def _update_epilogue(layout: Layout, slots: Slots, gradient: Gradient, update: Update, vectors: int) -> Any:
    def write(w: Writer, rows: Sequence[Sequence[Any]]) -> None:
        line = _update_lines(w, layout, slots, gradient, update)
        for r, row in enumerate(rows):
            for v, total in enumerate(row):
                line(total, w.add(w["offset"], (r * vectors + v) * w.target.lanes))

    return write


def _update_ahead(layout: Layout, gradient: Gradient, update: Update, vectors: int) -> Any:
    """The parameter and its memories come from far; asked for bit by bit during the sum, they are near then.

    All at once they would take every place for outstanding requests, and the sum would wait for its own.
    """
    target = layout.target
    groups = block_depth(layout.capacity, target) // target.panel
    share = -(-vectors * target.lanes // (groups * target.line))

    def write(w: Writer, group: Any) -> None:
        for memory in ("", *update.memories):
            place = layout.parameter(gradient.parameter, memory)
            for n in range(share):
                lines = w.mul(w.add(w.mul(group, share), n), target.line)
                w.prefetch(w["arena"], place, w["offset"], lines)

    return write
