"""Random numbers that every engine draws alike: each is a function of its place, not of a generator's past.

    key        = mix(mix(mix(seed) + step) + stream)
    number i,h = mix(mix(key + i · 2654435761) + h · 2246822519)     whole numbers modulo 2³²
    uniform    = ⌊number / 2⁸⌋ / 2²⁴                                  in [0, 1), exact in float32

So machine code draws in registers what NumPy draws here, threads need not agree on an order, and a resumed
run goes on with the numbers that it would have drawn.

Reference: mix is Chris Wellons' lowbias32, https://nullprogram.com/blog/2018/07/31/
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.uint32]
OF_ROW, OF_COLUMN = 2654435761, 2246822519
SHIFTS, FACTORS = (16, 15, 16), (0x7FEB352D, 0x846CA68B)


def mix(x: Whole) -> Whole:
    """Whole numbers scattered over 0 … 2³² − 1, in place."""
    for shift, factor in zip(SHIFTS, (*FACTORS, 1), strict=True):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    return x


def key(seed: int, step: int, stream: int) -> int:
    """What distinguishes one matrix of numbers from the others."""
    state = np.zeros(1, np.uint32)
    for part in (seed, step, stream):
        mix(state.__iadd__(np.uint32(part & 0xFFFFFFFF)))
    return int(state[0])


def uniform(seed: int, step: int, stream: int, rows: int, *others: int) -> NDArray[np.float32]:
    """(rows, others …) numbers in [0, 1); the other axes count as columns, the last one fastest.

    Example:
        >>> uniform(0, 0, 0, 2, 3).shape
        (2, 3)
        >>> bool((uniform(0, 5, 1, 4, 3)[:2] == uniform(0, 5, 1, 2, 3)).all())
        True
    """
    first = np.arange(rows, dtype=np.uint32) * np.uint32(OF_ROW)
    first += np.uint32(key(seed, step, stream))
    columns = np.arange(math.prod(others), dtype=np.uint32) * np.uint32(OF_COLUMN)
    numbers = mix(mix(first)[:, None] + columns) >> np.uint32(8)
    return numbers.astype(np.float32).reshape(rows, *others) * np.float32(2.0**-24)


class Draws:
    """Stands where emitted code draws from a generator: one matrix per stream and step, in their order."""

    def __init__(self, seed: int, streams: int) -> None:
        self.seed, self.streams, self._drawn = seed, streams, 0

    def begin(self, step: int) -> None:
        """What is drawn next belongs to this step, counted from 0."""
        self._drawn = step * self.streams

    def random(self, dtype: Any, out: NDArray[Any]) -> None:
        """Fill `out`."""
        step, stream = divmod(self._drawn, self.streams)
        out[...] = uniform(self.seed, step, stream, *out.shape)
        self._drawn += 1
