"""Where everything lies in the step's one block of memory, and copying between it and plain arrays.

Four layouts, with P the width of a panel and L the lanes of a vector:

    features   value[i,h]   panels of P observations:  [i // P][h][i % P]
    turned     value[i,h]   panels of P columns:       [h // P][i][h % P], the last panel narrower
    columns    weight[d,h]  the same, with d for i; a flipped weight as if it were weight[h,d]
    rows       value[i], vector[h]                      contiguous

Where products are of bfloat16, their operands lie beside these in words of two numbers (`Layout.packed`):

    pairs      value[i,h]   [i // P][h // 2][i % P]     words of h and h + 1
               weight[d,h]  [h // P][d // 2][h % P]     words of d and d + 1
    halves     value[i,h]   [i // P][h][i % P // 2]     words of i and i + 1
               weight[d,h]  [h // P][d][h % P // 2]     words of h and h + 1
    turned     value[i,h]   [h // P][i // 2][h % P]     words of i and i + 1

Which weights are flipped is decided in `orientation`. The last panel of columns is as narrow as whole
vectors allow. Sizes are padded to whole vectors; what lies in the padding is never read as a term of a sum.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.emit.kernels.targets import Target
from chalkgrad.errors import ShapeError
from chalkgrad.expr.nodes import Range, Tensor

Array = NDArray[Any]
ZONE = 16
"""Numbers between buffers, so that a tile that ran over would be seen and no two share a line."""


PAGE = 4096
HUGE = 2 << 20

PAIRS, HALVES, TURNED = "pairs", "halves", "turned"
"""How the operands of products of bfloat16 lie."""

NEAR = 16
"""Rows of a weight that are copied together: read as they lie, a line of each panel after the other. Panel by
panel, which reads one line of every row, takes three times as long."""


class Panels:
    """A range of `size` columns cut into panels: `full` ones and perhaps a last one of `last` vectors."""

    def __init__(self, size: int, target: Target) -> None:
        self.size = size
        self.full, self.rest = divmod(size, target.panel)
        self.last = -(-self.rest // target.lanes)
        self.panel, self.lanes = target.panel, target.lanes

    @property
    def padded(self) -> int:
        """The size in whole vectors."""
        return self.full * self.panel + self.last * self.lanes

    @property
    def count(self) -> int:
        return self.full + (self.last > 0)

    def parts(self) -> list[tuple[int, int, int, int]]:
        """(first panel, panels, vectors, columns) of the full panels and of the last one."""
        parts = []
        if self.full:
            parts.append((0, self.full, self.panel // self.lanes, self.panel))
        if self.last:
            parts.append((self.full, 1, self.last, self.rest))
        return parts


class Layout:
    """Offsets of all buffers, handed out as they are asked for.

    Args:
        target: The machine.
        sizes: The size of every range.
        batch: The range of the observations; its size is the capacity.
        zone: Numbers left free between buffers.

    Attributes:
        flipped: The names of the weights that lie flipped.
    """

    def __init__(self, target: Target, sizes: Mapping[Range, int], batch: Range, zone: int = ZONE) -> None:
        self.target, self.sizes, self.batch = target, sizes, batch
        self.blocks = -(-sizes[batch] // target.panel)
        self.capacity = self.blocks * target.panel
        self.zone = -(-zone // target.lanes) * target.lanes
        self.flipped: frozenset[str] = frozenset()
        self.places: dict[tuple[str, str], tuple[int, int]] = {}
        self.total = self.zone

    def stored(self, weight: Tensor) -> tuple[Range, Range]:
        """The ranges of its rows and of its columns as it lies in memory."""
        rows, columns = weight.axes
        return (columns, rows) if weight.name in self.flipped else (rows, columns)

    def panels(self, r: Range) -> Panels:
        return Panels(self.sizes[r], self.target)

    def padded(self, r: Range) -> int:
        """The size in whole vectors, with room for whole tiles of the tallest kind.

        It is never a stride of whole pages: such rows share cache sets.
        """
        lanes, most = self.target.lanes, self.target.most
        tiles = -(-self.sizes[r] // most) * most
        padded = max(self.panels(r).padded, -(-tiles // lanes) * lanes)
        return padded + lanes * (padded * self.target.panel * self.target.item % PAGE == 0)

    def features(self, t: Tensor) -> int:
        return self._place("features", t.name, t.role, self.capacity * self.padded(t.axes[1]))

    def turned(self, t: Tensor) -> int:
        return self._place("turned", t.name, t.role, self.capacity * self.padded(t.axes[1]))

    def rows(self, t: Tensor) -> int:
        return self._place("rows", t.name, t.role, self.capacity)

    def vector(self, t: Tensor) -> int:
        """One number per column: a parameter, or a statistic of the batch."""
        if t.role == "input":
            return self.parameter(t)
        return self._place("vector", t.name, t.role, self.padded(t.axes[0]))

    def packed(self, kind: str, t: Tensor) -> int:
        """The words of a value or a weight; see above."""
        rows = self.capacity if t.axes[0] is self.batch else self.padded(t.axes[0])
        return self._place(f"packed {kind}", t.name, t.role, rows * self.padded(t.axes[1]) // 2)

    def parameter(self, t: Tensor, memory: str = "") -> int:
        """A weight in columns or a vector; with `memory`, the optimiser's array beside it."""
        numbers = 1
        for axis in t.axes:
            numbers *= self.padded(axis)
        return self._place("parameter " + memory, t.name, t.role, numbers)

    def _place(self, kind: str, name: str, role: str, numbers: int) -> int:
        key = (kind, f"{role} {name}")
        if key not in self.places:
            self.places[key] = (self.total, numbers)
            lanes = self.target.lanes
            self.total += -(-numbers // lanes) * lanes + self.zone
        return self.places[key][0]

    def pieces(self, arena: Array, t: Tensor, value: Array, memory: str = "") -> list[tuple[Array, Array]]:
        """What to copy between a weight or vector of the user and its panels: pairs of views, ours first.

        Raises:
            ShapeError: When its shape is another one.
        """
        shape = tuple(self.sizes[r] for r in t.axes)
        if value.shape != shape:
            raise ShapeError(f"{t.name} has the shape {value.shape}; the step was compiled for {shape}.")
        place = self.parameter(t, memory)
        if len(shape) == 1:
            return [(arena[place : place + shape[0]], value)]
        inner, outer = self.stored(t)
        value = value.T if t.name in self.flipped else value
        rows, padded = len(value), self.padded(inner)
        views, panel = [], self.target.panel
        for first, count, vectors, columns in self.panels(outer).parts():
            width, start = vectors * self.target.lanes, place + first * panel * padded
            own = arena[start : start + count * padded * width].reshape(count, padded, width)[..., :columns]
            theirs = value[:, first * panel : first * panel + count * columns]
            theirs = theirs.reshape(rows, count, columns).transpose(1, 0, 2)
            if columns == width and theirs.strides[2] == theirs.itemsize:
                # A row of a panel as one thing, which NumPy copies twice as fast as so many numbers.
                own, theirs = (a.view(f"V{a.itemsize * width}") for a in (own, theirs))
            for row in range(0, rows, NEAR):
                views.append((own[:, row : min(row + NEAR, rows)], theirs[:, row : row + NEAR]))
        return views


def allocate(numbers: int, dtype: type[Any]) -> Array:
    """Zeros on a page boundary, on huge pages where the system offers them."""
    size = -(-numbers * np.dtype(dtype).itemsize // HUGE) * HUGE + HUGE
    if not hasattr(mmap, "MAP_PRIVATE"):
        memory = mmap.mmap(-1, size)
    else:
        # Shared memory, which Python maps unless told otherwise, gets no huge pages.
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # A system without huge pages refuses the advice, which is as good as not giving it.
        with suppress(OSError, ValueError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, dtype)
    skip = -whole.ctypes.data % HUGE // whole.itemsize
    return whole[skip : skip + numbers]
