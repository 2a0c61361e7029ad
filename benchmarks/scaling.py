"""How the time of a training step grows: `python benchmarks/scaling.py`.

Width, depth, batch and data set double in turn from 256–256–256–10, batch 128, 4,096 rows. Beside each time
stands the exponent, log₂ of its growth, and the same for the bare matrix products in NumPy. Rounds go
through all cases in turn; figures are medians.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from machine import machine_line

from chalkgrad.errors import ChalkgradError
from chalkgrad.train.engines import make_engine
from chalkgrad.train.network import Network
from chalkgrad.train.optimisers import Optimiser
from chalkgrad.train.threads import limited


@dataclass(frozen=True)
class Case:
    """One network, batch and data set."""

    width: int = 256
    depth: int = 2
    batch: int = 128
    rows: int = 4096

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.width,) * (self.depth + 1) + (10,)


def stepper(case: Case, engine: str) -> Callable[[], int]:
    """A function that takes an epoch and says how many steps it had."""
    generator = np.random.default_rng(0)
    network = Network(case.sizes)
    x = generator.standard_normal((case.rows, case.width), np.float32)
    y = generator.integers(0, 10, case.rows)
    runner = make_engine(engine, network, Optimiser("adam"), {"x": x, "y": y}, case.batch)
    order = generator.permutation(case.rows).reshape(-1, case.batch)
    losses = np.empty(len(order))

    def run() -> int:
        runner.run(order, losses, 1e-3)
        return len(order)

    return run


def products(case: Case) -> Callable[[], int]:
    """The matrix products of one step."""
    calls = []
    for layer, (below, units) in enumerate(zip(case.sizes, case.sizes[1:], strict=False)):
        h, w, delta = (
            np.ones((case.batch, below), "f"),
            np.ones((below, units), "f"),
            np.ones((case.batch, units), "f"),
        )
        pairs = [(h, w), (h.T, delta)] + ([(delta, w.T)] if layer else [])
        calls += [(a, b, np.empty((a.shape[0], b.shape[1]), "f")) for a, b in pairs]

    def run() -> int:
        for a, b, out in calls:
            np.matmul(a, b, out=out)
        return 1

    return run


def timed(run: Callable[[], int], seconds: float) -> float:
    """Seconds per step."""
    began, steps = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        steps += run()
    return took / steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one doubling each, three rounds")
    options = parser.parse_args()
    doublings, rounds = (1, 3) if options.quick else (3, 7)
    names = [n for n in ("llvm", "numpy") if _works(n)]
    print(f"{machine_line()}. One thread, {rounds} interleaved rounds.\n")
    print("| | " + " | ".join(f"{n}: ms | exponent" for n in (*names, "products")) + " |")
    print("|---" * (1 + 2 * (len(names) + 1)) + "|")
    base = Case()
    with limited(1):
        for what in ("width", "depth", "batch", "rows"):
            cases = [replace(base, **{what: getattr(base, what) << n}) for n in range(doublings + 1)]
            runs = [[*(stepper(c, n) for n in names), products(c)] for c in cases]
            found = [[[timed(run, 0.1) for run in row] for row in runs] for _ in range(rounds)]
            times = [
                [statistics.median(found[r][c][k] for r in range(rounds)) for k in range(len(names) + 1)]
                for c in range(len(cases))
            ]
            for n, case in enumerate(cases):
                cells = []
                for k, t in enumerate(times[n]):
                    growth = f"{math.log2(t / times[n - 1][k]):.2f}" if n else ""
                    cells.append(f"{1e3 * t:.3f} | {growth}")
                print(f"| {what} {getattr(case, what)} | " + " | ".join(cells) + " |", flush=True)


def _works(engine: str) -> bool:
    try:
        stepper(Case(8, 1, 4, 16), engine)
    except ChalkgradError:
        return False
    return True


if __name__ == "__main__":
    main()
