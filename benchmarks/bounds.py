"""What one core allows at most, beside the step and its fastest peer: `python benchmarks/bounds.py`.

    --sizes A,D     some of the sizes
    --rounds 7      interleaved rounds
    --peers a,b     contenders among which the fastest is looked for; without, all but torch.compile

In every round, machine code written for this measures what the core does: multiply-adds in registers, Adam's
update of numbers that lie as near as those of a small network, and reading and writing w, m and v in memory.
From these follow two times of a step: its multiplications alone, as if everything else cost nothing, and the
multiplications with the updates after them. Each is set against the fastest peer's time in the same round: no
step can be more times faster than the first, and none that hides nothing of the update behind the products
more than the second. All times are of the processor, on one thread.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from contenders import CONTENDERS, SIZES
from llvmlite import ir
from machine import machine_line
from training import Worker, available

from chalkgrad.emit.kernels import machine
from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.emit.kernels.expressions import Slots
from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.targets import Target, host
from chalkgrad.emit.kernels.update import Rule, Update, write_update
from chalkgrad.emit.kernels.writer import I64, Writer
from chalkgrad.expr.nodes import Range
from chalkgrad.train.optimisers import RULES

GOALS = {"A": 2.5, "B": 1.2, "C": 1.1, "D": 1.1}
"""Times faster than the fastest peer that were wanted."""

CHAINS = 12
"""Multiply-adds that do not wait for each other."""
NEAR, FAR = 1 << 13, 10 << 20
"""Numbers of an array as large as a small network, and of one that fits no cache."""
ARGUMENTS = ("slots", "at_w", "at_g", "at_m", "at_v")
AGAIN = 64
"""Passes over a near array in a call, beside which the call itself is nothing."""


def registers(w: Writer) -> None:
    """x ← x/2 + 1/2 in CHAINS registers at a time."""
    half, starts = w.splat(0.5), [w.splat(1.0 + n) for n in range(CHAINS)]
    with w.loop(0, w["numbers"], carried=starts) as k:
        k.after = [w.fma(x, half, half) for x in k.carried]
    for n, x in enumerate(k.carried):
        w.store(x, w["at_w"], n * w.target.lanes)


def memory(w: Writer) -> None:
    """w, m and v, each read and written back with one more."""
    places = [w[f"at_{name}"] for name in ("w", "m", "v")]
    with w.loop(0, w["numbers"], w.target.lanes) as n:
        for place in places:
            w.prefetch(place, n.index, 16 * w.target.line)
            w.store(w.b.fadd(w.load(place, n.index), w.splat(1.0)), place, n.index)


class Core:
    """The three rates of this core, each measured anew when it is asked for.

    Attributes:
        products: Seconds of a multiply-add of two numbers.
        update: Seconds of Adam's update of a number that lies near.
        moved: Seconds of reading and writing w, m and v of one parameter in memory.
    """

    def __init__(self) -> None:
        target, adam = host(), RULES["adam"]
        slots, batch = Slots(), Range("N")
        layout = Layout(target, {batch: target.panel}, batch)
        rule = Rule(Update(adam.program, adam.memories), 1)
        near, far = ([np.ones(size + 64, np.float32) for _ in range(4)] for size in (NEAR, FAR))
        numbers = np.full(256, 0.5, np.float32)

        def updates(w: Writer) -> None:
            update = write_update(w.module, layout, slots, rule)
            with w.loop(0, AGAIN):
                w.call(update, *(w[name] for name in ARGUMENTS), w["numbers"])

        written = {body.__name__: _compiled(target, body) for body in (registers, updates, memory)}
        self._calls = {
            "products": (written["registers"], near, 1 << 20, (1 << 20) * CHAINS * target.lanes),
            "update": (written["updates"], near, NEAR, NEAR * AGAIN),
            "moved": (written["memory"], far, FAR, FAR),
        }
        self._numbers = numbers
        for _ in range(3):
            self.measure()

    def measure(self) -> dict[str, float]:
        """Seconds of each, for one number."""
        found = {}
        for name, (call, arrays, count, made) in self._calls.items():
            aligned = [a.ctypes.data + -a.ctypes.data % 64 for a in arrays]
            arguments = (self._numbers.ctypes.data, *aligned, count)
            began = time.thread_time()
            call(*arguments)
            found[name] = (time.thread_time() - began) / made
            for a in arrays:
                a[:] = 1.0
        return found


_KEPT: list[Any] = []
"""What keeps the machine code in memory."""


def _compiled(target: Target, body: Callable[[Writer], None]) -> Callable[..., None]:
    """A function of five addresses and a count, in machine code."""
    module, pointer = ir.Module("bounds"), ir.FloatType().as_pointer()
    module.triple = target.triple
    w = Writer(module, target, body.__name__, [*((n, pointer) for n in ARGUMENTS), ("numbers", I64)])
    body(w)
    w.end()
    kept, address = machine.load(machine.object_code(str(module), target), PREFIX + body.__name__)
    _KEPT.append(kept)
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 6)(address)


def multiply_adds(size: str) -> int:
    """Of a step: forward, dW, and dX of all layers but the first."""
    widths, batch, _ = SIZES[size]
    layers = [a * b for a, b in pairwise(widths)]
    return batch * (3 * sum(layers) - layers[0])


def parameters(size: str) -> int:
    return sum((a + 1) * b for a, b in pairwise(SIZES[size][0]))


def rounds(size: str, count: int, peers: list[str], seconds: float) -> list[dict[str, float]]:
    """Seconds of everything, one dictionary a round."""
    core, found = Core(), []
    with tempfile.TemporaryDirectory() as cache:
        workers = {name: Worker(name, size, 1, cache) for name in ("llvm", *peers)}
        for worker in workers.values():
            worker.run(seconds)
        for _ in range(count):
            row = {name: worker.run(seconds)["step"] for name, worker in workers.items()}
            rates = core.measure()
            near = rates["update"] if parameters(size) < 1 << 18 else max(rates["update"], rates["moved"])
            row["products"] = multiply_adds(size) * rates["products"]
            row["updates"] = parameters(size) * near
            row["peak"] = 2e-9 / rates["products"]
            found.append(row)
        for worker in workers.values():
            worker.end()
    return found


def told(size: str, found: list[dict[str, float]], peers: list[str]) -> list[str]:
    """The computation for one size, in words and numbers."""

    def middle(value: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(value(row) for row in found)

    unit, scale = ("µs", 1e6) if middle(lambda r: r["llvm"]) < 1e-3 else ("ms", 1e3)
    best = min(peers, key=lambda name: middle(lambda r: r[name]))
    rows = [
        ("multiplications alone, at the core's peak", lambda r: r["products"]),
        ("updates", lambda r: r["updates"]),
        ("multiplications, then updates", lambda r: r["products"] + r["updates"]),
        ("our step", lambda r: r["llvm"]),
        (f"fastest peer: {CONTENDERS[best][0]}", lambda r: r[best]),
    ]
    lines = [
        f"{size}: a core multiplies and adds at {middle(lambda r: r['peak']):.0f} GF/s; goal {GOALS[size]}"
    ]
    for label, value in rows:
        lines.append(
            f"  {label:46} {scale * middle(value):9.2f} {unit}"
            f"   the peer takes {middle(lambda r, v=value: r[best] / v(r)):5.2f} times as long"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="A,D")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", default="sklearn,torch,jit,scan")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the core that contenders run on
    os.environ["CLOCK"] = "process"
    peers = [name for name in options.peers.split(",") if available(name)]
    print(machine_line())
    for size in options.sizes.split(","):
        print("\n".join(told(size, rounds(size, options.rounds, peers, 0.3), peers)))


if __name__ == "__main__":
    main()
