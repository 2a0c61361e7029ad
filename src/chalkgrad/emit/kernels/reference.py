"""What every kernel computes, in NumPy, slow and obvious: the tests hold the machine code to this.

`P` is the width of a panel, `L` the lanes of a vector. None of this runs when a step runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.emit.kernels.layout import Panels
from chalkgrad.emit.kernels.targets import Target

Array = NDArray[Any]


def features(value: Array, target: Target, padded: int) -> Array:
    """value (N, H) in panels of P observations: [N / P][padded H][P], zeros in the padding.

    Example:
        >>> from chalkgrad.emit.kernels.targets import neon
        >>> features(np.arange(6.0).reshape(3, 2), neon("", "", ""), 2)[0, :, :4].tolist()
        [[0.0, 2.0, 4.0, 0.0], [1.0, 3.0, 5.0, 0.0]]
    """
    n, size = value.shape
    blocks = -(-n // target.panel)
    whole = np.zeros((blocks * target.panel, padded), value.dtype)
    whole[:n, :size] = value
    return whole.reshape(blocks, target.panel, padded).transpose(0, 2, 1).copy()


def columns(value: Array, target: Target, rows: int) -> list[Array]:
    """value (M, H) in panels of columns: one (rows, width) array per panel, the last one narrower.

    Example:
        >>> from chalkgrad.emit.kernels.targets import neon
        >>> [p.shape for p in columns(np.ones((3, 18)), neon("", "", ""), 4)]
        [(4, 16), (4, 4)]
    """
    panels = Panels(value.shape[1], target)
    found = []
    for first, count, vectors, _ in panels.parts():
        for q in range(first, first + count):
            part = value[:, q * target.panel : (q + 1) * target.panel]
            panel = np.zeros((rows, vectors * target.lanes), value.dtype)
            panel[: part.shape[0], : part.shape[1]] = part
            found.append(panel)
    return found


def tile(vector: Array, scalar: Array) -> Array:
    """acc[r, c] = Σ_k vector[k, c] · scalar[k, r], summed in float64.

    Example:
        >>> tile(np.array([[1.0, 2.0]]), np.array([[3.0]])).tolist()
        [[3.0, 6.0]]
    """
    total: Array = np.einsum("kc,kr->rc", vector, scalar, dtype=np.float64)
    return total


def gather(rows: Array, order: Array) -> Array:
    """The rows of the user's array in the order given.

    Example:
        >>> gather(np.array([[1.0], [2.0]]), np.array([1, 1, 0])).ravel().tolist()
        [2.0, 2.0, 1.0]
    """
    picked: Array = rows[order]
    return picked


def turned(value: Array, target: Target, capacity: int) -> list[Array]:
    """value (N, H) as panels of columns over `capacity` observations, zeros past N."""
    return columns(value, target, capacity)


def rounded(value: Array) -> Array:
    """float32 numbers rounded to bfloat16, the nearest or the even one of two; finite ones, not tiny.

    Example:
        >>> rounded(np.array([1.0, 1.001, 1.006, -3.3], np.float32)).tolist()
        [1.0, 1.0, 1.0078125, -3.296875]
    """
    bits = np.ascontiguousarray(value, np.float32).view(np.uint32)
    bits = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


def words(even: Array, odd: Array) -> Array:
    """Two arrays rounded to bfloat16 and put side by side in words of 32 bits, the first one below.

    Example:
        >>> [hex(w) for w in words(np.array([1.0], np.float32), np.array([-2.0], np.float32))]
        ['0xc0003f80']
    """
    low, high = (rounded(a).view(np.uint32) for a in (even, odd))
    joined: Array = low >> np.uint32(16) | high
    return joined
