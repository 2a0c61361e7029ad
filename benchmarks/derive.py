"""How long a derivation takes, and how long the check of all its lines takes; nothing is cached.

Then the same derivatives asked of SymPy and tensorgrad, where they are installed: `peers.py` says how.

    python benchmarks/derive.py
    python benchmarks/derive.py --layers     the first table alone
    python benchmarks/derive.py --peers [tensorgrad=/path/to/python]

An interpreter other than this one may be named for a system, so that it need not share an environment.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import machine_line
from peers import CASES, LIMIT, SYSTEMS

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


def layers() -> None:
    """The table of the gallery."""
    print(f"Derivation by all inputs, median of {ROUNDS}. {machine_line()}")
    print(f"  {'layer':<18} {'derive':>11} {'verify':>11} {'lines':>6} {'worst error':>12}")
    for name, layer in GALLERY.items():
        program = layer.program
        record = derive(program)
        verification = verify(record)
        times = milliseconds(lambda p=program: derive(p)), milliseconds(lambda r=record: verify(r))
        lines = f"{len(verification.lines):6d} {verification.worst:12.1e}"
        print(f"  {name:<18} {times[0]:8.1f} ms {times[1]:8.1f} ms {lines}", flush=True)


def asked(system: str, case: str, python: str) -> dict[str, Any]:
    """What `peers.py` finds for one case, in a fresh process."""
    script = str(Path(__file__).with_name("peers.py"))
    try:
        done = subprocess.run(
            [python, "-W", "ignore", script, system, case],
            capture_output=True, text=True, timeout=3 * LIMIT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {3 * LIMIT} s in all"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["it died"])[-1][:90]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def verdict(found: dict[str, Any]) -> str:
    """Right, or what is wrong."""
    if "missing" in found:
        return "not installed"
    return found.get("failed") or (f"WRONG: {found['wrong']}" if "wrong" in found else "right")


def peers(pythons: dict[str, str]) -> None:
    """The table of the same derivatives by other systems."""
    print("One derivative in a fresh process, imports not counted, and its text in characters.")
    print(machine_line())
    print(f"  {'case':<18} {'system':<19} {'derive':>10} {'length':>7}  result")
    for case in CASES:
        for system, (_, _, package) in SYSTEMS.items():
            found = asked(system, case, pythons.get(package, sys.executable))
            if "unasked" in found:
                continue
            seconds = f"{1000 * found['seconds']:7.0f} ms" if "seconds" in found else "-"
            length = str(found.get("characters", "-"))
            print(f"  {case:<18} {system:<19} {seconds:>10} {length:>7}  {verdict(found)}", flush=True)


def main(arguments: list[str]) -> None:
    if "--peers" not in arguments:
        layers()
        print()
    if "--layers" not in arguments:
        peers(dict(a.split("=", 1) for a in arguments if "=" in a))


if __name__ == "__main__":
    main(sys.argv[1:])
