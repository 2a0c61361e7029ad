"""How one array follows another linearly, measured with a few runs.

An elementwise line, or one that works on each observation by itself, moves an entry of its result by entries
with the same place along some axes only. Along these axes all places are given other values at once: an array
of n·g·c entries that is normalised in each group of each observation takes c runs instead of n·g·c.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chalkgrad.diagnose.span import largest
from chalkgrad.verify.environment import Array

MOST = 100
"""More runs are not made."""

LARGEST = 2000
"""Of arrays with more entries no slopes are measured."""

PRECISE = 1e-10
"""How closely slopes must give what a run gives for values of its own, or there are none."""

FEW = 4
"""With so few entries each is moved by itself."""

Run = Callable[[Array], Array | None]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The axes along which an array and another go together.

    Attributes:
        axes: Those of the one that is moved.
        along: Those of the one that follows.
    """

    axes: tuple[int, ...]
    along: tuple[int, ...]

    def moved(self, array: Array) -> Array:
        """One row per block of the array that is moved."""
        return _rows(array, self.axes)

    def followed(self, array: Array) -> Array:
        """One row per block of the array that follows."""
        return _rows(array, self.along)

    def place(self, number: int, shape: tuple[int, ...]) -> tuple[int | slice, ...]:
        """Where a block lies in the array that is moved."""
        at = np.unravel_index(number, tuple(shape[a] for a in self.axes)) if self.axes else ()
        known = {a: int(n) for a, n in zip(self.axes, at, strict=True)}
        return tuple(known.get(a, slice(None)) for a in range(len(shape)))


def _order(axes: tuple[int, ...], count: int) -> tuple[int, ...]:
    """All axes, these first."""
    return (*axes, *(a for a in range(count) if a not in axes))


def _rows(array: Array, axes: tuple[int, ...]) -> Array:
    blocks = math.prod(array.shape[a] for a in axes)
    return array.transpose(_order(axes, array.ndim)).reshape(blocks, -1)


def _joined(rows: Array, axes: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """The array of this shape that has these rows; or a stack of arrays, along a last axis, of stacks."""
    order = _order(axes, len(shape))
    back = sorted(range(len(shape)), key=order.__getitem__)
    whole = rows.reshape((*(shape[a] for a in order), *rows.shape[2:]))
    return whole.transpose(*back, *range(len(shape), whole.ndim))


@dataclass(frozen=True, slots=True)
class Slopes:
    """How each entry of one array follows each entry of another.

    Attributes:
        blocks: The axes along which they go together.
        each: For every block the entries of the one by those of the other.
        shape: The shape of the one.
        other: The shape of the other.
        size: By how much it moved when it was measured.
    """

    blocks: Blocks
    each: Array
    shape: tuple[int, ...]
    other: tuple[int, ...]
    size: float

    def __matmul__(self, change: Array) -> Array:
        """By how much the one moves, a row per block, if the other changes."""
        return np.asarray((self.each @ self.blocks.moved(change)[..., None])[..., 0])

    def moves(self, change: Array) -> Array:
        """By how much the one moves if the other changes."""
        return _joined(self @ change, self.blocks.along, self.shape)

    def back(self, direction: Array) -> Array:
        """By how much the one moves along a direction with each entry of the other."""
        rows = (self.blocks.followed(direction)[:, None, :] @ self.each)[:, 0, :]
        return _joined(rows, self.blocks.axes, self.other)


def measured(run: Run, here: Array, base: Array) -> Slopes | None:
    """The slopes at a value; None where they take too many runs, or what follows does not do so linearly.

    Args:
        run: What follows for another value; None where that raises.
        here: The value.
        base: What follows from it.
    """
    if not 0 < here.size <= LARGEST:
        return None
    scale = largest(here) or 1.0
    odd = np.random.default_rng(0).uniform(0.5, 1.5, size=here.shape)
    apart = _difference(run, here + scale * odd, base)
    if apart is None:
        return None
    precise = PRECISE * largest(base, apart)
    blocks = _blocks(run, here, scale * odd, base, apart, precise) if here.size > FEW else Blocks((), ())
    count, size = blocks.moved(here).shape
    if size > MOST:
        return None
    each = np.zeros((count, size, size))
    each[:, range(size), range(size)] = scale
    stack = _joined(each, blocks.axes, here.shape)
    columns = []
    for entry in range(size):
        moved = _difference(run, here + stack[..., entry], base)
        if moved is None:
            return None
        columns.append(blocks.followed(moved))
    slopes = Slopes(blocks, np.stack(columns, axis=-1) / scale, base.shape, here.shape, largest(apart))
    # Not a number compares as false: where an entry is none, the slopes are not used.
    if not largest(blocks.followed(apart) - slopes @ (scale * odd)) <= precise:
        return None
    return slopes


def _blocks(run: Run, here: Array, move: Array, base: Array, whole: Array, precise: float) -> Blocks:
    """The axes of equal length along which the first place alone follows the first place, and as it does when
    all are moved."""
    axes, along = list[int](), list[int]()
    for axis, length in enumerate(here.shape):
        others = [a for a, n in enumerate(base.shape) if n == length and a not in along]
        if length < 2 or not others:
            continue
        first = np.zeros(here.shape)
        first.swapaxes(0, axis)[0] = move.swapaxes(0, axis)[0]
        moved = _difference(run, here + first, base)
        if moved is None:
            continue
        for other in others:
            now, then = moved.swapaxes(0, other), whole.swapaxes(0, other)
            if largest(now[1:]) <= precise and largest(now[0] - then[0]) <= precise:
                axes.append(axis)
                along.append(other)
                break
    return Blocks(tuple(axes), tuple(along))


def _difference(run: Run, value: Array, base: Array) -> Array | None:
    """What follows from a value, less what follows now; None where that is not an array like it."""
    found = run(value)
    return None if found is None or found.shape != base.shape else np.asarray(found - base)
