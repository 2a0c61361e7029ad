"""Numeric gradients and gradient checks for plain NumPy functions, as CS231n's assignments use them.

    ∂f/∂x  ≈  (f(x + h) − f(x − h)) / 2h          relative error  =  |a − n| / max(|a|, |n|)

These are for code that is not a formula; a derivation is verified more sharply by
`chalkgrad.verify.steps`. Reference: https://cs231n.github.io/neural-networks-3/#gradcheck
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chalkgrad.errors import ShapeError

Array = NDArray[Any]

H = 1e-5
"""The default step: truncation of order h² and rounding of order 1e-16 / h are both near 1e-10."""


def eval_numerical_gradient(f: Callable[[Array], float], x: Array, h: float = H) -> Array:
    """The gradient of a scalar function by centred differences, one entry at a time.

    Args:
        f: Takes an array like `x`, returns a number. It may keep no state between calls.
        x: Where; a float array of any shape. It is moved in place while `f` runs, so that `f` may
            also read it from outside, and is put back, even if `f` raises.
        h: The step.

    Returns:
        An array shaped like `x`.

    Raises:
        ShapeError: `x` is not a float array, or `f` returns more than one number.

    Example:
        >>> eval_numerical_gradient(lambda x: float((x**2).sum()), np.array([1.0, -3.0])).round(6)
        array([ 2., -6.])
    """
    _require_float(x)
    gradient = np.zeros(x.shape, float)
    for place in np.ndindex(x.shape):
        gradient[place] = _slope(lambda: _scalar(f(x)), x, place, h)
    return gradient


def eval_numerical_gradient_array(
    f: Callable[[Array], ArrayLike], x: Array, df: ArrayLike, h: float = H
) -> Array:
    """The gradient of Σ df · f(x) for an array function: what a backward pass must return.

    Args:
        f: Takes an array like `x`, returns an array shaped like `df`.
        x: Where; a float array of any shape, moved in place and put back.
        df: The upstream gradient.
        h: The step.

    Raises:
        ShapeError: `x` is not a float array, or `f`'s value and `df` have different shapes.

    Example:
        >>> x, df = np.array([0.5, 2.0]), np.array([1.0, 10.0])
        >>> eval_numerical_gradient_array(lambda x: x**3, x, df).round(6)
        array([  0.75, 120.  ])
    """
    weights = np.asarray(df, float)

    def loss(moved: Array) -> float:
        value = np.asarray(f(moved))
        if value.shape != weights.shape:
            raise ShapeError(
                f"the function's value has the shape {value.shape}, the upstream gradient {weights.shape}",
                hint="Pass an upstream gradient shaped like the function's value.",
            )
        return float((value * weights).sum())

    return eval_numerical_gradient(loss, x, h)


def rel_error(a: ArrayLike, n: ArrayLike) -> float:
    """The largest |a − n| / max(|a|, |n|) over all entries; two zeros agree.

    Args:
        a: The analytic gradient.
        n: The numeric one, of the same shape.

    Returns:
        Between 0 (equal) and 2 (opposite signs); infinite where either is not finite and they differ.

    Raises:
        ShapeError: The shapes differ. Nothing is broadcast: a bias gradient that was left
            unsummed must not pass.

    Example:
        >>> rel_error([0.0, 2.0], [0.0, 1.0])
        0.5
    """
    left, right = np.asarray(a, float), np.asarray(n, float)
    if left.shape != right.shape:
        raise ShapeError(
            f"the gradients have different shapes: {left.shape} and {right.shape}",
            hint="A gradient has the shape of what it differentiates by; was a sum forgotten?",
        )
    with np.errstate(all="ignore"):
        gap = np.where(left == right, 0.0, np.abs(left - right))
        scale = np.maximum(np.abs(left), np.abs(right))
        ratio = np.where(gap == 0, 0.0, gap / np.where(scale == 0, 1.0, scale))
    return float(np.where(np.isfinite(ratio), ratio, np.inf).max(initial=0.0))


@dataclass(frozen=True, slots=True)
class SparseCheck:
    """One entry that `grad_check_sparse` looked at.

    Attributes:
        place: The entry's indices.
        numerical: The centred difference.
        analytic: What was claimed.
        relative_error: |a − n| / max(|a|, |n|).
    """

    place: tuple[int, ...]
    numerical: float
    analytic: float
    relative_error: float

    def __str__(self) -> str:
        return (
            f"numerical: {self.numerical:f} analytic: {self.analytic:f}, "
            f"relative error: {self.relative_error:e}"
        )


def grad_check_sparse(
    f: Callable[[Array], float],
    x: Array,
    analytic_grad: ArrayLike,
    num_checks: int = 10,
    h: float = H,
    seed: int = 0,
) -> tuple[SparseCheck, ...]:
    """Check a gradient at a few random entries, where checking all would take too long.

    Args:
        f: Takes an array like `x`, returns a number.
        x: Where; a float array, moved in place and put back.
        analytic_grad: The claimed gradient, shaped like `x`.
        num_checks: How many entries; drawn without repetition, so at most all.
        h: The step.
        seed: Equal seeds look at equal entries.

    Returns:
        One record per entry; printing each gives CS231n's line.

    Example:
        >>> x = np.array([1.0, 2.0, 3.0])
        >>> max(c.relative_error for c in grad_check_sparse(lambda x: float((x**2).sum()), x, 2 * x)) < 1e-8
        True
    """
    _require_float(x)
    claimed = np.asarray(analytic_grad, float)
    if claimed.shape != x.shape:
        raise ShapeError(f"the gradient has the shape {claimed.shape}, the argument {x.shape}")
    drawn = np.random.default_rng(seed).permutation(x.size)[:num_checks]
    checks = []
    for flat in drawn:
        place = tuple(int(p) for p in np.unravel_index(int(flat), x.shape))
        slope = _slope(lambda: _scalar(f(x)), x, place, h)
        checks.append(SparseCheck(place, slope, float(claimed[place]), rel_error(claimed[place], slope)))
    return tuple(checks)


def _slope(f: Callable[[], float], x: Array, place: tuple[int, ...], h: float) -> float:
    with _moved(x, place, h) as high:
        above = f()
    with _moved(x, place, -h) as low:
        below = f()
    # The step that was really taken: x + h is rounded to the array's precision.
    return (above - below) / (high - low)


@contextmanager
def _moved(x: Array, place: tuple[int, ...], by: float) -> Iterator[float]:
    """One entry of `x` moved while the block runs; gives the moved value."""
    kept = x[place]
    x[place] = kept + by
    try:
        yield float(x[place])
    finally:
        x[place] = kept


def _require_float(x: object) -> None:
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise ShapeError(
            f"a numeric gradient needs a float array, and received {kind}",
            hint="Convert it first: x = np.asarray(x, dtype=float).",
        )


def _scalar(value: object) -> float:
    array = np.asarray(value)
    if array.size != 1:
        raise ShapeError(
            f"the function returns an array of the shape {array.shape} where a number is needed",
            hint="Use eval_numerical_gradient_array with an upstream gradient.",
        )
    return float(array.reshape(()))
