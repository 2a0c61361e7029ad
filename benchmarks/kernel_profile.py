"""Where the time of a compiled step goes: every kernel of one step by itself, on one thread.

    python benchmarks/kernel_profile.py [--sizes B,C] [--rules adam,sgd] [--rounds 12]

Each kernel is called on the memory of a step that has run, in the order of a step; a figure is the least
processor time over the rounds, a call from Python (about a microsecond) included.
"""

from __future__ import annotations

import os

os.environ |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
os.environ["CHALKGRAD_CACHE"] = ""

import argparse
import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contenders import RATE, SIZES, Problem
from machine import machine_line

from chalkgrad.diff.derive import for_code
from chalkgrad.emit.kernels import compile_step, machine
from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.train.architecture import loss_program
from chalkgrad.train.optimisers import RULES

KINDS = ("gather", "product", "pass", "turn", "gradient", "total")
MANY = 1 << 30
"""More shares than any kernel has: all of its work."""


def compiled(problem: Problem, rule: str) -> tuple[Any, bytes, Callable[[], Any]]:
    """The step, its object file, and a call that runs it once."""
    layers = len(problem.weights)
    program = loss_program(layers, "relu", False)
    values: dict[str, Any] = {}
    for n, (w, b) in enumerate(problem.weights, 1):
        values |= {f"W{n}": w, f"b{n}": b}
    shapes = {"x": (problem.batch, problem.sizes[0]), "y": (problem.batch,)}
    shapes |= {name: v.shape for name, v in values.items()}
    objects: list[bytes] = []
    load = machine.load

    def noted(code: bytes, name: str) -> Any:
        objects.append(code)
        return load(code, name)

    machine.load = noted
    try:
        update = RULES[rule]
        step = compile_step(
            *for_code(program, tuple(values)), update.program, shapes=shapes, memories=update.memories
        )
    finally:
        machine.load = load
    step.load(values)
    scalars = {"lr": RATE, **dict(update.constants)}
    data, order = {"x": problem.x, "y": problem.y}, problem.order[0]
    return step, objects[0], lambda: step.run(data, order, problem.batch, scalars=scalars)


def kernels(step: Any, code: bytes, problem: Problem) -> list[tuple[str, Callable[[], Any]]]:
    """Every kernel of the object file that is there, as a call."""
    arena, totals, blocks = step.arena.ctypes.data, step._totals.ctypes.data, step.layout.blocks
    (slots,) = [place for (kind, _), (place, _) in step.layout.places.items() if kind == "slots"]
    slots = arena + slots * step.arena.itemsize
    order = np.ascontiguousarray(problem.order[0])
    data = [{"x": problem.x, "y": problem.y}[t.name].ctypes.data for t in step.data]
    found = []
    for kind in KINDS:
        for number in range(4 * len(problem.weights)):
            try:
                kept, address = machine.load(code, f"{PREFIX}{kind}_{number}")
            except (RuntimeError, ValueError):
                continue  # no kernel of this number
            observed = (arena, slots, totals, 0, blocks, problem.batch)
            arguments = {
                "gather": (
                    arena, data[min(number, len(data) - 1)], order.ctypes.data, 0, blocks, problem.batch,
                ),
                "product": (arena, slots, 0, blocks), "pass": observed, "turn": observed,
                "gradient": (arena, slots, 0, MANY, problem.batch),
                "total": (arena, slots, totals, 0, MANY, 0),
            }[kind]  # fmt: skip
            function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(arguments))(address)
            found.append((f"{kind} {number}", lambda f=function, a=arguments, keep=(kept, order): f(*a)))
    return found


def timed(call: Callable[[], Any]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="B,C")
    parser.add_argument("--rules", default="adam,sgd")
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    print(machine_line())
    for size in options.sizes.split(","):
        assert size in SIZES, f"there is no size {size}"
        problem = Problem(size)
        for rule in options.rules.split(","):
            step, code, whole = compiled(problem, rule)
            whole()
            calls = [("the whole step", whole), *kernels(step, code, problem)]
            best = {name: min(timed(call) for _ in range(options.rounds)) for name, call in calls}
            print(f"\n{size}, {rule}, µs")
            for name, seconds in best.items():
                print(f"  {name:16} {1e6 * seconds:9.1f}")


if __name__ == "__main__":
    main()
