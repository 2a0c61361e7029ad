"""Gradient tiles with the update in their epilogue: the gradient of a weight never touches memory.

dW[d,h] = Σ_i left[i,d] · right[i,h], then w, m, v ← rule(w, dW, m, v), in registers; unless the rule needs
a number of all parameters first (see `update`), or the update of a tile is put between the multiplications of
the next one (see `delayed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.delayed import NOTHING, Delayed, delayed
from chalkgrad.emit.kernels.expressions import MOST_SLOTS, Slots
from chalkgrad.emit.kernels.layout import HALVES, TURNED, Layout
from chalkgrad.emit.kernels.parts import Gradient
from chalkgrad.emit.kernels.passes import counted_lanes, number_pointer
from chalkgrad.emit.kernels.products import best_rows, block_depth, panels_are_shares
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.tile import FIRST, LAST, Shape, put_tile
from chalkgrad.emit.kernels.update import KEPT, Lines, Rule, columns_used
from chalkgrad.emit.kernels.writer import I64, Writer

NEAR_TILES = 8
"""Tiles of a gradient whose partial sums are kept while blocks of observations pass by."""
NEAR_SHARE = 3
"""The rows of a gradient's left factor take so many times less of the second-level cache than a block of
weights: the turned values, the parameter and the memories of the optimiser pass through there, too."""


def scratch(target: Target) -> int:
    """Numbers that every thread needs for itself: its slots and its partial sums."""
    return MOST_SLOTS + NEAR_TILES * 2 * target.most * target.panel


def write_gradient(
    module: Any, layout: Layout, slots: Slots, gradient: Gradient, rule: Rule, name: str,
    beside: Sequence[Gradient] = (),
) -> tuple[Any, int]:  # fmt: skip
    """f(arena, slots, first, last, count): the parameter's gradient and update, for a share of it.

    With a weight's gradient go those of the vectors `beside` it, sums of the same turned values, which
    the first share works out while a panel of them is near. Another vector's are sums over the lanes.

    Returns the function and the number of shares: tiles of rows for a weight, panels for a large one and for
    a vector. `count` is the number of observations.
    """
    pointer = number_pointer(layout.target)
    arguments = [("arena", pointer), ("slots", pointer), ("first", I64), ("last", I64), ("count", I64)]
    w = Writer(module, layout.target, name, arguments)
    panel = layout.target.panel
    w.arguments["groups"] = w.divide(w.add(w["count"], panel - 1), panel)
    if gradient.left is None:
        return _vector_gradient(w, layout, slots, gradient, rule)
    return _weight_gradient(w, layout, slots, gradient, rule, beside)


CHAINS = 4
"""Partial sums that grow side by side, so that an addition need not wait for the one before."""


def _vector_gradient(
    w: Writer, layout: Layout, slots: Slots, gradient: Gradient, rule: Rule
) -> tuple[Any, int]:
    columns = layout.panels(gradient.parameter.axes[0])
    for start, count, vectors, used in columns.parts():
        low = w.least(start + count, w.most(w["first"], start))
        high = w.least(w["last"], start + count)
        with w.loop(low, high) as q:
            sums = _lane_sums(w, layout, gradient, vectors, q.index)
            _vector_panel(w, layout, slots, gradient, rule, (sums, used), q.index)
    return w.end(), columns.count


def _vector_panel(
    w: Writer, layout: Layout, slots: Slots, gradient: Gradient, rule: Rule, part: tuple[list[Any], int],
    q: Any,
) -> None:  # fmt: skip
    """The update of one panel of columns from its sums over the observations."""
    (sums, used), lanes, panel = part, w.target.lanes, w.target.panel
    lines = Lines(w, layout, slots, gradient, rule)
    lines.begin(q)
    for v, total in enumerate(sums):
        lines.write(total, w.add(w.mul(q, panel), v * lanes), columns_used(w, used, v))
    lines.finish(q)


def _lane_sums(w: Writer, layout: Layout, gradient: Gradient, vectors: int, q: Any) -> list[Any]:
    """Σ_i right[i,h] from features, a square of columns and lanes at a time."""
    lanes, panel = w.target.lanes, w.target.panel
    if gradient.right is None:
        return [w.splat(0.0)] * vectors
    base, padded = layout.features(gradient.right), layout.padded(gradient.parameter.axes[0])
    whole = w.divide(w["count"], panel)
    found = []
    for vector in range(vectors):
        first = w.add(w.mul(q, panel), vector * lanes)

        def added(p: Any, so_far: list[Any], counted: Any, first: Any = first) -> list[Any]:
            start = w.add(base, w.mul(w.add(w.mul(p, padded), first), panel))
            for v in range(w.target.vectors):
                values = [w.load(w["arena"], start, c * panel + v * lanes) for c in range(lanes)]
                so_far = [w.b.fadd(a, counted(value, v)) for a, value in zip(so_far, values, strict=True)]
            return so_far

        with w.loop(0, whole, carried=[w.splat(0.0)] * lanes) as p:
            p.after = added(p.index, p.carried, lambda value, _: value)
        with w.loop(whole, w["groups"], carried=p.carried) as last:
            beyond = w.mul(last.index, panel)
            last.after = added(
                last.index, last.carried,
                lambda value, v, at=beyond: counted_lanes(w, value, w.add(at, v * lanes)),
            )  # fmt: skip
        found.append(w.totals(last.carried))
    return found


def _turned_sums(w: Writer, layout: Layout, gradient: Gradient, vectors: int, q: Any) -> list[Any]:
    """Σ_i right[i,h] from turned panels."""
    lanes, panel = w.target.lanes, w.target.panel
    assert gradient.right is not None
    base = w.add(layout.turned(gradient.right), w.mul(q, panel * layout.capacity))
    zeros = [w.splat(0.0)] * (CHAINS * vectors)
    with w.loop(0, w.mul(w["groups"], panel), CHAINS, carried=zeros) as i:
        for c in range(CHAINS * vectors):
            value = w.load(w["arena"], base, w.mul(i.index, vectors * lanes), c * lanes)
            i.after[c] = w.b.fadd(i.carried[c], value)
    chains = [[i.carried[c * vectors + v] for c in range(CHAINS)] for v in range(vectors)]
    return [w.b.fadd(w.b.fadd(a, b), w.b.fadd(c, d)) for a, b, c, d in chains]


def _weight_gradient(
    w: Writer, layout: Layout, slots: Slots, gradient: Gradient, rule: Rule,
    beside: Sequence[Gradient],
) -> tuple[Any, int]:  # fmt: skip
    target, panel = w.target, w.target.panel
    by_rows, by_columns = gradient.left, gradient.right
    if gradient.parameter.name in layout.flipped:
        by_rows, by_columns = by_columns, by_rows
    assert by_rows is not None
    assert by_columns is not None
    inner, outer = layout.stored(gradient.parameter)
    count, depth, columns = layout.sizes[inner], layout.padded(inner), layout.panels(outer)
    words = target.words
    if target.paired:
        source, left = layout.packed(TURNED, by_columns), layout.packed(HALVES, by_rows)
    else:
        source, left = layout.turned(by_columns), layout.features(by_rows)
    rows = best_rows(count, depth, target.vectors, target)
    # A narrow tile may have twice the rows; a share holds whole tiles of both kinds.
    narrow = 0 < columns.last < target.vectors
    unit = 2 * rows if narrow and _fits(2 * rows, count, depth, target) else rows
    shares = -(-count // unit)
    span = _span(layout)
    if rule.whole:
        with w.loop(w["first"], w["last"]) as share:
            Lines(w, layout, slots, gradient, rule).begin(share.index)
    top, end = w.mul(w["first"], unit), w.least(w.mul(w["last"], unit), count)
    panels_shared = panels_are_shares(layout, gradient.parameter)
    if panels_shared:
        shares, top, end = columns.count, 0, count
    for start, number, vectors, used in columns.parts():
        height = rows if vectors == target.vectors else unit
        shape = Shape(
            height, vectors, "along", panel // words, panel // words * depth, blocked=layout.capacity > span,
            used=-(-min(panel, layout.sizes[layout.batch]) // words),
        )  # fmt: skip
        near = target.second_level // NEAR_SHARE
        block = max(1, near // (layout.capacity * target.item * unit)) * unit
        wait = delayed(layout, slots, gradient, rule, shape)
        epilogue = (
            wait.keep
            if wait
            else _update_epilogue(layout, slots, gradient, rule, shape, 0 if panels_shared else unit, used)
        )
        ahead = _update_ahead(layout, gradient, rule, height * vectors)
        with w.loop(top, end, block, carried=NOTHING if wait else ()) as chunk:
            low, high = start, start + number
            if panels_shared:
                low, high = w.most(w["first"], start), w.least(w["last"], start + number)
            with w.loop(low, high, carried=chunk.carried) as q:
                if beside:
                    with w.b.if_then(w.b.icmp_signed("==", chunk.index, ir.Constant(I64, 0))):
                        for vector_gradient in beside:
                            sums = _turned_sums(w, layout, vector_gradient, vectors, q.index)
                            _vector_panel(w, layout, slots, vector_gradient, rule, (sums, used), q.index)
                stop = w.least(w.add(chunk.index, block), end)
                begin = w.at(w["arena"], source, w.mul(q.index, panel * layout.capacity // words))
                place = (begin, left, q.index)
                tiles = _Tiles(w, shape, epilogue, ahead, place, depth, wait)
                q.after = tiles.write((chunk.index, stop), span, q.carried)
            chunk.after = q.carried
        if wait is not None:
            wait.finish(w, chunk.carried)
    return w.end(), shares


def _span(layout: Layout) -> int:
    """Observations of a block, of which the words come in whole panels, as `block_depth` cuts them."""
    words = layout.target.words
    return block_depth(layout.capacity // words, layout.target) * words


class _Tiles:
    """The tiles of one panel of a weight.

    Args:
        epilogue, ahead: See `put_tile`.
        place: Where the panel's vectors are, where its scalars begin in the arena, and its number.
        depth: Padded rows of a panel.
        wait: Writes the update of each tile during the next one; else it is in the epilogue.
    """

    def __init__(
        self, w: Writer, shape: Shape, epilogue: Any, ahead: Any, place: tuple[Any, int, Any], depth: int,
        wait: Delayed | None,
    ) -> None:  # fmt: skip
        self.w, self.shape, self.epilogue, self.ahead = w, shape, epilogue, ahead
        self.place, self.depth, self.wait = place, depth, wait

    def write(self, rows: tuple[Any, Any], block: int, pending: list[Any]) -> list[Any]:
        """The tiles of rows first … last, in blocks of so many observations, which stay near.

        Partial sums of several blocks lie behind the slots of this thread, for a few tiles at a time.
        `pending` is what is left to do of the tile before, which comes back for the last one.
        """
        w, height = self.w, self.shape.rows
        if not self.shape.blocked:
            return self._tiles(rows, (0, w["groups"]), FIRST | LAST, pending)
        b, span = w.b, block // w.target.panel
        with w.loop(*rows, NEAR_TILES * height, carried=pending) as low:
            high = w.least(w.add(low.index, NEAR_TILES * height), rows[1])
            with w.loop(0, w["groups"], span, carried=low.carried) as g:
                first = b.zext(b.icmp_signed("==", g.index, ir.Constant(I64, 0)), I64)
                ends = b.icmp_signed(">=", w.add(g.index, span), w["groups"])
                flags = b.or_(first, b.select(ends, ir.Constant(I64, LAST), ir.Constant(I64, 0)))
                groups = w.least(span, b.sub(w["groups"], g.index))
                g.after = self._tiles((low.index, high), (g.index, groups), flags, g.carried)
            low.after = g.carried
        return low.carried

    def _tiles(
        self, rows: tuple[Any, Any], block: tuple[Any, Any], flags: Any, pending: list[Any]
    ) -> list[Any]:
        """A block of so many groups of observations from the first one on."""
        w, shape, (vector, left, q), (first, groups) = self.w, self.shape, self.place, block
        panel, width = w.target.panel, shape.vectors * w.target.lanes
        with w.loop(*rows, shape.rows, carried=pending) as d:
            group = shape.width
            at = w.at(vector, w.mul(first, group * width))
            scalar = w.at(w["arena"], left, w.mul(d.index, group), w.mul(first, group * self.depth))
            offset = w.add(w.mul(q, panel * self.depth), w.mul(d.index, width))
            sums: Any = MOST_SLOTS
            if shape.blocked:
                sums = w.add(w.mul(w.add(d.index, w.mul(rows[0], -1)), width), MOST_SLOTS)
            between = self.wait.between(d.carried) if self.wait else None
            place = w.at(w["slots"], sums)
            places = (w["arena"], w["slots"], at, scalar, groups, 0, place, flags, offset, d.index, q)
            put_tile(w, shape, self.epilogue, places, self.ahead, between)
            if self.wait:
                d.after = self.wait.pending(w, flags, offset, sums)
        return d.carried


def _fits(rows: int, count: int, depth: int, target: Target) -> bool:
    """Whether narrow tiles of so many rows fit the registers and the padding."""
    return rows <= 2 * target.most and -(-count // rows) * rows <= depth


def _update_epilogue(
    layout: Layout, slots: Slots, gradient: Gradient, rule: Rule, shape: Shape, unit: int, used: int
) -> Any:
    """The update of a tile, or what a number of all parameters needs of it, of `used` columns.

    `unit` is how many rows a share has; 0 where panels are shares.
    """
    count = layout.sizes[layout.stored(gradient.parameter)[0]]

    def write(w: Writer, rows: Sequence[Sequence[Any]]) -> None:
        lines = Lines(w, layout, slots, gradient, rule)
        for r, row in enumerate(rows):
            # The last tile may have rows past the last one.
            below = w.b.icmp_signed("<", w.add(w["row"], r), ir.Constant(I64, count))
            inside = [below] if count % shape.rows else []
            for v, total in enumerate(row):
                offset = w.add(w["offset"], (r * shape.vectors + v) * w.target.lanes)
                lines.write(total, offset, [*inside, *columns_used(w, used, v)])
        lines.finish(w.divide(w["row"], unit) if unit else w["panel"])

    return write


def _update_ahead(layout: Layout, gradient: Gradient, rule: Rule, vectors: int) -> Any:
    """The parameter and its memories come from far; asked for bit by bit during the sum, they are near then.

    All at once they would take every place for outstanding requests, and the sum would wait for its own.
    """
    target = layout.target
    if target.near:
        return None
    groups = _span(layout) // target.panel
    share = -(-vectors * target.lanes // (groups * target.line))

    def write(w: Writer, group: Any) -> None:
        for memory in (KEPT,) if rule.whole else ("", *rule.memories):
            place = layout.parameter(gradient.parameter, memory)
            for n in range(share):
                lines = w.mul(w.add(w.mul(group, share), n), target.line)
                w.prefetch(w["arena"], place, w["offset"], lines)

    return write
