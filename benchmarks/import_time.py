"""How much `import chalkgrad` adds to NumPy's import: the median of interleaved fresh interpreters."""

from __future__ import annotations

import statistics
import subprocess
import sys

from machine import machine_line

ROUNDS = 15
TIMED = "import time; t = time.perf_counter(); {work}; print((time.perf_counter() - t) * 1000)"
WORKS = {
    "import numpy": "import numpy",
    "import chalkgrad": "import numpy, chalkgrad",
    "chalkgrad ready to derive": "import numpy, chalkgrad; chalkgrad.formula; chalkgrad.layers.GALLERY",
}


def milliseconds(work: str) -> float:
    """The time of `work` in a fresh interpreter."""
    command = [sys.executable, "-c", TIMED.format(work=work)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    for work in WORKS.values():  # fills the file cache and writes bytecode
        milliseconds(work)
    # Interleaved, so that a busy moment of the machine falls on all of them.
    times: dict[str, list[float]] = {name: [] for name in WORKS}
    for _ in range(ROUNDS):
        for name, work in WORKS.items():
            times[name].append(milliseconds(work))
    base = statistics.median(times["import numpy"])
    print(f"Import time, median of {ROUNDS}. {machine_line()}")
    for name, values in times.items():
        median = statistics.median(values)
        over = "" if name == "import numpy" else f"   {median - base:+7.1f} ms over NumPy"
        print(f"  {name:<26} {median:7.1f} ms{over}")


if __name__ == "__main__":
    main()
