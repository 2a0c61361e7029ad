"""How long a derivation takes, and how long the check of all its lines takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from machine import machine_line

from chalkgrad.layers import GALLERY

ROUNDS = 7


def milliseconds(work: Callable[[], object]) -> float:
    """The median time of `work` over `ROUNDS` calls."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def main() -> None:
    print(f"Derivation with respect to all inputs, median of {ROUNDS}. {machine_line()}")
    print(f"  {'layer':<24} {'derive':>10} {'verify':>10} {'lines':>7} {'worst error':>12}")
    for name, layer in GALLERY.items():
        derive = milliseconds(layer.derive)
        derivation = layer.derive()
        verify = milliseconds(derivation.verify)
        verification = derivation.verify()
        print(
            f"  {name:<24} {derive:7.1f} ms {verify:7.1f} ms {len(verification.lines):7d}"
            f" {verification.worst:12.1e}"
        )


if __name__ == "__main__":
    main()
