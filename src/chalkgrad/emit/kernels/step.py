"""The whole step as one function: many minibatches a call, for one thread of several.

for every minibatch:
    scalars of the step (1/N, 1 − β₁ᵗ …)
    phase one, this thread's panels of observations: gather, products, passes, turning; large products by
    columns, at a meeting before each and after; for products of bfloat16, weights put into words first, and
    values instead of turned
    — all threads meet; if one of them saw that the caller wants an end, this step and the rest are given up;
    where nobody will read the parameters, in what follows, too —
    the loss, by the first thread
    phase two, this thread's share of every parameter: gradient tiles with the update inside
    — all threads meet —

Where the update rule reads a number of all parameters, phase two keeps the gradients, and a third follows:

    the number, by every thread for itself, and the scalars that follow from it
    phase three, this thread's share of every parameter: the update
    — all threads meet —
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.code import ANYWHERE, BROKEN, ENTRY, SEED, StepCode
from chalkgrad.emit.kernels.crew import Crew
from chalkgrad.emit.kernels.expressions import MOST_SLOTS, Scalars
from chalkgrad.emit.kernels.functions import mixed
from chalkgrad.emit.kernels.gradients import scratch
from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.machine import object_code
from chalkgrad.emit.kernels.module import Kernels
from chalkgrad.emit.kernels.parts import Operations
from chalkgrad.emit.kernels.passes import data_pointer, number_pointer
from chalkgrad.emit.kernels.processor import flushing
from chalkgrad.emit.kernels.schedule import GATHERED, ColumnKernel, ProductKernel, Schedule
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.update import Rule, Update, stretches, whole_numbers
from chalkgrad.emit.kernels.writer import DOUBLE, I32, I64, Writer
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Access, Expr, Size, Tensor

Item = tuple[str, int]
"""A part of phase one: what it is, "gather", "kernel" or "turn", and its number among these; or "weights"."""

WEIGHTS: Item = ("weights", 0)
"""All weights are put into words."""


def write_step(
    target: Target, layout: Layout, found: Operations, order: Schedule, update: Update, threads: int
) -> StepCode:
    """The code of one network, batch capacity, optimiser and number of threads."""
    module = ir.Module("chalkgrad")
    module.triple = target.triple
    rule = Rule(update, sum(prod(layout.sizes[r] for r in t.axes) for t in found.parameters))
    kernels = Kernels(module, layout, found, order, rule, threads)
    chosen = tuple(t for t in update.program.inputs if not t.axes and t.name != "t")
    scalars = (*found.scalars, *chosen, *(t for t, _ in update.program.parameters))
    if found.masks:
        scalars = (*scalars, Tensor("seed of the masks", (), "float", SEED))
    slots = layout._place("slots", "scalars", "step", threads * scratch(target))
    pointer = number_pointer(target)
    data = [(f"data{n}", data_pointer(target, t)) for n, t in enumerate(found.data)]
    w = Writer(
        module, target, ENTRY,
        [("arena", pointer), ("totals", DOUBLE.as_pointer()), ("numbers", DOUBLE.as_pointer()), *data,
         ("order", I64.as_pointer()), ("length", I64), ("batch", I64), ("steps_before", I64),
         ("thread", I64), ("sync", I64.as_pointer()), ("control", I64.as_pointer()),
         ("losses", DOUBLE.as_pointer())],
    )  # fmt: skip
    body = _Body(w, layout, found, order, kernels, scalars, slots, threads)
    with flushing(w):
        body.steps()
    w.end()
    if len(kernels.slots.of) > MOST_SLOTS:
        raise UnsupportedError("The step has too many different scalars.", hint='Choose engine="auto".')
    named = tuple((t.name, t.role) for t in scalars)
    code = object_code(str(module), target)
    return StepCode(code, named, len(kernels.totals) * kernels.blocks, bool(rule.whole))


class _Body:
    """Writes the loop over the minibatches."""

    def __init__(
        self, w: Writer, layout: Layout, found: Operations, order: Schedule, kernels: Kernels,
        scalars: tuple[Tensor, ...], slots: int, threads: int,
    ) -> None:  # fmt: skip
        self.w, self.layout, self.found, self.order, self.kernels = w, layout, found, order, kernels
        self.scalars = scalars
        self.halves = {m.low: (n, 0) for n, m in enumerate(found.masks)}
        self.halves |= {m.high: (n, 16) for n, m in enumerate(found.masks)}
        self.segments = self._segments()
        # Meetings of the threads in a step: after each phase, between segments of the first one, and around
        # every statistic of the batch.
        statistics = sum(isinstance(k, ColumnKernel) for k in order.kernels)
        within = 2 * statistics + len(self.segments) - 1
        self.crew = Crew(w, threads, 2 + bool(kernels.rule.whole) + within)
        self.slots = w.at(w["arena"], slots, w.mul(w["thread"], scratch(w.target)))

    def steps(self) -> None:
        w, b = self.w, self.w.b
        count = b.sdiv(w.add(w["length"], w["batch"], -1), w["batch"])
        with w.loop(0, count) as s, b.if_then(self._begins(s.index), likely=True):
            start = w.mul(s.index, w["batch"])
            n = w.least(w["batch"], b.sub(w["length"], start))
            self._slots(s.index, n)
            blocks = b.sdiv(w.add(n, w.target.panel - 1), ir.Constant(I64, w.target.panel))
            self._observations(s.index, n, start, blocks)
            self.crew.meet(s.index)
            with b.if_then(self.crew.goes_on(s.index), likely=True):
                self._changes(s.index, n, blocks)

    def _begins(self, step: Any) -> Any:
        """Whether no step before was given up: of this very one another thread may have done so already."""
        before = self.w.add(step, -1)
        return self.w.b.and_(self.crew.goes_on(before), self.crew.goes_on(before, BROKEN))

    def _changes(self, step: Any, n: Any, blocks: Any) -> None:
        """What follows phase one and changes the parameters."""
        self._loss(step, n, blocks)
        self._parameters(step, n)
        self.crew.meet(step)
        if self.kernels.rule.whole:
            known = whole_numbers(self.w, self.layout, self.kernels.rule, self.kernels.partials)
            self._slots(step, n, known)
            self._updates(step)
            self.crew.meet(step)

    def _slots(self, step: Any, n: Any, known: dict[Tensor, Any] | None = None) -> None:
        """The scalars that kernels read; with `known`, those that follow from numbers of all parameters."""
        w, lower = self.w, Scalars(self.w, self._scalar_reader(step, n, known))
        rule = self.kernels.rule
        for e, place in self.kernels.slots.of.items():
            if rule.late(e) != (known is not None):
                continue
            value = lower(e)
            w.b.store(value if w.target.double else w.b.fptrunc(value, w.number), w.at(self.slots, place))

    def _scalar_reader(
        self, step: Any, n: Any, known: dict[Tensor, Any] | None = None
    ) -> Callable[[Expr], Any]:
        w = self.w

        def read(e: Expr) -> Any:
            if isinstance(e, Size) and e.range is self.layout.batch:
                return w.b.sitofp(n, DOUBLE)
            if isinstance(e, Size):
                return ir.Constant(DOUBLE, float(self.layout.sizes[e.range]))
            if isinstance(e, Access) and known is not None and e.tensor in known:
                return known[e.tensor]
            if isinstance(e, Access) and e.tensor in self.halves:
                return self._half_of_key(step, *self.halves[e.tensor])
            if isinstance(e, Access) and e.tensor in self.scalars:
                return w.number_at(w["numbers"], self.scalars.index(e.tensor))
            if isinstance(e, Access) and e.tensor.name == "t" and not e.indices:
                return w.b.sitofp(w.add(w["steps_before"], step, 1), DOUBLE)
            raise UnsupportedError(
                f"The compiled step cannot read {e} once a step.", hint='Choose engine="auto".'
            )

        return read

    def _half_of_key(self, step: Any, stream: int, shift: int) -> Any:
        """16 bits of `chalkgrad.emit.draws.key`, as a number: those are exact in any type."""
        w, b = self.w, self.w.b
        (seed,) = [n for n, t in enumerate(self.scalars) if t.role == SEED]
        parts = [
            b.fptosi(w.number_at(w["numbers"], seed), I64),
            w.add(w["steps_before"], step),
            ir.Constant(I64, stream),
        ]
        state: Any = ir.Constant(I32, 0)
        for part in parts:
            state = mixed(w, b.add(state, b.trunc(part, I32)))
        half = b.and_(b.lshr(state, ir.Constant(I32, shift)), ir.Constant(I32, 0xFFFF))
        return b.sitofp(half, DOUBLE)

    def _segments(self) -> list[list[Item]]:
        """Phase one in segments, between which the threads meet.

        A product that is shared out by columns is a segment of its own; all else goes one after the other for
        each panel of observations.
        """
        items: list[Item] = [WEIGHTS] if self.kernels.weights else []
        items += [("gather", n) for n in range(len(self.kernels.gathers))]
        for n in range(GATHERED, len(self.order.kernels)):
            items += [("kernel", n)] if n != GATHERED else []
            turns = enumerate(self.kernels.observing)
            items += [("turn", number) for number, (maker, _) in turns if maker == n]
        found: list[list[Item]] = [[]]
        for item in items:
            if found[-1] and (self._alone(item) or self._alone(found[-1][0])):
                found.append([])
            found[-1].append(item)
        return found

    def _alone(self, item: Item) -> bool:
        """Whether threads share out something else than panels of observations."""
        return item is WEIGHTS or (item[0] == "kernel" and item[1] in self.kernels.shares)

    def _counter(self, segment: int) -> int:
        """The number of a segment's counter; the first one's is 1."""
        return 1 + len(self.kernels.gradients) + len(self._updated()) + segment if segment else 1

    def _observations(self, step: Any, n: Any, start: Any, blocks: Any) -> None:
        """Phase one; in pieces only where no statistic of the batch makes the threads meet within it."""
        self.crew.reset(*(2 + n for n in range(len(self.kernels.gradients) + len(self._updated()))))
        together = any(isinstance(kernel, ColumnKernel) for kernel in self.order.kernels)
        for number, segment in enumerate(self.segments):
            if number:
                self.crew.meet(step)
            if together and not self._alone(segment[0]):
                self._panels(step, n, start, *self.crew.share(blocks), segment)
            else:
                self._segment(step, n, start, blocks, number)
        for function, shares in self.kernels.sums:
            self.w.call(function, self.w["arena"], self.slots, self.w["totals"], *self.crew.share(shares), n)

    def _segment(self, step: Any, n: Any, start: Any, blocks: Any, number: int) -> None:
        """One segment by all threads."""
        w, counter, segment = self.w, self._counter(number), self.segments[number]
        if not self._alone(segment[0]):
            self.crew.shared(
                blocks, counter, lambda first, last: self._panels(step, n, start, first, last, segment)
            )
            return
        if segment[0] is WEIGHTS:
            panels = sum(count for _, count in self.kernels.weights)
            self.crew.shared(panels, counter, lambda first, last: self._weights(step, first, last))
            return
        product = segment[0][1]

        def work(low: Any, high: Any) -> None:
            function = self.kernels.kernels[product]
            self._call(step, function, w["arena"], self.slots, 0, blocks, low, high)

        self.crew.shared(self.kernels.shares[product], counter, work)

    def _weights(self, step: Any, first: Any, last: Any) -> None:
        """Some of the panels of all weights, one weight after the other, into words."""
        w, before = self.w, 0
        for function, count in self.kernels.weights:
            low, high = w.most(w.add(first, -before), 0), w.least(w.add(last, -before), count)
            self._call(step, function, w["arena"], low, high)
            before += count

    def _panels(self, step: Any, n: Any, start: Any, first: Any, last: Any, segment: list[Item]) -> None:
        """A segment for some panels of observations."""
        w, kernels = self.w, self.kernels
        common = (w["arena"], self.slots, w["totals"], first, last, n)
        for kind, number in segment:
            if kind == "gather":
                self._call(
                    step, kernels.gathers[number],
                    w["arena"], w[f"data{number}"], w.at(w["order"], start), first, last, n,
                )  # fmt: skip
            elif kind == "turn":
                self._call(step, kernels.observing[number][1], *common)
            elif isinstance(self.order.kernels[number], ColumnKernel):
                function, shares = kernels.kernels[number]
                self.crew.meet(step)
                self._call(step, function, w["arena"], self.slots, w["totals"], *self.crew.share(shares), n)
                self.crew.meet(step)
            elif isinstance(self.order.kernels[number], ProductKernel):
                self._call(step, kernels.kernels[number], w["arena"], self.slots, first, last)
            else:
                self._call(step, kernels.kernels[number], *common)

    def _call(self, step: Any, function: Any, *arguments: Any) -> None:
        """A call that is left out once the caller wants an end."""
        with self.crew.unless_asked(step):
            self.w.call(function, *arguments)

    def _parameters(self, step: Any, n: Any) -> None:
        """Phase two: a thread that is done with one parameter goes on to the next."""
        for number, (function, shares) in enumerate(self.kernels.gradients):

            def work(first: Any, last: Any, function: Any = function) -> None:
                with self.crew.unless_asked(step, ANYWHERE):
                    self.w.call(function, self.w["arena"], self.slots, first, last, n)

            self.crew.shared(shares, 2 + number, work)

    def _updated(self) -> tuple[Tensor, ...]:
        """The parameters that are updated when all gradients are known."""
        return self.found.parameters if self.kernels.rule.whole else ()

    def _updates(self, step: Any) -> None:
        """Phase three, parameter by parameter."""
        w, first = self.w, 2 + len(self.kernels.gradients)
        for number, t in enumerate(self._updated()):
            count, update = stretches(w, self.layout, self.kernels.rule, self.kernels.update, t, self.slots)

            def work(low: Any, high: Any, update: Any = update) -> None:
                with self.crew.unless_asked(step, ANYWHERE):
                    update(low, high)

            self.crew.shared(count, first + number, work)

    def _loss(self, step: Any, n: Any, blocks: Any) -> None:
        """The numbers of the step, by the first thread: sums over panels in order, then what follows."""
        w, b = self.w, self.w.b
        work, done = b.append_basic_block("loss"), b.append_basic_block("done")
        b.cbranch(b.icmp_signed("==", w["thread"], ir.Constant(I64, 0)), work, done)
        b.position_at_end(work)
        known: dict[Tensor, Any] = {}
        counts = {
            t.target: shares for t, (_, shares) in zip(self.order.totals, self.kernels.sums, strict=True)
        }
        for target, number in self.kernels.totals.items():
            with w.loop(0, counts.get(target, blocks), carried=[ir.Constant(DOUBLE, 0.0)]) as p:
                part = w.number_at(w["totals"], number * self.kernels.blocks, p.index)
                p.after = [b.fadd(p.carried[0], part)]
            known[target] = p.carried[0]
        lower = Scalars(w, self._scalar_reader(step, n, known))
        for number_line in self.order.numbers:
            known[number_line.target] = lower(number_line.body)
        b.store(known[self.found.loss], w.at(w["losses"], step))
        self.crew.reset(*(self._counter(number) for number in range(len(self.segments))))
        b.branch(done)
        b.position_at_end(done)
