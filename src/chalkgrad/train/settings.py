"""Checks of settings: a wrong one is told of before anything is computed, whoever it was given to."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from chalkgrad.errors import DataError, suggestion


def whole(name: str, value: Any, least: int, example: int) -> int:
    """A whole number of at least `least`.

    Raises:
        DataError: With the setting's name, what it is, what must hold, and a value to try.

    Example:
        >>> whole("epochs", 3, 1, 40)
        3
        >>> whole("epochs", 2.5, 1, 40)
        Traceback (most recent call last):
        ...
        chalkgrad.errors.DataError: epochs is 2.5; it must be a whole number of at least 1.
        Try 40.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise DataError(
            f"{name} is {value!r}; it must be a whole number of at least {least}.", hint=f"Try {example}."
        )
    if value < least:
        raise DataError(f"{name} is {value}; it must be at least {least}.", hint=f"Try {example}.")
    return int(value)


def positive(name: str, value: Any, example: float) -> float:
    """A number above 0 that is finite.

    Raises:
        DataError: As `whole` does.
    """
    if not is_number(value) or not 0 < value < math.inf:
        raise DataError(f"{name} is {value!r}; it must be positive.", hint=f"Try {example:g}.")
    return float(value)


def is_number(value: Any) -> bool:
    """Whether a value is one number, NumPy's included, and no truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


PRECISIONS = ("bfloat16",)
"""What matrix products may be worked out in, if not in the type of the parameters."""


def optional_precision(precision: Any) -> str | None:
    """The precision of matrix products; None for that of the parameters.

    Raises:
        DataError: For any other word.
    """
    if precision is not None and precision not in PRECISIONS:
        raise DataError(
            f"matmul_precision is {precision!r}; it must be 'bfloat16', or left out."
            f"{suggestion(precision, PRECISIONS)}",
            hint="Left out, products are of the network's own type.",
        )
    return precision  # type: ignore[no-any-return]


def optional_threads(threads: Any) -> int | None:
    """A number of threads; None where the size decides.

    Raises:
        DataError: As `whole` does.
    """
    return None if threads is None else whole("threads", threads, 1, 1)
