"""Comparisons, and functions with kinks for complex arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chalkgrad.verify.environment import Array

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal, "!=": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater,
    ">=": np.greater_equal,
}  # fmt: skip

BRANCHES: dict[str, Callable[..., Any]] = {
    "relu": lambda x: np.where(x.real > 0, x, 0.0),
    "abs": lambda x: np.sign(x.real) * x,
    "sign": lambda x: np.sign(x.real),
    "maximum": lambda a, b: _larger(a, b, a.real - b.real),
    "minimum": lambda a, b: _larger(a, b, b.real - a.real),
    "clip": lambda a, b, c: np.where(
        np.maximum(a.real, b.real) >= c.real, c, np.where(a.real <= b.real, b, a)
    ),
}
"""Functions with kinks for complex arguments: the branch that the real part is on, and at a kink
the convention of the primitives table."""


def number(array: Array) -> Array:
    """As float or complex. A product with 1.0 would make nan of a complex infinity."""
    return np.asarray(array, complex if np.iscomplexobj(array) else float)


def _larger(a: Array, b: Array, lead: Array) -> Array:
    """a where it leads, b where it does not, half of each at a tie."""
    return np.where(lead > 0, a, np.where(lead < 0, b, (a + b) / 2))
