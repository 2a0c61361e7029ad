"""Derivatives of array functions by one entry: the complex step, and Richardson extrapolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

IMAGINARY = 1e-30
"""The complex step. Its square vanishes beside any value, so the result is exact to rounding."""

WIDEST, LEVELS = 2.0**-12, 3
"""Richardson's first step, far narrower than the distance that samples keep from kinks, and how
often it is halved. Truncation is of order h^6, rounding of order 1e-16 / h: both near 1e-11."""


def complex_step(f: Callable[[Array], Array], at: Array, entry: int) -> Array:
    """d f / d at.flat[entry] = Im f(at + ih) / h.

    Args:
        f: Holomorphic near `at`.
        at: Real values.
        entry: Which one is perturbed, counted in flat order.
    """
    moved = at.astype(complex)
    moved.flat[entry] += 1j * IMAGINARY
    return np.asarray(f(moved)).imag / IMAGINARY


def richardson(f: Callable[[Array], Array], at: Array, entry: int) -> tuple[Array, float]:
    """d f / d at.flat[entry] by central differences, extrapolated to step zero, and an error estimate.

    D(h) = (f(at + h) - f(at - h)) / 2h has an error in even powers of h, so (4 D(h/2) - D(h)) / 3 is
    right to order h^4, and so on. The estimate is the last correction plus rounding.
    """
    table: list[Array] = []
    largest, correction = 0.0, np.inf
    scale = max(1.0, abs(float(at.flat[entry].real)))
    for level in range(LEVELS):
        step = scale * WIDEST / 2**level
        high, low = at.copy(), at.copy()
        high.flat[entry] += step
        low.flat[entry] -= step
        above, below = np.asarray(f(high)), np.asarray(f(low))
        largest = max(largest, float(np.abs(above).max(initial=0.0)))
        row = [(above - below) / (high.flat[entry] - low.flat[entry])]
        for order, coarser in enumerate(table, start=1):
            row.append(row[-1] + (row[-1] - coarser) / (4**order - 1))
        if table:
            correction = float(np.abs(row[-1] - table[-1]).max(initial=0.0))
        table = row
    narrowest = scale * WIDEST / 2 ** (LEVELS - 1)
    return table[-1], correction + 4 * np.finfo(float).eps * largest / narrowest
