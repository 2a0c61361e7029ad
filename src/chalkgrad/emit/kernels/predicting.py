"""A compiled forward pass as an object: rows in, outputs out."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.emit.disk_cache import structure
from chalkgrad.emit.kernels import machine
from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.emit.kernels.layout import allocate
from chalkgrad.emit.kernels.recognise import forward_operations
from chalkgrad.emit.kernels.targets import host
from chalkgrad.errors import ShapeError
from chalkgrad.expr.nodes import Program

Array = NDArray[Any]


FEW = 4
"""Up to so many rows are copied to where the code finds them: asking NumPy for an address takes longer."""


class _Own(threading.local):
    """What each thread has for itself: memory to work in, places for few rows, their outputs, addresses."""

    kept: Array
    rows: list[Array]
    outs: list[Array]
    source = goal = memory = 0


class CompiledForward:
    """A forward pass whose parameters are read anew in every call; each thread has memory of its own.

    For more than `FEW` rows the weights lie in panels, which all threads read; `read` copies them there for
    any number of calls `as_read`.

    Args:
        program: With one output, a row per row.
        rows: The input that changes from call to call.
        values: The parameters: contiguous arrays of one type, float32 or float64, which stay where they are.
        columns: How many numbers a row has.

    Raises:
        MissingExtraError: When llvmlite is not installed.
        UnsupportedError: When the formula has a line that no kernel covers.
        ShapeError: When the parameters do not fit each other.

    Example:
        >>> from chalkgrad.frontend.text_formula import read_formula
        >>> line = read_formula("f[i,h] = sum(d, x[i,d] * W[d,h])")
        >>> forward, out = CompiledForward(line, "x", {"W": np.eye(2)}, 2), np.empty((1, 2))
        >>> forward(np.array([[3.0, 4.0]]), out)
        >>> out.tolist()
        [[3.0, 4.0]]
    """

    def __init__(self, program: Program, rows: str, values: Mapping[str, Array], columns: int) -> None:
        parameters = [values[t.name] for t in program.inputs if t.name != rows]
        shapes = [(t.name, values[t.name].shape) for t in program.inputs if t.name != rows]
        self.dtype = parameters[0].dtype
        if any(p.dtype != self.dtype or not p.flags.c_contiguous for p in parameters):
            raise ShapeError("The compiled forward pass reads contiguous arrays of one type.")
        self._kept, address, self._numbers, shared = _loaded(
            program, rows, tuple(shapes), columns, self.dtype == np.float64
        )
        kinds = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 4]
        self._run = ctypes.CFUNCTYPE(None, *kinds)(address)
        self._values = parameters  # what the addresses point to stays as long as they do
        self._table = np.array([p.ctypes.data for p in parameters], np.int64)
        self._at = self._table.ctypes.data
        # Zeros: what pads a row to whole vectors is never written.
        self._panels = allocate(shared, self.dtype.type)
        self._weights = self._panels.ctypes.data
        self._own = _Own()

    def read(self) -> None:
        """Copy the weights into panels."""
        self._run(None, 0, None, None, self._weights, self._at)

    def __call__(self, rows: Array, out: Array, as_read: bool = False) -> None:
        """The outputs for these contiguous rows, written to `out`. Nothing is checked, for speed.

        Args:
            as_read: Whether the weights are as they were when `read` was called.
        """
        own, count = self._own, len(rows)
        if not own.memory:
            self._prepare(own, rows.shape[1], out.shape[1])
        if count <= FEW:
            own.rows[count][...] = rows
            self._run(own.source, count, own.goal, own.memory, self._weights, self._at)
            out[...] = own.outs[count]
        else:
            if not as_read:
                self.read()
            source, goal = (a.__array_interface__["data"][0] for a in (rows, out))
            self._run(source, count, goal, own.memory, self._weights, self._at)

    def _prepare(self, own: _Own, columns: int, across: int) -> None:
        own.kept = allocate(self._numbers, self.dtype.type)
        source, goal = np.empty((FEW, columns), self.dtype), np.empty((FEW, across), self.dtype)
        own.rows, own.outs = ([a[:n] for n in range(FEW + 1)] for a in (source, goal))
        own.source, own.goal, own.memory = (a.ctypes.data for a in (source, goal, own.kept))


@lru_cache(256)
def _loaded(
    program: Program, rows: str, shapes: tuple[tuple[str, tuple[int, ...]], ...], columns: int, double: bool
) -> tuple[Any, int, int, int]:
    """What keeps the code in memory, its address, and how many numbers each thread and all threads need."""
    target = host(double)
    key = machine.key(structure(("forward", program, rows, shapes, columns)), target)
    content = machine.read_cached(key + ".forward")
    if content is None:
        content = _written(program, rows, dict(shapes), columns, target)
        machine.write_cached(key + ".forward", content)
    numbers, _, code = content.partition(b"\n")
    own, shared = map(int, numbers.split())
    return *machine.load(code, PREFIX + "predict"), own, shared


def _written(
    program: Program, rows: str, shapes: Mapping[str, tuple[int, ...]], columns: int, target: Any
) -> bytes:
    from chalkgrad.emit.kernels.forward import write_forward  # loaded where no earlier process left the code

    found = forward_operations(program, rows)
    sizes = {found.data[0].axes[1]: columns}
    for t in found.parameters:
        for axis, size in zip(t.axes, shapes[t.name], strict=True):
            if sizes.setdefault(axis, size) != size or size < 1:
                raise ShapeError(
                    f"{t.name} has the shape {shapes[t.name]}, where {axis.name} is {sizes[axis]}."
                )
    code, numbers = write_forward(target, sizes, found)
    return b"%d %d\n" % numbers + code
