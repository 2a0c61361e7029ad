"""Threads that share a step: shares of the work, meetings, and an end that the caller asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.code import ASKED, BROKEN, COUNTER, TAKEN, UNCHANGED
from chalkgrad.emit.kernels.processor import offer_core, pause
from chalkgrad.emit.kernels.writer import I64, Writer

PATIENCE = 1024
"""Looks at the barrier between two offers of the core, a power of two."""
OWN = (3, 4)
"""The part of its work that every thread does itself; the rest goes to whoever is ready first."""


class Crew:
    """Writes what the threads of a step do about each other; one thread needs next to nothing of it.

    Args:
        w: The function being written, with the arguments thread, sync and control.
        threads: How many there are.
        meetings: How often they meet in a step.
    """

    def __init__(self, w: Writer, threads: int, meetings: int) -> None:
        self.w, self.threads, self.meetings = w, threads, meetings
        self.met = 0

    def goes_on(self, step: Any, place: int = TAKEN) -> Any:
        """Whether this step was not given up in its first part; with `BROKEN`, in what follows."""
        taken = self.w.b.load_atomic(self.w.at(self.w["control"], place), "seq_cst", 8)
        return self.w.b.icmp_signed(">", taken, step)

    @contextmanager
    def unless_asked(self, step: Any, end: int = UNCHANGED) -> Iterator[None]:
        """What is inside is left out, and the step given up, once the caller wants such an end.

        Whoever leaves something out says so before the threads meet, so that all of them know.
        """
        w, b, place = self.w, self.w.b, TAKEN if end == UNCHANGED else BROKEN
        asked = b.load_atomic(w.at(w["control"], ASKED), "seq_cst", 8)
        with b.if_else(b.icmp_signed("<", asked, ir.Constant(I64, end)), likely=True) as (go, leave):
            with leave:
                b.store_atomic(w.whole_value(step), w.at(w["control"], place), "seq_cst", 8)
            with go:
                yield

    def share(self, of: Any) -> tuple[Any, Any]:
        """This thread's part of 0 … of − 1."""
        w = self.w
        if self.threads == 1:
            return 0, of
        return (
            w.divide(w.mul(of, w["thread"]), self.threads),
            w.divide(w.mul(of, w.add(w["thread"], 1)), self.threads),
        )

    def shared(self, of: Any, counter: int, work: Callable[[Any, Any], None]) -> None:
        """Calls of `work(first, last)` that cover 0 … of − 1 among the threads.

        Every thread has a part of its own, as large in every step, whose memory it knows. Where that leaves
        something, those who are done take a piece of it at a time: one core is often slower than another.
        """
        w, b = self.w, self.w.b
        if self.threads == 1:
            work(0, of)
            return
        of, (numerator, denominator) = w.whole_value(of), OWN
        each = w.divide(w.mul(of, numerator), denominator * self.threads)
        few = b.icmp_signed("<", of, ir.Constant(I64, 4 * self.threads))
        first, last = self.share(of)
        own = w.mul(w["thread"], each)
        first, last = b.select(few, first, own), b.select(few, last, w.add(own, each))
        work(first, last)
        begin = b.select(few, of, w.mul(each, self.threads))
        piece = w.divide(w.add(of, 8 * self.threads - 1), 8 * self.threads)
        take, given, done = (b.append_basic_block(name) for name in ("take", "given", "all_taken"))
        b.branch(take)
        b.position_at_end(take)
        place = w.at(w["sync"], counter * COUNTER)
        low = w.add(begin, b.atomic_rmw("add", place, piece, "seq_cst"))
        b.cbranch(b.icmp_signed("<", low, of), given, done)
        b.position_at_end(given)
        work(low, w.least(w.add(low, piece), of))
        b.branch(take)
        b.position_at_end(done)

    def reset(self, *places: int) -> None:
        """Set counters back, while no thread can be reading them."""
        for counter in places if self.threads > 1 else ():
            self.w.b.store_atomic(
                ir.Constant(I64, 0), self.w.at(self.w["sync"], counter * COUNTER), "seq_cst", 8
            )

    def meet(self, step: Any) -> None:
        """All threads arrive, then all go on: a counter that only grows, watched without sleeping.

        Where the others have no core of their own, waiting would keep them from arriving: after some
        thousand looks the core is offered to whoever wants it.
        """
        if self.threads == 1:
            return
        w, b = self.w, self.w.b
        b.atomic_rmw("add", w["sync"], ir.Constant(I64, 1), "seq_cst")
        self.met += 1
        number = w.add(w.mul(step, self.meetings), self.met)
        goal = w.mul(number, self.threads)
        before = b.block
        wait, tired = b.append_basic_block("wait"), b.append_basic_block("tired")
        again, go = b.append_basic_block("again"), b.append_basic_block("go")
        b.branch(wait)
        b.position_at_end(wait)
        looks = b.phi(I64)
        looks.add_incoming(ir.Constant(I64, 1), before)
        pause(w)
        more = w.add(looks, 1)
        every = b.icmp_signed("==", b.and_(looks, ir.Constant(I64, PATIENCE - 1)), ir.Constant(I64, 0))
        b.cbranch(every, tired, again)
        b.position_at_end(tired)
        offer_core(w)
        b.branch(again)
        b.position_at_end(again)
        arrived = b.load_atomic(w["sync"], "seq_cst", 8)
        looks.add_incoming(more, again)
        b.cbranch(b.icmp_signed("<", arrived, goal), wait, go)
        b.position_at_end(go)
