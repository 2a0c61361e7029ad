"""All kernels of a step in one module, before the function that calls them is written."""

from __future__ import annotations

from typing import Any

from chalkgrad.emit.kernels.expressions import Slots
from chalkgrad.emit.kernels.gradients import write_gradient
from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.moving import write_gather, write_turn
from chalkgrad.emit.kernels.packing import packed, write_value, write_weight
from chalkgrad.emit.kernels.parts import Operations, Total
from chalkgrad.emit.kernels.passes import write_columns, write_pass, write_total
from chalkgrad.emit.kernels.products import column_shares, write_product
from chalkgrad.emit.kernels.schedule import GATHERED, ColumnKernel, PassKernel, ProductKernel, Schedule
from chalkgrad.emit.kernels.update import Rule, write_update
from chalkgrad.expr.nodes import Tensor


class Kernels:
    """All kernels of the step, written into one module."""

    def __init__(
        self, module: Any, layout: Layout, found: Operations, order: Schedule, rule: Rule, threads: int
    ) -> None:
        self.slots = Slots()
        self.shares = _shares(layout, order) if threads > 1 else {}
        self.totals: dict[Tensor, int] = {}
        for op in found.all:
            if isinstance(op, Total):
                self.totals[op.target] = len(self.totals)
        gathered = {t for maker, t in order.turned if maker == GATHERED and not layout.target.paired}
        self.gathers = [
            write_gather(module, layout, t, f"gather_{n}", t in gathered) for n, t in enumerate(found.data)
        ]
        self.weights: list[tuple[Any, int]] = []
        self.observing: list[tuple[int, Any]] = []
        if layout.target.paired:
            self._pack(module, layout, found, order)
        else:
            for n, t in (made for made in order.turned if made[0] != GATHERED):
                self.observing.append((n, write_turn(module, layout, t, f"turn_{len(self.observing)}")))
        self.kernels = []
        for n, kernel in enumerate(order.kernels):
            if isinstance(kernel, ColumnKernel):
                written: Any = write_columns(module, layout, self.slots, kernel, f"columns_{n}")
            elif isinstance(kernel, ProductKernel):
                written = write_product(
                    module, layout, self.slots, kernel, order, f"product_{n}", n in self.shares
                )
            else:
                assert isinstance(kernel, PassKernel)
                written = write_pass(
                    module, layout, self.slots, kernel, order.stored, self.totals, f"pass_{n}"
                )
            self.kernels.append(written)
        lies = [g for g in order.gradients if g.left is not None and g.parameter.name not in layout.flipped]
        weights = {g.right: g for g in lies if not layout.target.paired}
        beside = [g for g in order.gradients if g.left is None and g.right in weights]
        self.gradients = [
            write_gradient(
                module, layout, self.slots, g, rule, f"gradient_{n}",
                [v for v in beside if weights[v.right] is g],
            )
            for n, g in enumerate(order.gradients) if g not in beside
        ]  # fmt: skip
        self.rule = rule
        of_weights = {
            g: shares
            for g, (_, shares) in zip(
                [g for g in order.gradients if g not in beside], self.gradients, strict=True
            )
        }
        self.partials = [
            (g, of_weights.get(g) or layout.panels(g.parameter.axes[0]).count) for g in order.gradients
        ]
        self.update = write_update(module, layout, self.slots, rule) if rule.whole else None
        self.blocks = max([layout.blocks, *(layout.panels(r).count for r in layout.sizes)])
        self.sums = [
            write_total(module, layout, self.slots, t, self.totals[t.target] * self.blocks, f"total_{n}")
            for n, t in enumerate(order.totals)
        ]

    def _pack(self, module: Any, layout: Layout, found: Operations, order: Schedule) -> None:
        """What puts the operands of products into words."""
        for t, kinds in packed(order, layout).items():
            if t in found.parameters:
                name = f"weight_{len(self.weights)}"
                self.weights.append(write_weight(module, layout, t, kinds, name))
            else:
                name = f"packed_{len(self.observing)}"
                self.observing.append((order.maker(t), write_value(module, layout, t, kinds, name)))


def _shares(layout: Layout, order: Schedule) -> dict[int, int]:
    """The products that threads share out by columns, by number, with their shares.

    None where a statistic of the batch makes the threads meet, which then all have observations of their own.
    """
    if any(isinstance(kernel, ColumnKernel) for kernel in order.kernels):
        return {}
    products = {n: kernel for n, kernel in enumerate(order.kernels) if isinstance(kernel, ProductKernel)}
    found = {n: column_shares(layout, kernel) for n, kernel in products.items()}
    return {n: count for n, count in found.items() if count}
