"""The update of a tile between the multiplications of the next one.

A root and a quotient take long, and next to nothing of the unit that multiplies. At a tile's end nothing
could go on beside them but other updates. Here the sums are kept in memory, and a vector of them is updated
with each of the first k of the next tile, or two where a k is a word of two numbers; only the last tile of a
share has nothing to hide behind.

That helps where so many instructions are in flight that none waits for a quotient: where one vector is
multiplied in a cycle. Where two are, and with half the registers, it was slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chalkgrad.emit.kernels.expressions import Slots
from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.parts import Gradient
from chalkgrad.emit.kernels.tile import LAST, Between, Shape
from chalkgrad.emit.kernels.update import Lines, Rule
from chalkgrad.emit.kernels.writer import Writer, whole_constant

NOTHING = [whole_constant(0)] * 3
"""What is pending before the first tile."""
WIDEST = 20
"""Vectors of a tile beside which the registers have room for an update."""


def delayed(layout: Layout, slots: Slots, gradient: Gradient, rule: Rule, shape: Shape) -> Delayed | None:
    """What writes the updates of such tiles, if they are delayed."""
    vectors = shape.rows * shape.vectors
    each = max(1, -(-vectors // (shape.used or shape.width)))
    fits = vectors <= WIDEST and each <= layout.target.words and vectors % each == 0
    if layout.target.multipliers > 1 or rule.whole or not fits:
        return None
    return Delayed(layout, slots, gradient, rule, (vectors // each, each))


class Delayed:
    """Writes the updates of a weight's tiles, each a tile later.

    What is pending is three values: how many pieces, their offset in the parameter, and where behind the
    slots their sums are. A piece is so many vectors.
    """

    def __init__(
        self, layout: Layout, slots: Slots, gradient: Gradient, rule: Rule, pieces: tuple[int, int]
    ) -> None:
        self.layout, self.slots, self.gradient, self.rule = layout, slots, gradient, rule
        self.pieces, self.each = pieces

    def keep(self, w: Writer, rows: Sequence[Sequence[Any]]) -> None:
        """The epilogue: the sums go to memory."""
        for n, value in enumerate(value for row in rows for value in row):
            w.store(value, w["sums"], n * w.target.lanes)

    def pending(self, w: Writer, flags: Any, offset: Any, sums: Any) -> list[Any]:
        """What is pending after a tile; nothing after one whose sums are not complete."""
        pieces = whole_constant(self.pieces)
        if not isinstance(flags, int):
            last = w.b.icmp_signed(">=", flags, whole_constant(LAST))
            pieces = w.b.select(last, pieces, whole_constant(0))
        return [pieces, offset, w.whole_value(sums)]

    def between(self, pending: Sequence[Any]) -> Between:
        """What is put between the multiplications of the next tile."""
        return Between(pending[0], self.pieces, lambda w, n: self._update(w, n, pending))

    def finish(self, w: Writer, pending: Sequence[Any]) -> None:
        """The updates of the last tile."""
        with w.loop(0, pending[0]) as n:
            self._update(w, n.index, pending)

    def _update(self, w: Writer, n: Any, pending: Sequence[Any]) -> None:
        _, offset, sums = pending
        lines = Lines(w, self.layout, self.slots, self.gradient, self.rule, estimates=False)
        for vector in range(self.each):
            at = w.mul(w.add(w.mul(n, self.each), vector), w.target.lanes)
            lines.write(w.load(w["slots"], sums, at), w.add(offset, at))
