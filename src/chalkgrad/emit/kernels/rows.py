"""What predicting needs where rows lie as the user has them: places, and vectors of a row's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.parts import Operations
from chalkgrad.emit.kernels.passes import _combined
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.writer import Writer, whole_constant
from chalkgrad.expr.nodes import Range, Tensor

MOST_SCALARS = 64
"""So many numbers without an index may a formula have."""

NEAR = 1 << 15
"""Numbers of a chunk's widest value, about, so that chunks stay in the second-level cache."""

FAR, MANY = 16 << 20, 128
"""Bytes of weights that no cache holds, and how many rows at least shall go by when they are read."""

SAME_SETS = 1024
"""Bytes from row to row, or a multiple, at which the rows of a tile push each other out of the cache."""


class Places:
    """Where everything lies: in each thread's memory a chunk of every value and copies of the vectors, in
    memory that all threads read the panels of the weights.

    Attributes:
        chunk: Rows that are worked on at a time.
        total: Numbers of a thread's memory.
        shared: Numbers of the panels.
    """

    def __init__(self, target: Target, sizes: Mapping[Range, int], found: Operations) -> None:
        self.target, self.sizes = target, sizes
        widest = max(self.padded(t.axes[-1]) for t in (*found.data, *found.parameters) if t.axes)
        whole = 2 * target.most
        weights = [t for t in found.parameters if len(t.axes) == 2]
        self._panels: dict[Tensor, int] = {}
        self.shared = self.total = 0
        for t in weights:
            self._panels[t] = self.shared
            self.shared += sizes[t.axes[0]] * self.padded(t.axes[1])
        fewest = MANY // whole if self.shared * target.item >= FAR else 1
        self.chunk = max(fewest, NEAR // (widest * whole)) * whole
        self._known: dict[object, int] = {}

    def padded(self, r: Range) -> int:
        """The size in whole vectors."""
        return -(-self.sizes[r] // self.target.lanes) * self.target.lanes

    def pitch(self, r: Range) -> int:
        """From a row of a value to the next one: whole vectors, and not `SAME_SETS`."""
        padded = self.padded(r)
        return padded + self.target.lanes * (padded * self.target.item % SAME_SETS == 0)

    def copied(self, data: Tensor) -> bool:
        """Whether a chunk of the user's rows is copied first, as it lies so that the rows share sets."""
        return self.sizes[data.axes[1]] * self.target.item % SAME_SETS == 0

    def _place(self, key: object, numbers: int) -> int:
        if key not in self._known:
            self._known[key] = self.total
            self.total += -(-numbers // self.target.lanes) * self.target.lanes
        return self._known[key]

    def value(self, t: Tensor) -> int:
        """A value with a row per row of the chunk, or with one number per row."""
        return self._place(t, self.chunk * (self.pitch(t.axes[1]) if len(t.axes) == 2 else 1))

    def vector(self, t: Tensor) -> int:
        """A copy of a parameter with one axis."""
        return self._place(t, self.padded(t.axes[0]))

    def panels(self, t: Tensor) -> int:
        """A weight in panels of columns, in the shared memory."""
        return self._panels[t]

    def scalars(self) -> int:
        """Numbers without an index."""
        return self._place("scalars", MOST_SCALARS)

    def sums(self, kind: str, numbers: int) -> int:
        """Sums that are not complete yet."""
        return self._place((kind, numbers), numbers)


def add_rows(w: Writer, factors: list[Any], start: Any, sums: Any, columns: int) -> None:
    """sums[h] += Σ_n factors[n] · start[n · columns + h]; nothing past the last column is read."""
    lanes = w.target.lanes
    whole = columns // lanes * lanes

    def add(h: Any, load: Callable[[Any], Any]) -> None:
        total = w.load(sums, h)
        for n, factor in enumerate(factors):
            total = w.fma(load(w.at(start, n * columns, h)), factor, total)
        w.store(total, sums, h)

    if whole:
        with w.loop(0, whole, lanes) as h:
            add(h.index, lambda place: w.load(place, aligned=False))
    if columns % lanes:
        add(whole, lambda place: partial(w, place, columns % lanes))


def partial(w: Writer, place: Any, used: int) -> Any:
    """The first `used` numbers at an address and zeros; no others are touched."""
    mask = first_lanes(w, used)
    name = f"llvm.masked.load.v{w.target.lanes}f{8 * w.target.item}.p0"
    known = w.module.globals.get(name) or ir.Function(
        w.module,
        ir.FunctionType(w.vector, [w.vector.as_pointer(), ir.IntType(32), mask.type, w.vector]),
        name,
    )
    where = w.b.bitcast(place, w.vector.as_pointer())
    return w.b.call(known, [where, whole_constant(w.target.item, 32), mask, w.splat(0.0)])


def first_lanes(w: Writer, used: int) -> Any:
    """Which lanes count, where the first `used` do."""
    lanes = w.target.lanes
    return ir.Constant(ir.VectorType(ir.IntType(1), lanes), [int(n < used) for n in range(lanes)])


def across_lanes(w: Writer, op: str, value: Any) -> Any:
    """The sum, or the largest or smallest, of all lanes, in all lanes."""
    lanes, half = w.target.lanes, w.target.lanes // 2
    while half:
        order = [(n + half) % lanes for n in range(lanes)]
        value = _combined(w, op, value, w.shuffle(value, value, order))
        half //= 2
    return value


def copy_row(w: Writer, source: Any, goal: Any, numbers: int) -> None:
    """So many numbers from one place to another, of which neither need lie on a vector's boundary."""
    lanes = w.target.lanes
    whole = numbers // lanes * lanes
    if whole:
        with w.loop(0, whole, lanes) as n:
            place = w.b.bitcast(w.at(goal, n.index), w.vector.as_pointer())
            w.b.store(w.load(source, n.index, aligned=False), place, align=w.target.item)
    for last in range(whole, numbers):
        w.b.store(w.number_at(source, last), w.at(goal, last))
