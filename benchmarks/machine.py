"""The line that every figure carries: what it was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

CPU_INFO = Path("/proc/cpuinfo")


def machine_line() -> str:
    """Processor, cores, interpreter and NumPy in one line."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, NumPy {np.__version__}"
    )


def _processor() -> str:
    """Its name, and the widest vectors that it has: two of one name may differ in that."""
    told: dict[str, str] = {}
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            told.setdefault(key.strip(), value.strip())
    name = told.get("model name") or platform.processor() or platform.machine()
    widest = {"avx512f": " with AVX-512", "avx2": " with AVX2"}
    return name + next((w for flag, w in widest.items() if flag in told.get("flags", "").split()), "")
