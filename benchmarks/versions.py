"""Whole training steps of two checkouts, in turns: `python benchmarks/versions.py ../before`.

    --sizes A,B     some of the sizes
    --rounds 40     interleaved rounds
    --threads 1     threads of each

Each version runs in a process of its own, with the environment of this one. A ratio is the median over the
rounds of the time here over the time there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import training
from machine import machine_line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--sizes", default="A,B,C,D")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    print(machine_line())
    here = training.HERE.parent
    for size in given.sizes.split(","):
        with tempfile.TemporaryDirectory() as cache:
            workers = []
            for place in (given.before.resolve(), here):
                os.environ["PYTHONPATH"] = str(place / "src")
                training.HERE = place / "benchmarks"
                workers.append(training.Worker("llvm", size, given.threads, cache))
            training.HERE = here / "benchmarks"
            times: list[list[float]] = [[], []]
            for n in range(given.rounds + 1):
                for which in (0, 1) if n % 2 else (1, 0):
                    step = workers[which].run(0.3)["step"]
                    if n:  # the first round warms up
                        times[which].append(step)
            for worker in workers:
                worker.end()
        before, now = (1e3 * statistics.median(t) for t in times)
        ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
        print(f"{size}: {before:.4g} ms before, {now:.4g} now, ratio {ratio:.3f}", flush=True)


if __name__ == "__main__":
    main()
