"""Matrix products and gradients: tiles with their epilogues, and the loops that walk the panels.

The loops are ordered for the caches: a block of k (about 256) of one panel of observations stays in
the first level while the tiles of a block of weights, which stays in the second, pass by.
"""

from __future__ import annotations

from math import gcd
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels import few
from chalkgrad.emit.kernels.expressions import Slots, Vectors
from chalkgrad.emit.kernels.layout import HALVES, PAIRS, Layout
from chalkgrad.emit.kernels.parts import Product
from chalkgrad.emit.kernels.passes import number_pointer, observed
from chalkgrad.emit.kernels.schedule import ProductKernel, Schedule
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.tile import LAST, Shape, put_tile
from chalkgrad.emit.kernels.writer import I64, Writer
from chalkgrad.expr.nodes import Tensor


def block_depth(inner: int, target: Target) -> int:
    """k per block when `inner` of them are cut evenly into blocks of whole panels near the target's depth.

    A k is what one multiplication takes: a number, or a word of two.
    """
    blocks = max(1, round(inner / target.depth))
    each = -(-inner // blocks)
    return -(-each // target.panel) * target.panel


def row_runs(columns: int, target: Target) -> list[tuple[int, int, int]]:
    """(first row, rows, tiles) of runs of equal tiles that cover a weight panel's columns, none twice.

    Tiles of `target.rows` where they come out even, else as tall as registers allow: 16 as 6 + 5 + 5.
    """
    tiles = -(-columns // target.most)
    if columns % target.rows == 0:
        tiles = columns // target.rows
    rows, taller = divmod(columns, tiles)
    runs = [(0, rows + 1, taller), (taller * (rows + 1), rows, tiles - taller)]
    return [run for run in runs if run[2]]


NEGLIGIBLE = 128
"""One row in so many may be worked out in vain, if the tiles are taller then."""


def best_rows(count: int, room: int, vectors: int, target: Target) -> int:
    """Rows of equal tiles that cover `count` with next to no waste and stay within `room`."""
    most = target.most if vectors == target.vectors else 2 * target.rows

    def waste(rows: int) -> tuple[int, int]:
        return ((-(-count // rows) * rows - count) // max(1, count // NEGLIGIBLE), -rows)

    fitting = [r for r in range(1, most + 1) if -(-count // r) * r <= room]
    useful = [r for r in fitting if r >= min(target.rows, count)] or fitting
    return min(useful, key=waste)


SHARED_BYTES = 1 << 15
"""A weight of so many bytes and more is shared out among threads by its columns."""
LEAST_SHARES = 8
"""Shares that a second thread needs, to get as much as the first."""


def panels_are_shares(layout: Layout, weight: Tensor) -> bool:
    """Whether threads share a weight out by panels of its columns, forward and in its gradient alike.

    Each then reads what it wrote itself, and not all weights, of which another core has just written a half.
    It does not depend on how many threads there are, as sums over all parameters are added by shares.
    """
    if few.few(layout) or weight.name in layout.flipped:
        return False
    rows, columns = (layout.sizes[r] for r in weight.axes)
    large = rows * columns * layout.target.item >= SHARED_BYTES
    return large and layout.panels(weight.axes[1]).count >= LEAST_SHARES


def column_shares(layout: Layout, kernel: ProductKernel) -> int:
    """How many shares of columns a product has; 0 where it is shared out by observations."""
    weight = kernel.product.weight
    if not panels_are_shares(layout, weight):
        return 0
    if not kernel.product.backward:
        return layout.panels(weight.axes[1]).count
    count = -(-layout.sizes[weight.axes[0]] // _rows_along(layout, weight))
    return count if count >= LEAST_SHARES else 0


def operands(layout: Layout, product: Product, lies_along: bool) -> tuple[int, int]:
    """Where the weight and the left factor of a product lie."""
    if not layout.target.paired:
        return layout.parameter(product.weight), layout.features(product.left)
    return layout.packed(HALVES if lies_along else PAIRS, product.weight), layout.packed(PAIRS, product.left)


def write_product(
    module: Any, layout: Layout, slots: Slots, kernel: ProductKernel, order: Schedule, name: str,
    shared: bool = False,
) -> Any:  # fmt: skip
    """f(arena, slots, first, last): the product and its fused lines for panels first … last − 1.

    With `shared`, f(arena, slots, first, last, low, high): the shares low … high − 1 of its columns of these.
    """
    stored = order.stored
    own = [t for t in (kernel.product.target, *(e.target for e in kernel.fused)) if t in stored]
    sums = layout.features(own[0] if own else kernel.product.target)
    lines = (kernel, stored)
    product = kernel.product
    lies_along = product.backward != (product.weight.name in layout.flipped)
    pointer = number_pointer(layout.target)
    part = [("low", I64), ("high", I64)] if shared else []
    w = Writer(
        module, layout.target, name,
        [("arena", pointer), ("slots", pointer), ("first", I64), ("last", I64), *part],
    )  # fmt: skip
    if few.few(layout) and not lies_along:
        few.across(w, layout, product, _epilogue(layout, slots, lines))
    elif few.few(layout) and any(t is product.left for _, t in order.turned):
        few.along(w, layout, product, _epilogue(layout, slots, lines))
    else:
        (_along if lies_along else _across)(w, layout, slots, lines, sums)
    return w.end()


def _epilogue(layout: Layout, slots: Slots, lines: tuple[ProductKernel, frozenset[Tensor]]) -> Any:
    kernel, stored = lines

    def write(w: Writer, rows: list[list[Any]]) -> None:
        lanes, panel = w.target.lanes, w.target.panel
        for r, row in enumerate(rows):
            known: dict[Tensor, list[Any]] = {kernel.product.target: row}
            offset = w.add(w["offset"], r * panel)
            at = (offset, w.add(w["row"], r), w["panel"])
            for line in kernel.fused:
                known[line.target] = [
                    Vectors(w, slots, w["slots"], observed(w, layout, at, v, known))(line.body)
                    for v in range(len(row))
                ]
            for target, values in known.items():
                if target in stored:
                    for v, value in enumerate(values):
                        w.store(value, w["arena"], layout.features(target), offset, v * lanes)

    return write


def _across(w: Writer, layout: Layout, slots: Slots, lines: Any, sums: int) -> None:
    """Σ_k left[i,k] weight[k,h], as the weight lies: a tile's rows lie side by side in its panel."""
    product = lines[0].product
    target, panel = w.target, w.target.panel
    summed, free = layout.stored(product.weight)
    inner, outer = -(-layout.sizes[summed] // target.words), layout.panels(free)
    depth, padded = layout.padded(summed) // target.words, layout.padded(free)
    weights, source = operands(layout, product, False)
    block_k = block_depth(inner, target)
    blocked = inner > block_k
    block = max(1, target.second_level // (block_k * panel * target.item))
    for start, count, vectors, columns in outer.parts():
        width = vectors * target.lanes
        runs = []
        for row, rows, number in row_runs(columns, target):
            shape = Shape(
                rows, target.vectors, "across", width, blocked=blocked, multiple=gcd(inner, block_k)
            )
            runs.append((shape, row, row + rows * number))
        low, high = _part(w, start, start + count)
        with w.loop(low, high, block) as chunk:
            end = w.least(w.add(chunk.index, block), high)
            with w.loop(0, inner, block_k) as k, w.loop(w["first"], w["last"]) as p:
                n = w.least(block_k, w.add(inner, w.mul(k.index, -1)))
                vector = w.at(w["arena"], source, w.mul(w.add(w.mul(p.index, depth), k.index), panel))
                flags = _flags(w, k.index, block_k, inner)
                with w.loop(chunk.index, end) as q:
                    top = w.at(w["arena"], weights, w.mul(q.index, panel * depth), w.mul(k.index, width))
                    for shape, row, below in runs:
                        with w.loop(row, below, shape.rows) as r:
                            h = w.add(w.mul(q.index, panel), r.index)
                            offset = w.mul(w.add(w.mul(p.index, padded), h), panel)
                            put_tile(w, shape, _epilogue(layout, slots, lines), (
                                w["arena"], w["slots"], vector, w.at(top, r.index), n, 0,
                                w.at(w["arena"], sums, offset), flags, offset, h, p.index,
                            ))  # fmt: skip


def _part(w: Writer, start: int, stop: int, unit: int = 1) -> tuple[Any, Any]:
    """What of start … stop lies in this call's shares, of `unit` each."""
    if "low" not in w.arguments:
        return start, stop
    return w.most(start, w.mul(w["low"], unit)), w.least(w.mul(w["high"], unit), stop)


def _rows_along(layout: Layout, weight: Tensor) -> int:
    """Rows of a tile of the product with the weight transposed."""
    outer, _ = layout.stored(weight)
    return best_rows(layout.sizes[outer], layout.padded(outer), layout.target.vectors, layout.target)


def _flags(w: Writer, k: Any, block_k: int, inner: int) -> Any:
    first = w.b.icmp_signed("==", k, ir.Constant(I64, 0))
    last = w.b.icmp_signed(">=", w.add(k, block_k), ir.Constant(I64, inner))
    b = w.b
    return b.or_(b.zext(first, I64), b.select(last, ir.Constant(I64, LAST), ir.Constant(I64, 0)))


def _along(w: Writer, layout: Layout, slots: Slots, lines: Any, sums: int) -> None:
    """Σ_k left[i,k] weight[h,k], as the weight lies: k lies side by side in the weight's panels."""
    product = lines[0].product
    target, panel = w.target, w.target.panel
    outer, inner = layout.stored(product.weight)
    count, depth, columns = layout.sizes[outer], layout.padded(outer), layout.panels(inner)
    weights, source = operands(layout, product, True)
    size, group, narrow, rest, padded = (
        -(-numbers // target.words)
        for numbers in (columns.size, panel, columns.last * target.lanes, columns.rest, layout.padded(inner))
    )
    rows = _rows_along(layout, product.weight)
    block_k = block_depth(size, target)
    blocked = size > block_k
    tail = (narrow, rest) if columns.last else None
    shape = Shape(
        rows, target.vectors, "along", group, group * depth, tail, groups=columns.full > 0, blocked=blocked
    )
    block = max(1, target.second_level // (block_k * target.item * rows)) * rows
    low, high = _part(w, 0, count, rows)
    with w.loop(low, high, block) as chunk:
        end = w.least(w.add(chunk.index, block), high)
        with w.loop(0, size, block_k) as k, w.loop(w["first"], w["last"]) as p:
            q = w.divide(k.index, group)
            whole = w.least(block_k // group, w.add(columns.full, w.mul(q, -1)))
            vector = w.at(w["arena"], source, w.mul(w.add(w.mul(p.index, padded), k.index), panel))
            with w.loop(chunk.index, end, rows) as h:
                offset = w.mul(w.add(w.mul(p.index, depth), h.index), panel)
                # Addresses are those of whole panels; the narrow one has closer rows, which `shift` says.
                stride = group if columns.full else narrow
                scalar = w.at(w["arena"], weights, w.mul(q, group * depth), w.mul(h.index, stride))
                shift = w.mul(h.index, narrow - stride) if columns.last else 0
                flags = _flags(w, k.index, block_k, size)
                put_tile(w, shape, _epilogue(layout, slots, lines), (
                    w["arena"], w["slots"], vector, scalar, whole, shift,
                    w.at(w["arena"], sums, offset), flags, offset, h.index, p.index,
                ))  # fmt: skip
