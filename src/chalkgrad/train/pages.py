"""Memory given back to the system while its content lies elsewhere."""

from __future__ import annotations

import ctypes
import mmap
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

WORTHWHILE = 4 << 20
"""Smaller arrays are left alone: they share pages with others, and are cheap to keep."""


def release(array: NDArray[Any]) -> None:
    """Give the array's pages back; it holds zeros then, or what it held, until it is written again.

    For contiguous memory that the caller owns. On systems other than Linux nothing happens.
    """
    if array.nbytes < WORTHWHILE or not array.flags.c_contiguous or not hasattr(mmap, "MADV_DONTNEED"):
        return
    first = -(-array.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (array.ctypes.data + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    # A system that refuses keeps the pages, which costs memory and nothing else.
    with suppress(OSError, AttributeError):
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        advise(first, last - first, mmap.MADV_DONTNEED)
