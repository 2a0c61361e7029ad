"""How long one check takes in a process that has derived nothing yet.

python benchmarks/diagnosis.py --faulty 1000 --right 0 --corpus corpus.json --results results.jsonl
python benchmarks/check_time.py --corpus corpus.json --results results.jsonl --slowest 300

Judges the slowest of the faulty programs that have a verdict once more, each in a process of its own, and
prints processor time, unscaled. A fixed piece of work before and after each check tells how fast the machine
was meanwhile: a host that others use does the same in twice the time from one hour to the next.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections import Counter
from pathlib import Path

import numpy as np
from diagnosis import judged, key, named, programs
from machine import machine_line

import chalkgrad as cg

LIMIT = 2.0
"""Seconds that a check of one layer may take."""

NETWORKS = ("three_layer_convnet", "fully_connected_net", "two_layer_net")
"""Layers of the gallery that are made of several."""


def fixed_work() -> float:
    """Seconds that a fixed piece of work takes: small arrays and dictionaries, as in a check."""
    began = time.process_time()
    array, kept = np.ones((3, 4)), dict[int, float]()
    for n in range(12_000):
        kept[n % 50] = float((array * 2.0).sum())
        str(n)
    return time.process_time() - began


def timed(program: object) -> tuple[float, float, bool]:
    """Processor time of one check, of the fixed work beside it, and whether the cause was named."""
    before = fixed_work()
    began = time.process_time()
    verdict = judged(program)  # type: ignore[arg-type]
    seconds = time.process_time() - began
    return seconds, (before + fixed_work()) / 2, named(program, verdict)  # type: ignore[arg-type]


def _title(layer: str) -> str:
    return layer if layer in NETWORKS else "one layer"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How long one check takes, derivation and all.")
    parser.add_argument("--corpus", type=Path, required=True, help="the programs that diagnosis.py kept")
    parser.add_argument("--results", type=Path, required=True, help="the verdicts that it kept")
    parser.add_argument("--slowest", type=int, default=300, help="so many of those that took longest")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--right", action="store_true", help="one right program of each layer, too")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.results.read_text(encoding="utf-8").splitlines()]
    seconds = {line["key"]: line["seconds"] for line in lines}
    spoiled = [p for p in programs(given.corpus)[0] if key(p) in seconds]
    spoiled.sort(key=lambda p: -seconds[key(p)])
    some = spoiled[: given.slowest]
    assert cg.layers.GALLERY  # imported, nothing derived
    with multiprocessing.get_context("fork").Pool(given.jobs, maxtasksperchild=1) as pool:
        found = pool.map(timed, some, chunksize=1)
    print(f"{machine_line()}; the {len(some)} slowest of {len(spoiled)} faulty programs, each in a process")
    works = sorted(work for _, work, _ in found)
    print(f"fixed work: {works[0]:.3f} s at best, {statistics.median(works):.3f} s in the middle\n")
    print("| | programs | in the middle | at most | over 2 s |\n|---|---|---|---|---|")
    for title in ("one layer", *NETWORKS):
        times = [t for p, (t, _, _) in zip(some, found, strict=True) if _title(p.layer) == title]
        if times:
            middle, over = statistics.median(times), sum(t > LIMIT for t in times)
            print(f"| {title} | {len(times)} | {middle:.2f} s | {max(times):.2f} s | {over} |")
    slowest = sorted(zip(some, found, strict=True), key=lambda r: -r[1][0])
    print("\nslowest of one layer:")
    for p, (t, work, _) in [r for r in slowest if r[0].layer not in NETWORKS][:10]:
        print(f"  {t:.2f} s (fixed work {work:.3f}) {p.layer}: {p.edit[:70]}")
    if given.right:
        one = {p.layer: p for p in reversed(programs(given.corpus)[1])}
        with multiprocessing.get_context("fork").Pool(given.jobs, maxtasksperchild=1) as pool:
            right = pool.map(timed, one.values(), chunksize=1)
        times = sorted(((t, layer) for layer, (t, _, _) in zip(one, right, strict=True)), reverse=True)
        middle = statistics.median_low(times)[0]
        print(f"\none right program of each of {len(times)} layers: {middle:.2f} s in the middle;")
        print("  " + ", ".join(f"{layer} {t:.2f} s" for t, layer in times[:5]))
    print("\nby layer:", dict(Counter(p.layer for p in some).most_common(8)))


if __name__ == "__main__":
    main()
