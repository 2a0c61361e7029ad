"""Operands of products in bfloat16: numbers rounded and put two to a word, as `layout` says.

Values are packed after the kernel that makes them, for the panels of observations at hand; weights at the
beginning of a step, as everything else reads and changes them in float32.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.emit.kernels.layout import HALVES, PAIRS, TURNED, Layout
from chalkgrad.emit.kernels.passes import number_pointer, observing
from chalkgrad.emit.kernels.rows import first_lanes
from chalkgrad.emit.kernels.schedule import ProductKernel, Schedule
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.writer import I1, I64, Writer
from chalkgrad.expr.nodes import Tensor


def packed(order: Schedule, layout: Layout) -> dict[Tensor, tuple[str, ...]]:
    """How every operand of a product or a weight's gradient has to lie in words."""
    roles: list[tuple[Tensor, str]] = []
    for product in (kernel.product for kernel in order.kernels if isinstance(kernel, ProductKernel)):
        lies_along = product.backward != (product.weight.name in layout.flipped)
        roles += [(product.left, PAIRS), (product.weight, HALVES if lies_along else PAIRS)]
    for g in order.gradients:
        if g.left is not None and g.right is not None:
            vectors, scalars = (g.left, g.right) if g.parameter.name in layout.flipped else (g.right, g.left)
            roles += [(vectors, TURNED), (scalars, HALVES)]
    return {t: tuple(dict.fromkeys(kind for other, kind in roles if other is t)) for t, _ in roles}


def write_value(module: Any, layout: Layout, t: Tensor, kinds: Collection[str], name: str) -> Any:
    """Features into words, panel by panel of observations."""
    target = layout.target
    square = _square(module, target) if TURNED in kinds else None
    w = observing(module, layout, name)
    size, padded, panel = layout.sizes[t.axes[1]], layout.padded(t.axes[1]), target.panel
    with w.loop(w["first"], w["last"]) as p:
        begin = w.mul(p.index, padded * panel)
        rows = _Rows(w, layout, t, kinds, (w.add(layout.features(t), begin), begin), target.vectors)
        with w.loop(0, size - size % 2, 2) as h:
            rows.write(h.index, panel)
        if size % 2:
            rows.write(size - 1, panel, alone=True)
        if square is not None:
            _turned(w, layout, t, p.index, square, w.add(layout.features(t), begin))
    return w.end()


def write_weight(
    module: Any, layout: Layout, t: Tensor, kinds: Collection[str], name: str
) -> tuple[Any, int]:
    """f(arena, first, last): panels first … last − 1 of a weight into words; and how many panels it has."""
    target, (inner, outer) = layout.target, layout.stored(t)
    w = Writer(module, target, name, [("arena", number_pointer(target)), ("first", I64), ("last", I64)])
    count, depth, columns = layout.sizes[inner], layout.padded(inner), layout.panels(outer)
    for start, number, vectors, used in columns.parts():
        width = vectors * target.lanes
        with w.loop(w.most(w["first"], start), w.least(w["last"], start + number)) as q:
            begin = w.mul(q.index, target.panel * depth)
            place = (w.add(layout.parameter(t), begin), begin)
            rows = _Rows(w, layout, t, kinds, place, vectors, used if used < width else 0)
            with w.loop(0, count - count % 2, 2) as d:
                rows.write(d.index, width)
            if count % 2:
                rows.write(count - 1, width, alone=True)
    return w.end(), columns.count


class _Rows:
    """Writes two rows of a panel in words.

    Args:
        place: Where the panel begins in the arena, and within its buffer.
        vectors: How wide it is.
        used: Columns that count; 0 for all. The others are 0 in words of two columns.
    """

    def __init__(
        self, w: Writer, layout: Layout, t: Tensor, kinds: Collection[str], place: tuple[Any, Any],
        vectors: int, used: int = 0,
    ) -> None:  # fmt: skip
        self.w, self.kinds, self.vectors, self.used = w, kinds, vectors, used
        self.source, begin = place
        half = w.divide(begin, 2)
        self.goals = {kind: w.add(layout.packed(kind, t), half) for kind in kinds if kind != TURNED}

    def write(self, row: Any, width: int, *, alone: bool = False) -> None:
        """Rows `row` and the next one, of `width` numbers; an even row `alone` has zeros beside it."""
        w, lanes = self.w, self.w.target.lanes
        at = w.mul(row, width)
        even = [w.load(w["arena"], self.source, at, v * lanes) for v in range(self.vectors)]
        odd = [
            w.splat(0.0) if alone else w.load(w["arena"], self.source, at, width + v * lanes)
            for v in range(self.vectors)
        ]
        half = w.divide(at, 2)
        if PAIRS in self.kinds:
            for v, (one, other) in enumerate(zip(even, odd, strict=True)):
                w.store(w.pairs(one, other), w["arena"], self.goals[PAIRS], half, v * lanes)
        if HALVES in self.kinds:
            every = [*self._counted(even), *self._counted(odd)]
            for n in range(0, len(every), 2):
                words = w.halves(every[n], every[n + 1])
                w.store(words, w["arena"], self.goals[HALVES], half, n // 2 * lanes)

    def _counted(self, vectors: Sequence[Any]) -> list[Any]:
        w, lanes = self.w, self.w.target.lanes
        if not self.used:
            return list(vectors)
        return [
            w.b.select(first_lanes(w, self.used - v * lanes), value, w.splat(0.0))
            for v, value in enumerate(vectors)
        ]


def _turned(w: Writer, layout: Layout, t: Tensor, p: Any, square: Any, begin: Any) -> None:
    """The panel's features into words of two observations; those past `count` are 0: sums skip them."""
    lanes, panel, goal = w.target.lanes, w.target.panel, layout.packed(TURNED, t)
    for first, count, vectors, _ in layout.panels(t.axes[1]).parts():
        width = vectors * lanes
        with w.loop(first, first + count) as q:
            top = w.add(goal, w.mul(q.index, panel * layout.capacity // 2), w.mul(p, panel * width // 2))
            with w.loop(0, width, lanes) as c:
                above = w.add(begin, w.mul(w.add(w.mul(q.index, panel), c.index), panel))
                for v in range(0, panel, lanes):
                    start = w.at(w["arena"], above, v)
                    w.call(square, start, w.at(w["arena"], top, v // 2 * width, c.index), width)
            _cleared(w, top, p, vectors)


def _cleared(w: Writer, top: Any, p: Any, vectors: int) -> None:
    """Zeros for the observations of a panel past `count`: in all words behind the last one's, and in that one
    where nothing is beside it."""
    b, lanes, panel = w.b, w.target.lanes, w.target.panel
    left = w.most(b.sub(w["count"], w.mul(p, panel)), 0)
    half, odd = w.divide(left, 2), b.trunc(left, I1)
    with w.loop(half, panel // 2) as i:
        kept = b.and_(odd, b.icmp_signed("==", i.index, half))
        for vector in range(vectors):
            at = w.add(top, w.mul(i.index, vectors * lanes), vector * lanes)
            words = b.bitcast(w.load(w["arena"], at), w.wholes)
            low = b.and_(words, w.whole_splat(0xFFFF))
            chosen = b.select(kept, low, w.whole_splat(0))
            w.store(b.bitcast(chosen, w.vector), w["arena"], at)


def _square(module: Any, target: Target) -> Any:
    """A square from a panel of features into words of two observations: one function for the whole step."""
    name, pointer = "pack_square", number_pointer(target)
    known = module.globals.get(PREFIX + name)
    if known is not None:
        return known
    w = Writer(module, target, name, [("source", pointer), ("goal", pointer), ("width", I64)])
    turned = w.transposed([w.load(w["source"], r * target.panel) for r in range(target.lanes)])
    for i in range(0, target.lanes, 2):
        w.store(w.pairs(turned[i], turned[i + 1]), w["goal"], w.mul(w["width"], i // 2))
    return w.end()
