"""Shapes before values: what a gradient of the wrong shape would be, had it the right one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.words import range_words
from chalkgrad.expr.nodes import Range, Tensor
from chalkgrad.verify.environment import Array


@dataclass(frozen=True, slots=True)
class View:
    """A reading of arrays of a wrong shape.

    Attributes:
        code: The cause that the shape shows by itself.
        text: The evidence, in words.
        arrays: What was returned, brought into the right shape; None where nothing can be compared.
        cost: How unlikely the reading is.
    """

    code: str
    text: str
    arrays: tuple[Array, ...] | None
    cost: float


def views(wanted: Tensor, observed: Sequence[Array], points: Sequence[Point]) -> Iterator[View]:
    """Readings of what was returned for an input, likeliest first; nothing if the shapes are right."""
    true = [p.true[wanted] for p in points]
    if all(r.shape == t.shape for r, t in zip(observed, true, strict=True)):
        return
    first, expected = observed[0], true[0]
    said = head(wanted, observed, true)
    yield from _permuted(observed, true, said)
    yield from _with_more(wanted, observed, points, said)
    yield from _with_less(wanted, observed, points, said)
    yield from _spread_out(observed, true, said)
    if all(r.size == t.size for r, t in zip(observed, true, strict=True)):
        flat = tuple(r.reshape(t.shape) for r, t in zip(observed, true, strict=True))
        ones = [n for n in first.shape if n != 1] == [n for n in expected.shape if n != 1]
        why = "; an axis of length 1 is left over (keepdims?)" if ones else ""
        yield View("shape", f"{said}{why}", flat, 1.2 if ones else 2.0)
    yield View("shape", said, None, 5.0)


def head(wanted: Tensor, observed: Sequence[Array], true: Sequence[Array]) -> str:
    """Which shape was returned, and which belongs there."""
    got, want = _shape(observed[0].shape), _shape(true[0].shape)
    axes = f"({', '.join(r.name for r in wanted.axes)})"
    return f"d{wanted.name} has the shape {got}, but {wanted.name} has {want} = {axes}"


def _spread_out(observed: Sequence[Array], true: Sequence[Array], head: str) -> Iterator[View]:
    """What lost an axis because the part that has it is missing: it would fit by broadcasting."""
    if all(r.ndim == t.ndim and r.size < t.size for r, t in zip(observed, true, strict=True)) and all(
        n in (1, m)
        for r, t in zip(observed, true, strict=True)
        for n, m in zip(r.shape, t.shape, strict=True)
    ):
        spread = tuple(np.broadcast_to(r, t.shape) for r, t in zip(observed, true, strict=True))
        yield View("shape", f"{head}: an axis of length 1 stands for a whole one", spread, 1.0)


def unsummed(observed: Sequence[Array], true: Sequence[Array]) -> Iterator[tuple[int, ...]]:
    """Axes of what was returned over which it only has to be summed."""
    more = observed[0].ndim - true[0].ndim
    if more > 0 and all(o.ndim == observed[0].ndim for o in observed):
        for axes in combinations(range(observed[0].ndim), more):
            whole = all(o.shape[a] > 1 for o in observed for a in axes)  # else it is a kept axis
            if whole and all(_equal(o.sum(axis=axes), t) for o, t in zip(observed, true, strict=True)):
                yield axes


def _permuted(observed: Sequence[Array], true: Sequence[Array], head: str) -> Iterator[View]:
    count = true[0].ndim
    if count < 2 or any(r.ndim != count for r in observed):
        return
    for order in permutations(range(count)):
        turned = tuple(r.transpose(order) for r in observed)
        if all(r.shape == t.shape for r, t in zip(turned, true, strict=True)):
            yield View("transpose", f"{head}: it is transposed", turned, 1.0)


def _with_more(
    wanted: Tensor, observed: Sequence[Array], points: Sequence[Point], head: str
) -> Iterator[View]:
    """Axes that should have been summed away."""
    ranges = _named(observed, points)
    if ranges is None:
        return
    extra = [r for r in ranges if r not in wanted.axes]
    if len(extra) != len(set(extra)) or len(ranges) - len(extra) != len(wanted.axes) or not extra:
        return
    axes = tuple(place for place, r in enumerate(ranges) if r in extra)
    summed = tuple(r.sum(axis=axes) for r in observed)
    names = " and ".join(range_words(r.name) for r in extra)
    if tuple(r for r in ranges if r not in extra) != wanted.axes:
        return
    yield View("missing_sum", f"{head}: it is not summed over {names}", summed, 1.0)


def _with_less(
    wanted: Tensor, observed: Sequence[Array], points: Sequence[Point], head: str
) -> Iterator[View]:
    """Axes that were summed away although they stay."""
    ranges = _named(observed, points)
    if ranges is None or observed[0].ndim >= len(wanted.axes):
        return
    gone = [r for r in wanted.axes if r not in ranges]
    if len(gone) + len(ranges) != len(wanted.axes):
        return
    names = " and ".join(range_words(r.name) for r in gone)
    yield View("extra_sum", f"{head}: it is summed over {names}, which must stay", None, 1.1)


def _named(observed: Sequence[Array], points: Sequence[Point]) -> tuple[Range, ...] | None:
    """The range of each axis, read off the sizes at all points; None where that is ambiguous."""
    count = observed[0].ndim
    if any(r.ndim != count for r in observed):
        return None
    names: list[Range] = []
    for place in range(count):
        fits = [
            r
            for r in points[0].env.sizes
            if all(a.shape[place] == p.env.sizes.get(r) for a, p in zip(observed, points, strict=True))
        ]
        if len(fits) != 1:
            return None
        names.append(fits[0])
    return tuple(names)


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def collapsed(wanted: Tensor, observed: Sequence[Array], true: Sequence[Array]) -> Iterator[tuple[int, ...]]:
    """Axes over which the true gradient was summed, if what was returned is that sum."""
    count = len(wanted.axes)
    for gone in range(1, count + 1):
        for axes in combinations(range(count), gone):
            for keepdims in (False, True):
                sums = [t.sum(axis=axes, keepdims=keepdims) for t in true]
                if all(_equal(o, s) for o, s in zip(observed, sums, strict=True)):
                    yield axes


def _equal(returned: Array, total: Array) -> bool:
    scale = max(float(abs(total).max(initial=0.0)), 1e-12)
    return returned.shape == total.shape and float(abs(total - returned).max(initial=0.0)) <= 1e-8 * scale


def summed_away(wanted: Tensor, observed: Sequence[Array], axes: tuple[int, ...]) -> str:
    """Words for a gradient that lost axes."""
    names = " and ".join(range_words(wanted.axes[a].name) for a in axes)
    shape = _shape(observed[0].shape)
    return f"d{wanted.name} has the shape {shape}: it is summed over {names}, which must stay"
