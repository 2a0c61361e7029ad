"""Where a returned gradient differs from the right one, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.words import told_apart
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array

ROUNDED = 1.5e-3
"""The largest relative difference that rounding to half precision makes, with some room."""


def worst(wanted: Tensor, observed: Sequence[Array], points: Sequence[Point]) -> str:
    """The entry that is furthest from what it should be; empty where the shapes differ."""
    returned, true = _clearest(wanted, observed, points)
    if returned.shape != true.shape or not true.size:
        return ""
    place = np.unravel_index(int(np.abs(returned - true).argmax()), true.shape)
    at = f"[{', '.join(str(int(p)) for p in place)}]" if place else ""
    got, right = told_apart(float(returned[place]), float(true[place]))
    return f"d{wanted.name}{at} is {got} and should be {right}"


def where(wanted: Tensor, observed: Sequence[Array], points: Sequence[Point]) -> str:
    """Where the difference lies, for a difference that nothing explains."""
    returned, true = _clearest(wanted, observed, points)
    if returned.shape != true.shape:
        return f"the shape is {returned.shape} instead of {true.shape}."
    wrong = _wrong_entries(returned, true)
    share = f"{int(wrong.sum())} of {wrong.size} entries differ"
    axes = []
    for axis, r in enumerate(wanted.axes):
        other = tuple(n for n in range(wrong.ndim) if n != axis)
        hit = wrong.any(axis=other)
        if not hit.all():
            axes.append(f"only at {r.name} index {', '.join(str(int(n)) for n in np.flatnonzero(hit))}")
    at = f" ({'; '.join(axes)})" if axes else ""
    return f"{share}{at}; {worst(wanted, observed, points)}."


def lost_digits(wanted: Tensor, observed: Sequence[Array], points: Sequence[Point]) -> str:
    """Words for differences that are no larger than roundings to half precision; else empty."""
    share = 0.0
    for returned, point in zip(observed, points, strict=True):
        if returned.shape != point.true[wanted].shape:
            return ""
        scale = np.maximum(np.abs(point.true[wanted]), 1e-3 * float(point.magnitude[wanted].max(initial=0.0)))
        gap = np.abs(returned - point.true[wanted])
        share = max(share, float((gap / np.maximum(scale, 1e-300)).max(initial=0.0)))
    if share > ROUNDED:
        return ""
    digits = int(-np.log10(share))
    return f"d{wanted.name} agrees with the derivation to {digits} digits only, although all is float64."


def _clearest(wanted: Tensor, observed: Sequence[Array], points: Sequence[Point]) -> tuple[Array, Array]:
    """Returned and right at the first point with a wrong entry: a fault that needs a repeated label
    shows at some only."""
    both = [(returned, p.true[wanted]) for returned, p in zip(observed, points, strict=False)]
    return next((b for b in both if b[0].shape != b[1].shape or _wrong_entries(*b).any()), both[0])


def _wrong_entries(returned: Array, true: Array) -> Array:
    return np.asarray(np.abs(returned - true) > 1e-8 * max(float(np.abs(true).max(initial=0.0)), 1e-12))
