"""Time of one training step beside everything that people train MLPs with: `python benchmarks/training.py`.

    --quick         three short rounds
    --sizes A,B     some of the sizes
    --threads 1     some of the numbers of threads
    --skip-digits   without the time to 97 % on handwritten digits
    --without compile,compile16    some of the contenders left out, by their names in `contenders.py`
    --readme        put the table into README.md, section "Measured"

Every contender has a process of its own (`contenders.py`), all of one size wait side by side, and rounds go
through them in turn. A figure is the median over the rounds of the contender's step over the bare matrix
products measured in the same round; behind ± stands half the distance between the quartiles. Seconds to the
first step count from given data and initial weights, imports done: the middle of three processes with nothing
kept, and of three that find what the one before kept (of torch.compile, one of each).
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from contenders import CONTENDERS, ROUNDED, SIZES  # noqa: E402
from machine import machine_line  # noqa: E402

README = HERE.parent / "README.md"
NEEDS = {
    "gemm": ("torch",), "llvm": ("llvmlite", "chalkgrad.emit.kernels.compiled"), "sklearn": ("sklearn",),
    "torch": ("torch",), "compile": ("torch",), "jit": ("jax",), "scan": ("jax",),
    "llvm16": ("llvmlite", "chalkgrad.emit.kernels.compiled"), "torch16": ("torch",), "compile16": ("torch",),
}  # fmt: skip

LONGER = {"D": 3}
"""Times as long for sizes of which one step fills the time: a figure shall not be a single step."""

PAUSE = 0.3
"""Seconds before a contender is timed on several threads: those of the one before look for work for a while
after they are done, and would take a core from it."""


STARTS = 3
"""Pairs of processes that a contender begins, the first of each with nothing kept: a host that has to find
memory for one of them first must not decide how long a first step takes."""
TOUCH = """
import sys, time
import numpy as np
began = time.perf_counter()
np.zeros(int(sys.argv[1]), np.float32).fill(1)
print(time.perf_counter() - began)
"""
"""What a process of its own does to say how long the host takes to hand out memory."""
SLOW_STARTS = ("compile", "compile16")
"""Contenders of which one pair is enough: they take a quarter of a minute each time."""


class Worker:
    """One contender's process."""

    def __init__(self, name: str, size: str, threads: int, cache: str) -> None:
        count = str(threads)
        environment = {
            **os.environ, "THREADS": count, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count,
            "MKL_NUM_THREADS": count, "JAX_PLATFORMS": "cpu", "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
            "JAX_COMPILATION_CACHE_DIR": f"{cache}/jax", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XDG_CACHE_HOME": cache, "CHALKGRAD_CACHE": f"{cache}/chalkgrad",
        }  # fmt: skip
        # An installed package has its bytecode beside it; a checkout shall not be compiled by each process.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, str(HERE / "contenders.py"), name, size, count]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        self.begun = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return dict(json.loads(line))
        assert self.process.stderr is not None
        raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1])

    def run(self, seconds: float) -> dict[str, Any]:
        """Time steps for about so long."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"run {seconds}\n")
        self.process.stdin.flush()
        return self._answer()

    def end(self) -> None:
        """Close the process's input, which ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def available(name: str) -> bool:
    """Whether everything that the contender needs is installed."""
    return all(importlib.util.find_spec(module) is not None for module in NEEDS.get(name, ()))


def measure(
    size: str, threads: int, rounds: int, seconds: float, without: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """All contenders of one size, in interleaved rounds."""
    found: dict[str, dict[str, Any]] = {}
    workers: dict[str, Worker] = {}
    with contextlib.ExitStack() as caches:
        for name in CONTENDERS:
            if name in without or not available(name):
                continue
            cold, kept, touched = [], [], []
            try:
                for _ in range(1 if name in SLOW_STARTS else STARTS):
                    if kept:
                        workers[name].end()
                    cache = caches.enter_context(tempfile.TemporaryDirectory())
                    touched.append(touching(size))
                    first = Worker(name, size, threads, cache)
                    first.end()
                    workers[name] = Worker(name, size, threads, cache)
                    cold.append(first.begun["first"])
                    kept.append(workers[name].begun["first"])
            except RuntimeError as cause:
                workers.pop(name, None)
                found[name] = {"failed": str(cause)[:60]}
                continue
            found[name] = {"cold": statistics.median(cold), "warm": statistics.median(kept), "steps": []}
            found[name]["touched"] = statistics.median(touched)
            found[name]["losses"] = workers[name].begun["losses"]
        _warm_up(workers, seconds)
        for _ in range(rounds):
            for name, worker in workers.items():
                time.sleep(PAUSE if threads > 1 else 0)
                answer = worker.run(seconds)
                found[name]["steps"].append(answer["step"])
                found[name]["peak"] = answer["peak"] / 1024
        for worker in workers.values():
            worker.end()
    return {
        name: row if "failed" in row else _compared(name, row, found["plain"]) for name, row in found.items()
    }


def touching(size: str) -> float:
    """Seconds in which a new process touches memory for w, m and v for the first time."""
    layers = SIZES[size][0]
    numbers = 3 * sum((below + 1) * units for below, units in pairwise(layers))
    command = [sys.executable, "-c", TOUCH, str(numbers)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _warm_up(workers: dict[str, Worker], seconds: float) -> None:
    """Every contender once, untimed: the second core needs some load before it runs at full speed."""
    for worker in workers.values():
        worker.run(max(seconds, 0.3))


def _compared(name: str, row: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """The row, if it has computed what the reference has; else why not.

    Adam makes a large step of the last digit of a small gradient. Who rounds has other last digits, so only
    the loss of the first step is compared there, which all take from the same weights.
    """
    if not row["losses"]:  # products alone, or weights of its own
        return row
    pairs = list(zip(row["losses"], reference["losses"], strict=True))
    if name in ROUNDED:
        pairs = pairs[:1]
    worst = max((abs(a - b) / abs(b) for a, b in pairs), default=0.0)
    if worst <= (1e-2 if name in ROUNDED else 1e-3):
        return row
    print(f"{name} computes something else: its losses differ by {worst:.1e}", file=sys.stderr)
    return {"failed": f"its losses differ by {worst:.1e}"}


def ratio(found: dict[str, dict[str, Any]], name: str) -> tuple[float, float]:
    """Median over the rounds of step over products, and half the distance between the quartiles."""
    base = found["gemm"]["steps"] if "gemm" in found else found["numpy"]["steps"]
    ratios = [a / b for a, b in zip(found[name]["steps"], base, strict=True)]
    if len(ratios) < 2:
        return ratios[0], 0.0
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, (high - low) / 2


def speed_table(results: dict[tuple[str, int], dict[str, dict[str, Any]]]) -> list[str]:
    """One row per contender, one column per size and number of threads."""
    columns = list(results)
    head = "| Adam step over its bare matrix products | " + " | ".join(f"{s} ×{t}" for s, t in columns) + " |"
    lines = [head, "|---|" + "---|" * len(columns)]
    for name, (label, _) in CONTENDERS.items():
        if not any(name in found for found in results.values()):
            lines.append(f"| {label} | " + " | ".join("left out" for _ in columns) + " |")
            continue
        cells = []
        for column in columns:
            found = results[column]
            if name == "gemm":
                cells.append(_time(statistics.median(found[name]["steps"])))
            elif "steps" in found.get(name, {}):
                middle, spread = ratio(found, name)
                cells.append(f"{middle:.2f} ± {spread:.2f}")
            else:
                cells.append("failed")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def start_table(results: dict[tuple[str, int], dict[str, dict[str, Any]]]) -> list[str]:
    """Seconds to the first step beyond imports (cold / cached), the middle of `STARTS`, and peak memory."""
    columns = list(results)
    head = (
        "| First step, cold / cached (s); memory (MB) | " + " | ".join(f"{s} ×{t}" for s, t in columns) + " |"
    )
    lines = [head, "|---|" + "---|" * len(columns)]
    touched = [results[c].get("llvm", results[c]["plain"]).get("touched", math.nan) for c in columns]
    lines.append(
        "| memory for w, m and v, touched for the first time | "
        + " | ".join(f"{seconds:.3f}" for seconds in touched) + " |"
    )  # fmt: skip
    for name, (label, _) in CONTENDERS.items():
        if name == "gemm" or not any("cold" in results[c].get(name, {}) for c in columns):
            continue
        cells = []
        for column in columns:
            row = results[column].get(name, {})
            known = "cold" in row
            cells.append(f"{row['cold']:.2f} / {row['warm']:.2f}; {row['peak']:.0f}" if known else "failed")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def _time(seconds: float) -> str:
    return f"{1e6 * seconds:.0f} µs" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"


def digits_table(rounds: int) -> list[str]:
    """Seconds from starting Python to 97 % on held-out digits."""
    lines = ["| Python started to 97 % on held-out digits | seconds | epochs |", "|---|---|---|"]
    for name in ("llvm", "numpy", "sklearn", "torch", "jit"):
        if not available(name):
            continue
        times, epochs = [], "?"
        for _ in range(rounds):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, str(HERE / "to_97.py"), name], capture_output=True, text=True, check=False
            )
            times.append(time.perf_counter() - began)
            epochs = done.stdout.strip() or "failed"
        lines.append(f"| {CONTENDERS[name][0]} | {statistics.median(times):.2f} | {epochs} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sizes", default="A,B,C,D")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--without", default="")
    parser.add_argument("--skip-digits", action="store_true")
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 9)
    seconds = 0.2 if options.quick else 0.4
    # An installed package has its bytecode beside it; the first process must not make it in its first step.
    compileall.compile_dir(HERE.parent / "src", quiet=1)
    results = {}
    for threads in (int(t) for t in options.threads.split(",")):
        for size in options.sizes.split(","):
            print(f"{size}, {threads} threads …", file=sys.stderr)
            longer, without = LONGER.get(size, 1), options.without.split(",")
            results[size, threads] = measure(size, threads, rounds, seconds * longer, without)
            column = {(size, threads): results[size, threads]}
            print("\n".join([*speed_table(column), *start_table(column)]), file=sys.stderr)
    lines = [f"{machine_line()}. {rounds} interleaved rounds.", ""]
    layers = {name: "–".join(map(str, sizes)) for name, (sizes, _, _) in SIZES.items()}
    lines += ["; ".join(f"{n}: {layers[n]}, batch {SIZES[n][1]}" for n in options.sizes.split(",")) + ".", ""]
    lines += [*speed_table(results), "", *start_table(results)]
    for (size, threads), found in results.items():
        lines += [
            f"- {n} failed at {size} ×{threads}: {r['failed']}" for n, r in found.items() if "failed" in r
        ]
    if not options.skip_digits:
        lines += ["", *digits_table(1 if options.quick else 3)]
    print("\n".join(lines))
    if options.readme:
        write_readme(lines)


def write_readme(lines: list[str]) -> None:
    """Replace what stands between the marks of README's section "Measured"."""
    text = README.read_text(encoding="utf-8")
    begin, end = "<!-- measured -->\n", "<!-- /measured -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    README.write_text(before + begin + "\n".join(lines) + "\n" + end + after, encoding="utf-8")


if __name__ == "__main__":
    main()
