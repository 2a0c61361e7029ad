"""What a second thread gains, and how far apart the cores are: `python benchmarks/two_cores.py`.

    --sizes B,C     some of the sizes
    --rounds 10     rounds, each with a figure of everything
    --pause 0       seconds between two rounds

The distance is how long a number takes from the core that writes it to the one that waits for it, measured
right before the steps of its round: a rented machine's cores lie where its host puts them, and may be moved.
A step is taken by one thread and by two in turns, in wall time; a figure is the least of three.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contenders import RATE, SIZES, Problem
from llvmlite import ir
from machine import machine_line

from chalkgrad.emit.kernels import machine
from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.emit.kernels.processor import pause
from chalkgrad.emit.kernels.targets import host
from chalkgrad.emit.kernels.writer import I64, Writer
from chalkgrad.emit.together import together
from chalkgrad.train.engines import LlvmEngine
from chalkgrad.train.network import Network
from chalkgrad.train.optimisers import Optimiser

PASSES = 100_000
TIMES = 3
SECONDS = 0.1
"""How long the steps of one figure take, about."""


def passing() -> Callable[[int, int], None]:
    """f(place, parity): passes the number at a place on, PASSES times, whenever it has this parity."""
    target, module = host(), ir.Module("passing")
    module.triple = target.triple
    w = Writer(module, target, "passing", [("place", I64.as_pointer()), ("parity", I64)])
    b = w.b
    with w.loop(0, PASSES):
        wait, go = b.append_basic_block("wait"), b.append_basic_block("go")
        b.branch(wait)
        b.position_at_end(wait)
        pause(w)
        number = b.load_atomic(w["place"], "seq_cst", 8)
        mine = b.icmp_signed("==", b.and_(number, ir.Constant(I64, 1)), w["parity"])
        b.cbranch(mine, go, wait)
        b.position_at_end(go)
        b.store_atomic(b.add(number, ir.Constant(I64, 1)), w["place"], "seq_cst", 8)
    w.end()
    passing.kept, address = machine.load(  # type: ignore[attr-defined]
        machine.object_code(str(module), target), PREFIX + "passing"
    )
    function: Callable[[int, int], None] = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(address)
    return function


def distance(function: Callable[[int, int], None]) -> float:
    """Seconds that a number takes from one core to the other."""
    line = np.zeros(32, np.int64)
    place = line.ctypes.data + -line.ctypes.data % 128
    began = time.perf_counter()
    together(lambda thread: function(place, thread), 2)
    return (time.perf_counter() - began) / (2 * PASSES)


def steps(size: str, threads: int) -> Callable[[], float]:
    """A call that takes steps and gives the seconds of one."""
    problem = Problem(size)
    network = Network(problem.sizes)
    x, y = network.check(problem.x, problem.y)
    engine = LlvmEngine(network, Optimiser("adam"), {"x": x, "y": y}, problem.batch, threads)
    losses = np.empty(problem.batches)

    def call() -> float:
        began = time.perf_counter()
        engine.run(problem.order, losses, RATE)
        return (time.perf_counter() - began) / problem.batches

    again = max(1, int(SECONDS / (call() * problem.batches)))
    return lambda: min(sum(call() for _ in range(again)) / again for _ in range(TIMES))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="B,C")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    sizes = [size for size in options.sizes.split(",") if size in SIZES]
    function = passing()
    made = {(size, threads): steps(size, threads) for size in sizes for threads in (1, 2)}
    print(machine_line())
    print("| ns from core to core | " + " | ".join(f"{s}, one thread and two (ms)" for s in sizes) + " |")
    print("|" + "---|" * (1 + len(sizes)))
    for _ in range(options.rounds):
        row = [f"{1e9 * min(distance(function) for _ in range(TIMES)):.0f}"]
        for size in sizes:
            one, two = (1e3 * made[size, threads]() for threads in (1, 2))
            row.append(f"{one:.3g}, {two:.3g} ({two / one:.2f})")
        print("| " + " | ".join(row) + " |", flush=True)
        time.sleep(options.pause)


if __name__ == "__main__":
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("There is one core.")
    main()
