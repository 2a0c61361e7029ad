"""How long a derivation takes, and how long the check of all its lines takes; nothing is cached."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

from machine import machine_line

from chalkgrad.diff import derive
from chalkgrad.layers import GALLERY
from chalkgrad.verify.steps import verify

ROUNDS = 5


def forget() -> None:
    """Empty every cache of the package, so that each round works as the first one does."""
    for name, module in list(sys.modules.items()):
        if name.startswith("chalkgrad"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def milliseconds(work: Callable[[], object]) -> float:
    """The median time of `work` over `ROUNDS` calls."""
    times = []
    for _ in range(ROUNDS):
        forget()
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    print(f"Derivation by all inputs, median of {ROUNDS}. {machine_line()}")
    print(f"  {'layer':<18} {'derive':>11} {'verify':>11} {'lines':>6} {'worst error':>12}")
    for name, layer in GALLERY.items():
        program = layer.program
        record = derive(program)
        verification = verify(record)
        times = milliseconds(lambda p=program: derive(p)), milliseconds(lambda r=record: verify(r))
        lines = f"{len(verification.lines):6d} {verification.worst:12.1e}"
        print(f"  {name:<18} {times[0]:8.1f} ms {times[1]:8.1f} ms {lines}", flush=True)


if __name__ == "__main__":
    main()
