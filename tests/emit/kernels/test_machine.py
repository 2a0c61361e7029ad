"""Code for processors that are not at hand, and code kept on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from chalkgrad.emit.kernels import machine, targets
from chalkgrad.emit.kernels.layout import Layout, Panels
from chalkgrad.emit.kernels.products import best_rows, block_depth, row_runs
from chalkgrad.emit.kernels.recognise import operations
from chalkgrad.emit.kernels.schedule import schedule
from chalkgrad.emit.kernels.step import write_step
from chalkgrad.emit.kernels.update import Update
from chalkgrad.expr.nodes import Range
from chalkgrad.train.emitted import derived
from chalkgrad.train.optimisers import RULES
from tests.emit.kernels.networks import CLIPPED, Case, assert_same, two_layers

ROOT = Path(__file__).resolve().parents[3]
PROCESSORS = {
    "avx512": (targets.avx512, "x86_64-unknown-linux-gnu", "skylake-avx512", ""),
    "zen4": (targets.avx512, "x86_64-unknown-linux-gnu", "znver4", ""),
    "avx2": (targets.avx2, "x86_64-unknown-linux-gnu", "haswell", ""),
    "neon": (targets.neon, "aarch64-unknown-linux-gnu", "generic", "+neon"),
    "apple": (targets.neon, "arm64-apple-macosx14.0.0", "apple-m1", ""),
}


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize(
    ("batch", "sizes"), [(1, (37, 50, 10)), (64, (37, 50, 10)), (64, (80, 300, 300))], ids=str
)
@pytest.mark.parametrize(("rule", "flipped"), [(RULES["adam"], ()), (CLIPPED, ()), (CLIPPED, ("W1", "W2"))])
def test_compiles_for(name, double, rule, flipped, batch, sizes):
    """The whole step becomes an object file for the processor, at its own vector width."""
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    make, triple, cpu, features = PROCESSORS[name]
    target = make(triple, cpu, features, double).for_batch(batch)
    case = Case(two_layers("tanh", "softmax"), sizes, rows=64, batch=batch)
    found = operations(*derived(case.program, tuple(case.parameters)))
    sizes = {}
    for t in (*found.data, *found.parameters):
        shape = (
            (batch, *case.data[t.name].shape[1:]) if t.name in case.data else case.parameters[t.name].shape
        )
        sizes |= dict(zip(t.axes, shape, strict=True))
    layout = Layout(target, sizes, found.batch)
    layout.flipped = frozenset(flipped)
    order = schedule(found, layout.flipped)
    code = write_step(target, layout, found, order, Update(rule.program, rule.memories), 2)
    magic = b"\xcf\xfa\xed\xfe" if "apple" in triple else b"\x7fELF"
    assert code.code[:4] == magic


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", ["adam", CLIPPED])
@pytest.mark.parametrize("batch", [1, 2, 4, 64])
def test_avx2_code_runs_here(dtype, rule, batch):
    here = targets.host(dtype == np.float64)
    if not here.x86:
        pytest.skip("needs an x86 processor")
    target = targets.avx2(here.triple, "haswell", "", dtype == np.float64)
    case = Case(two_layers("tanh", "softmax"), (37, 50, 10), rows=150, batch=batch, dtype=dtype, rule=rule)
    assert_same(case, case.compile(target=target))


@pytest.mark.parametrize("rule", ["adam", CLIPPED])
def test_avx2_threads_share_columns(rule):
    here = targets.host()
    if not here.x86:
        pytest.skip("needs an x86 processor")
    target = targets.avx2(here.triple, "haswell", "")
    case = Case(two_layers("tanh", "softmax"), (80, 300, 300), rows=150, batch=64, rule=rule)
    assert_same(case, case.compile(target=target, threads=2))


NO_ROOM_SIDE_BY_SIDE = """
import ctypes
from tests.emit.kernels.networks import Case, two_layers, assert_same

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PAGE, NONE, PRIVATE_ANONYMOUS, NORESERVE = 4096, 0, 0x22, 0x4000

case = Case(two_layers("tanh", "softmax"), (9, 12, 3), rows=20, batch=10)
case.compile()  # what loading needs once is mapped now
block = libc.mmap(None, 1 << 20, NONE, PRIVATE_ANONYMOUS, -1, 0)
for at in range(block + PAGE, block + (1 << 20), 2 * PAGE):
    libc.munmap(at, PAGE)  # holes of one page: enough for constants, not for code
far = libc.mmap(None, 4 << 30, NONE, PRIVATE_ANONYMOUS | NORESERVE, -1, 0)
assert far < block
while libc.mmap(None, 3 * PAGE, NONE, PRIVATE_ANONYMOUS, -1, 0) > far:
    pass  # no larger hole is left on this side
assert_same(case, case.compile())
print("same")
"""


@pytest.mark.skipif(sys.platform != "linux" or sys.maxsize < 2**32, reason="maps memory as Linux does")
def test_code_loads_where_its_parts_would_lie_far_apart():
    command = [sys.executable, "-c", NO_ROOM_SIDE_BY_SIDE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "same\n", done.stderr


@pytest.mark.parametrize("make", [targets.avx512, targets.avx2, targets.neon])
@pytest.mark.parametrize("double", [False, True])
def test_tiles_cover_and_stay_in_their_padding(make, double):
    target = make("x86_64", "", "", double)
    batch = Range("N")
    for size in range(1, 400):
        columns = Panels(size, target)
        for _, _, _, width in columns.parts():
            covered = []
            for first, rows, tiles in row_runs(width, target):
                assert 0 < rows <= target.most
                covered += range(first, first + rows * tiles)
            assert covered == list(range(width))
        features = Range("D")
        room = Layout(target, {batch: 1, features: size}, batch).padded(features)
        assert room >= columns.padded
        rows = best_rows(size, room, target.vectors, target)
        assert min(target.rows, size) <= rows <= target.most
        assert size <= -(-size // rows) * rows <= room


@pytest.mark.parametrize("make", [targets.avx512, targets.avx2, targets.neon])
def test_blocks_of_a_sum_are_even_and_whole_panels(make):
    target = make("x86_64", "", "")
    for inner in range(1, 4000, 7):
        each = block_depth(inner, target)
        assert each % target.panel == 0
        assert each <= 1.5 * target.depth + target.panel
        blocks = -(-inner // each)
        assert blocks * each - inner < blocks * target.panel


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("CHALKGRAD_CACHE", str(folder))
    return folder


def test_the_second_step_is_not_compiled(cache, monkeypatch):
    case = Case(two_layers("relu", "mse"), (5, 6, 3), rows=20, batch=10)
    first, _ = case.run(case.compile())
    assert len(list(cache.glob("*.step"))) == 1

    def refuse(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr("chalkgrad.emit.kernels.step.write_step", refuse)
    again, _ = case.run(case.compile())
    assert list(first) == list(again)
    case.batch = 11
    with pytest.raises(AssertionError, match="compiled again"):
        case.compile()


def test_a_changed_network_is_another_step(cache):
    for activation in ("relu", "tanh"):
        case = Case(two_layers(activation, "mse"), (5, 6, 3), rows=20, batch=10)
        assert_same(case, case.compile())
    assert len(list(cache.glob("*.step"))) == 2


def test_damaged_code_is_not_loaded(cache):
    machine.write_cached("a", b"content")
    assert machine.read_cached("a") == b"content"
    path = cache / "a"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert machine.read_cached("a") is None


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs file modes")
def test_what_others_could_have_written_is_not_loaded(cache, tmp_path):
    machine.write_cached("a", b"content")
    (cache / "a").chmod(0o666)
    assert machine.read_cached("a") is None
    (cache / "a").chmod(0o600)
    (cache / "b").symlink_to(cache / "a")
    assert machine.read_cached("b") is None
    cache.chmod(0o777)
    assert machine.cache_folder() is None
    assert machine.read_cached("a") is None
    machine.write_cached("c", b"content")
    assert not (cache / "c").exists()


def test_the_cache_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("CHALKGRAD_CACHE", "")
    machine.write_cached("a", b"content")
    assert machine.cache_folder() is None
    assert machine.read_cached("a") is None


def test_several_writers_leave_one_whole_file(cache):
    machine.cache_folder()
    text = (
        "from chalkgrad.emit.kernels import machine\n"
        "for n in range(200):\n"
        "    machine.write_cached('a', bytes([n % 7]) * 100_000)\n"
        "    found = machine.read_cached('a')\n"
        "    assert found is not None and len(found) == 100_000 and len(set(found)) == 1\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", text]) for _ in range(3)]
    assert [w.wait() for w in writers] == [0, 0, 0]
    assert [p.name for p in cache.iterdir()] == ["a"]
