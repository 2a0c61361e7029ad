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
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
