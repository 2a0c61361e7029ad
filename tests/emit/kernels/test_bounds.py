"""A compiled step touches no byte beside the arrays that it is given: pages around them are forbidden."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from tests.emit.kernels.networks import CLIPPED, Case, assert_same, two_layers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="protects pages as Linux does")
PAGE = mmap.PAGESIZE
NONE, READ_WRITE = 0, 3


class Fenced:
    """Copies of arrays that end, or begin, where a page begins that nobody may touch."""

    def __init__(self, at_end: bool) -> None:
        self.at_end = at_end
        self.blocks: list[tuple[mmap.mmap, int, int]] = []
        self.protect = ctypes.CDLL(None).mprotect
        self.protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def __call__(self, array: np.ndarray) -> np.ndarray:
        array = np.ascontiguousarray(array)
        pages = -(-max(array.nbytes, 1) // PAGE)
        block = mmap.mmap(-1, (pages + 2) * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = np.frombuffer(block, np.uint8)
        start = PAGE + (pages * PAGE - array.nbytes if self.at_end else 0)
        copy = whole[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        for page in (0, (pages + 1) * PAGE):
            assert self.protect(whole.ctypes.data + page, PAGE, NONE) == 0
        self.blocks.append((block, whole.ctypes.data, (pages + 2) * PAGE))
        return copy

    def open(self) -> None:
        """Allow everything again, so that the memory can be given back."""
        for _, address, size in self.blocks:
            self.protect(address, size, READ_WRITE)


def fence(step, fenced):
    """Let the step work on fenced copies of everything that its caller hands it."""
    call = step._call

    def inside(arrays, order, batch, before, numbers, losses, *asked):
        own = fenced(losses)
        taken = call([fenced(a) for a in arrays], fenced(order), batch, before, fenced(numbers), own, *asked)
        losses[:] = own
        return taken

    step._call = inside
    step._totals = fenced(step._totals)
    # The arena begins at a vector's boundary, so it ends within a vector of the forbidden page.
    size = -(-step.arena.nbytes // 64) * 64 // step.arena.itemsize
    step.arena = fenced(np.concatenate([step.arena, np.zeros(size - step.arena.size, step.arena.dtype)]))


def assert_touches_nothing_else(case, step, at_end):
    """The step is right, on arrays that begin or end where nobody may read or write."""
    fenced = Fenced(at_end)
    fence(step, fenced)
    try:
        assert_same(case, step)
    finally:
        fenced.open()


@settings(max_examples=12, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 40)] * 2, st.integers(2, 40)),
    rows=st.integers(1, 90),
    batch=st.integers(1, 90),
    at_end=st.booleans(),
    threads=st.sampled_from([1, 2]),
    dtype=st.sampled_from([np.float32, np.float64]),
    activation=st.sampled_from(["relu", "gelu", "batch norm"]),
    loss=st.sampled_from(["softmax", "weighted", "mse", "hinge", "penalty"]),
    rule=st.sampled_from(["sgd", CLIPPED]),
)
def test_nothing_beside_the_arrays_is_touched(
    sizes, rows, batch, at_end, threads, dtype, activation, loss, rule
):
    program = two_layers(activation, loss)
    case = Case(program, sizes, rows=rows, batch=min(batch, rows), rule=rule, dtype=dtype)
    step = case.compile(threads=threads, zone=0)
    fenced = Fenced(at_end)
    fence(step, fenced)
    try:
        if activation == "batch norm" and dtype == np.float32 and case.batch < 8:
            # The variance of a few rows that nearly agree has no digits of float32 to compare.
            case.run(step)
        else:
            assert_same(case, step)
    finally:
        fenced.open()
