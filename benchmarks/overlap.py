"""What goes on beside multiplications at no cost, with AVX-512: `python benchmarks/overlap.py`.

Assembly of 400 multiply-adds, alone and with other instructions behind them, many times in a row. A figure is
in cycles: the time over that of as many multiply-adds alone, times their cycles. "tile" reads two vectors and
ten scalars for every 20 multiply-adds, the scalars into registers of their own; "folded" lets the
multiply-adds read them. Least of seven, one thread.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from llvmlite import ir
from machine import machine_line

from chalkgrad.emit.kernels import machine
from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.emit.kernels.targets import binding, host
from chalkgrad.emit.kernels.writer import I64, VOID, Writer

PASSES, TIMES = 200_000, 7
ROWS, K = 10, 20
SUMS = 2 * ROWS

MULTIPLY_ADDS = [f"vfmadd231ps %zmm20, %zmm21, %zmm{n}" for _ in range(K) for n in range(SUMS)]
ROOT, QUOTIENT = ["vsqrtps %zmm22, %zmm23"], ["vdivps %zmm22, %zmm21, %zmm24"]
ADDITIONS = [f"vaddps %zmm22, %zmm21, %zmm{25 + n % 4}" for n in range(8)]
SHUFFLES = [f"vunpcklps %zmm29, %zmm28, %zmm{23 + n % 4}" for n in range(64)]
STORES = [f"vmovaps %zmm28, {8192 + 64 * n}($0)" for n in range(16)]
LOADS = [f"vmovaps {64 * n}($0), %zmm{23 + n % 4}" for n in range(32)]


def tile(folded: bool) -> list[str]:
    """The sums of ten rows of two vectors."""
    lines = []
    for k in range(K):
        lines += [f"vmovaps {128 * k + 64 * v}($0), %zmm{20 + v}" for v in (0, 1)]
        for r in range(ROWS):
            scalar = f"{16384 + 128 * r + 4 * k}($0)"
            factor = f"{scalar}{{1to16}}" if folded else "%zmm22"
            lines += [] if folded else [f"vbroadcastss {scalar}, %zmm22"]
            lines += [f"vfmadd231ps {factor}, %zmm{20 + v}, %zmm{2 * r + v}" for v in (0, 1)]
    return lines


CASES = {
    "400 multiply-adds": MULTIPLY_ADDS,
    "with a root": MULTIPLY_ADDS + ROOT,
    "with a quotient": MULTIPLY_ADDS + QUOTIENT,
    "with both": MULTIPLY_ADDS + ROOT + QUOTIENT,
    "with 8 additions": MULTIPLY_ADDS + ADDITIONS,
    "with 64 shuffles": MULTIPLY_ADDS + SHUFFLES,
    "64 shuffles alone": SHUFFLES,
    "tile": tile(False),
    "tile, 64 shuffles": tile(False) + SHUFFLES,
    "tile, 16 stores": tile(False) + STORES,
    "folded": tile(True),
    "folded, 64 shuffles": tile(True) + SHUFFLES,
    "folded, 16 stores": tile(True) + STORES,
    "folded, 32 loads, 64 shuffles": tile(True) + LOADS + SHUFFLES,
}


def compiled(lines: list[str]) -> Callable[[int], None]:
    """A function that runs the instructions PASSES times, $0 being its argument."""
    target, module = host(), ir.Module("overlap")
    module.triple = target.triple
    w = Writer(module, target, "overlap", [("memory", I64)])
    changed = ",".join(["r", *(f"~{{zmm{n}}}" for n in range(32)), "~{memory}"])
    asm = ir.InlineAsm(ir.FunctionType(VOID, [I64]), "\n".join(lines), changed, side_effect=True)
    with w.loop(0, PASSES):
        w.b.call(asm, [w["memory"]])
    w.end()
    kept, address = machine.load(machine.object_code(str(module), target), PREFIX + "overlap")
    function: Any = ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)
    return lambda place, kept=kept: function(place)  # type: ignore[misc]


def seconds(call: Callable[[int], None], place: int) -> float:
    began = time.thread_time()
    call(place)
    return time.thread_time() - began


def main() -> None:
    if host().bytes < 64:
        sys.exit("This processor has no vectors of 512 bits.")
    binding().initialize_native_asmparser()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    memory = np.zeros(1 << 14, np.float32)
    place = memory.ctypes.data + -memory.ctypes.data % 64
    calls = {name: compiled(lines) for name, lines in CASES.items()}
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(TIMES):
        for name, call in calls.items():
            least[name] = min(least[name], seconds(call, place))
    base = least["400 multiply-adds"]
    cycles = len(MULTIPLY_ADDS) / host().multipliers
    print(machine_line())
    for name, value in least.items():
        print(f"{name:32} {cycles * value / base:7.1f}")


if __name__ == "__main__":
    main()
