"""Memory is held once: pages of copies go back to the system, and zeros take none."""

from __future__ import annotations

import mmap
import os

import numpy as np
import pytest

from chalkgrad.train.engines import make_engine
from chalkgrad.train.network import Network
from chalkgrad.train.optimisers import Optimiser
from chalkgrad.train.pages import WORTHWHILE, release

LINUX = pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="a system that takes no such advice")


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@LINUX
def test_only_whole_pages_of_the_array_itself_are_given_back() -> None:
    whole = np.ones(WORTHWHILE)
    inside = whole[1001:-1003]
    release(inside)
    assert (whole[:1001] == 1).all()
    assert (whole[-1003:] == 1).all()
    given = np.flatnonzero(inside == 0)
    assert len(given) > len(inside) - 2 * mmap.PAGESIZE // whole.itemsize
    inside[...] = 2.0
    assert inside.sum() == 2.0 * len(inside)


def test_small_and_strided_arrays_stay() -> None:
    small, strided = np.ones(1000), np.ones((WORTHWHILE // 4, 2))[:, 0]
    release(small)
    release(strided)
    assert small.all()
    assert strided.all()


@LINUX
def test_parameters_are_held_once_while_machine_code_trains_them() -> None:
    pytest.importorskip("llvmlite")
    network = Network((3000, 1000, 4))
    before = network.flat.copy()
    x, y = np.ones((8, 3000), np.float32), np.zeros(8, np.int64)
    engine = make_engine("llvm", network, Optimiser("sgd"), {"x": x, "y": y}, 8)
    losses = np.empty(2)
    engine.run(np.arange(8).reshape(2, 4), losses, 1e-9)
    assert not network.flat[2_000_000:2_500_000].any()
    engine.sync()
    np.testing.assert_allclose(network.flat, before, atol=1e-6)


@LINUX
def test_memories_that_nobody_writes_take_no_memory() -> None:
    w = np.ones(1 << 24)
    optimiser, before = Optimiser("adam"), resident()
    optimiser.prepare(w)
    assert resident() - before < w.nbytes / 4
    assert {name: m.shape for name, m in optimiser.memories.items()} == {"m": w.shape, "v": w.shape}
