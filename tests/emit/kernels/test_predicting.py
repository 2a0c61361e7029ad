"""Compiled forward passes against NumPy's, between red zones; what places machine code without LLVM."""

from __future__ import annotations

import contextlib
import ctypes
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from chalkgrad.emit.kernels import linking, machine, rows, targets
from chalkgrad.emit.kernels.forward import FEW, write_forward
from chalkgrad.emit.kernels.predicting import CompiledForward, _loaded
from chalkgrad.emit.kernels.recognise import forward_operations
from chalkgrad.emit.kernels.rows import Places
from chalkgrad.errors import DataError, ShapeError, UnsupportedError
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.train import network as network_module
from chalkgrad.train import threads
from chalkgrad.train.architecture import ACTIVATIONS, probabilities_program
from chalkgrad.train.emitted import compiled_forward, forward_code
from chalkgrad.train.network import Network
from tests.emit.kernels.networks import ACTIVATIONS as LINES
from tests.emit.kernels.test_kernels import RED, red_zones_hold, zoned
from tests.emit.kernels.test_machine import PROCESSORS

ROOT = Path(__file__).resolve().parents[3]
CLOSE = {np.float32: 1e-5, np.float64: 1e-12}
sizes = st.lists(
    st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 256, 512]), min_size=1, max_size=3
)


def assert_predicts(program, x, params):
    """All that is read or written stands between red zones; the compiled pass gives NumPy's output."""
    dtype = x.dtype.type
    (expected,) = forward_code(program)({"x": x, **params})
    held = {name: zoned(value, dtype) for name, value in params.items()}
    views = {name: view.reshape(params[name].shape) for name, (_, view) in held.items()}
    forward = CompiledForward(program, "x", views, x.shape[1])
    whole_x, view_x = zoned(x, dtype)
    whole_out, out = zoned(np.zeros(expected.shape), dtype)
    forward(view_x.reshape(x.shape), out.reshape(expected.shape))
    np.testing.assert_allclose(out.reshape(expected.shape), expected, rtol=CLOSE[dtype], atol=CLOSE[dtype])
    assert red_zones_hold(whole_x, view_x)
    assert red_zones_hold(whole_out, out)
    for whole, view in held.values():
        assert red_zones_hold(whole, view)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([1, 2, 5, 63, 256, 300, 512, 784]), sizes, st.integers(2, 18), st.integers(1, 40),
    st.sampled_from([np.float32, np.float64]), st.integers(0, 99),
)  # fmt: skip
def test_any_network(features, hidden, classes, count, dtype, seed):
    network = Network((features, *hidden, classes), seed=seed, dtype=dtype)
    network.flat += np.random.default_rng(seed).standard_normal(network.flat.size).astype(dtype) / 10
    x = np.random.default_rng(seed).standard_normal((count, features)).astype(dtype)
    assert_predicts(probabilities_program(network.layers, "relu"), x, network.params)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_activation(activation, dtype):
    network = Network((20, 33, 12, 5), activation=activation, dtype=dtype)
    x = np.random.default_rng(1).standard_normal((50, 20)).astype(dtype)
    assert_predicts(probabilities_program(3, activation), x, network.params)


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 70])
def test_statistics_of_a_row(count):
    """Layer norm: numbers of a row that later lines read, and scalars such as 1/H."""
    text = f"f1[i,h1] = sum(d, x[i,d] * W1[d,h1]) + b1[h1]\n{LINES['layer norm']}\n"
    program = read_formula(text + "f2[i,k] = sum(h1, a1[i,h1] * W2[h1,k]) + k")
    draw = np.random.default_rng(2).standard_normal
    params = {"W1": draw((30, 21)), "b1": draw(21), "g1": draw(21), "e1": draw(21), "W2": draw((21, 9))}
    assert_predicts(program, draw((count, 30)), params)


def test_a_chunk_more_or_less():
    network = Network((40, 24, 3))
    found = forward_operations(probabilities_program(2, "relu"), "x")
    ranges = {t.axes[n]: s for t in found.parameters for n, s in enumerate(network.params[t.name].shape)}
    chunk = Places(targets.host(), ranges, found).chunk
    for count in (chunk - 1, chunk, chunk + 1, 2 * chunk + 5):
        x = np.random.default_rng(count).standard_normal((count, 40), np.float32)
        assert_predicts(probabilities_program(2, "relu"), x, network.params)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", PROCESSORS)
def test_compiles_for(name, double):
    from llvmlite import binding

    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    make, triple, cpu, features = PROCESSORS[name]
    network = Network((37, 50, 10), activation="tanh")
    found = forward_operations(probabilities_program(2, "tanh"), "x")
    ranges = {t.axes[n]: s for t in found.parameters for n, s in enumerate(network.params[t.name].shape)}
    code, _ = write_forward(make(triple, cpu, features, double), ranges, found)
    assert code[:4] == (b"\xcf\xfa\xed\xfe" if "apple" in triple else b"\x7fELF")


@pytest.mark.parametrize(
    "text",
    [
        "m[d] = mean(i, x[i,d])\nf[i,h] = sum(d, (x[i,d] - m[d]) * W[d,h])",  # a statistic of all rows
        "f[i,d] = relu(x[i,d]) + sum(e, x[i,e] * W[e,d])",  # the rows read otherwise than by a product
        "f[i] = sum(d, x[i,d] * W[d,d])",
    ],
)
def test_what_it_does_not_cover_is_refused(text):
    with pytest.raises(UnsupportedError):
        CompiledForward(read_formula(text), "x", {"W": np.eye(4)}, 4)
    assert compiled_forward(read_formula(text), "x", {"W": np.eye(4)}, 4) is None


def test_parameters_that_do_not_fit():
    program = read_formula("f[i,h] = sum(d, x[i,d] * W[d,h]) + b[h]")
    with pytest.raises(ShapeError, match="where H is 3"):
        CompiledForward(program, "x", {"W": np.ones((2, 3)), "b": np.ones(4)}, 2)
    with pytest.raises(ShapeError, match="of one type"):
        CompiledForward(program, "x", {"W": np.ones((2, 3)), "b": np.ones(3, np.float32)}, 2)


def test_threads_have_memory_of_their_own():
    network = Network((12, 40, 6), dtype=np.float64)
    forward = CompiledForward(probabilities_program(2, "relu"), "x", network.params, 12)
    inputs = [np.random.default_rng(n).standard_normal((1 + 20 * (n % 2), 12)) for n in range(4)]
    wrong: list[int] = []

    def work(n):
        (expected,) = network.probabilities_code({"x": inputs[n], **network.params})
        for _ in range(200):
            out = np.empty_like(expected)
            forward(inputs[n], out)
            if not np.allclose(out, expected, rtol=1e-12):
                wrong.append(n)

    helpers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for helper in helpers:
        helper.start()
    for helper in helpers:
        helper.join()
    assert not wrong


def test_weights_that_no_cache_holds(monkeypatch):
    """More rows go by at a time; the panels of a weight are read for all of them."""
    monkeypatch.setattr(rows, "FAR", 1)
    _loaded.cache_clear()
    network = Network((256, 70, 3))
    program = probabilities_program(2, "relu")
    found = forward_operations(program, "x")
    ranges = {t.axes[n]: s for t in found.parameters for n, s in enumerate(network.params[t.name].shape)}
    many = Places(targets.host(), ranges, found).chunk
    assert many >= rows.MANY
    monkeypatch.setenv("CHALKGRAD_CACHE", "")
    x = np.random.default_rng(1).standard_normal((2 * many + 5, 256), np.float32)
    assert_predicts(program, x, network.params)
    _loaded.cache_clear()


@pytest.fixture
def several_threads(monkeypatch):
    """Every prediction of more than a few rows is shared by three threads, few rows at a time."""
    monkeypatch.setattr(network_module, "FEWEST", 5)
    monkeypatch.setattr(network_module, "CALL", 1)
    monkeypatch.setattr(threads, "WORTH", 0)
    monkeypatch.setattr(threads, "WORTH_ASKING", 0)
    monkeypatch.setattr(threads, "available", lambda: 3)
    monkeypatch.setattr(threads, "limited", contextlib.nullcontext)


def compiled_network():
    network = Network((12, 40, 6), dtype=np.float64)
    network._predicted = network_module.WORTH_COMPILING
    return network


def test_threads_share_the_rows_of_a_prediction(several_threads):
    network, x = compiled_network(), np.random.default_rng(1).standard_normal((501, 12))
    for _ in range(20):
        found = network.predict_proba(x)
        network.flat[::7] *= 1.01
        (expected,) = network.probabilities_code({"x": x, **network.params})
        again = network.predict_proba(x)
        np.testing.assert_allclose(again, expected, rtol=1e-11)
        assert np.abs(again - found).max() > 0
    parts = [network.predict_proba(x[at : at + 5]) for at in range(0, 501, 5)]
    np.testing.assert_array_equal(np.concatenate(parts), again)


def test_the_first_row_that_is_not_finite_is_named(several_threads):
    network, x = compiled_network(), np.random.default_rng(1).standard_normal((501, 12))
    x[[77, 81, 300, 490], 3] = np.nan
    for _ in range(20):
        with pytest.raises(DataError, match="Feature 3 of row 77 is nan"):
            network.predict_proba(x)


def test_ctrl_c_ends_a_prediction_in_all_threads(several_threads, monkeypatch):
    network, x = compiled_network(), np.ones((100_000, 12))
    seen, finite = [], Network._finite

    def pressed(self, rows, first):
        seen.append(first)
        if threading.current_thread() is threading.main_thread() and first > 500:
            raise KeyboardInterrupt
        return finite(self, rows, first)

    monkeypatch.setattr(Network, "_finite", pressed)
    with pytest.raises(KeyboardInterrupt):
        network.predict_proba(x)
    assert len(seen) < 10_000


def test_a_network_takes_machine_code_when_that_pays():
    network = Network((6, 9, 4), dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((3, 6))
    (expected,) = network.probabilities_code({"x": x, **network.params})
    calls = network_module.WORTH_COMPILING // network_module.ONE_CALL
    for call in range(calls + 2):
        assert ("_compiled" in vars(network)) == (call >= calls)
        np.testing.assert_allclose(network.predict_proba(x), expected, rtol=1e-12)
    network.flat *= 2  # weights are read anew
    (expected,) = network.probabilities_code({"x": x, **network.params})
    np.testing.assert_allclose(network.predict_proba(x), expected, rtol=1e-12)
    copy = pickle.loads(pickle.dumps(network))
    assert "_compiled" not in vars(copy)
    np.testing.assert_allclose(copy.predict_proba(x), expected, rtol=1e-12)


# --- code in memory without LLVM ----------------------------------------------------------------------


def object_of(network):
    found = forward_operations(probabilities_program(network.layers, network.activation), "x")
    ranges = {t.axes[n]: s for t in found.parameters for n, s in enumerate(network.params[t.name].shape)}
    return write_forward(targets.host(), ranges, found)


def run(address, numbers, network, x):
    table = np.array([p.ctypes.data for p in network.params.values()], np.int64)
    blocks = [np.zeros(count + 16, np.float32) for count in numbers]
    memory, panels = (block.ctypes.data + -block.ctypes.data % 64 for block in blocks)
    out = np.full((len(x), network.sizes[-1]), RED, np.float32)
    kinds = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 4]
    predict = ctypes.CFUNCTYPE(None, *kinds)(address)
    for count in (0, len(x)):
        predict(x.ctypes.data, count, out.ctypes.data, memory, panels, table.ctypes.data)
    return out


ELF = pytest.mark.skipif(sys.platform != "linux" or not targets.host().x86, reason="ELF for x86-64")


@ELF
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_both_linkers_place_the_same_code(activation):
    network = Network((30, 40, 7), activation=activation)
    code, numbers = object_of(network)
    x = np.random.default_rng(1).standard_normal((33, 30), np.float32)
    placed = linking.load(code, "chalkgrad_predict")
    assert placed is not None
    by_llvm = machine.linked(code, "chalkgrad_predict")
    np.testing.assert_array_equal(run(placed[1], numbers, network, x), run(by_llvm[1], numbers, network, x))


@ELF
def test_what_is_not_known_is_left_to_llvm():
    code, _ = object_of(Network((3, 4, 2)))
    assert linking.load(b"MZ" + code[2:], "chalkgrad_predict") is None
    assert linking.load(code[:18] + b"\xb7\x00" + code[20:], "chalkgrad_predict") is None  # another machine
    head = linking.HEADER.unpack_from(code)
    for n in range(head[12]):
        at = head[6] + n * linking.SECTION.size
        section = list(linking.SECTION.unpack_from(code, at))
        if section[1] == linking.RELOCATIONS:
            odd = bytearray(code)
            about = section[4] + 8  # the kind of the first relocation: an absolute address
            odd[about : about + 4] = b"\x01\0\0\0"
            assert linking.load(bytes(odd), "chalkgrad_predict") is None
        if section[2] & linking.IN_MEMORY:
            section[2] |= linking.WRITABLE
            odd = bytearray(code)
            linking.SECTION.pack_into(odd, at, *section)
            assert linking.load(bytes(odd), "chalkgrad_predict") is None


SECOND = """
import sys, numpy as np
from chalkgrad.train.engines import make_engine
from chalkgrad.train.network import Network
from chalkgrad.train.optimisers import Optimiser

network = Network((8, 9, 3))
data = {"x": np.ones((16, 8), np.float32), "y": np.zeros(16, np.int64)}
losses = np.empty(1)
make_engine("llvm", network, Optimiser("adam"), data, 16).run(np.arange(16)[None], losses, 1e-3)
network.predict_proba(np.ones((2_000_000, 8), np.float32))
print("_compiled" in vars(network), "llvmlite.binding" in sys.modules, "chalkgrad.diff.derive" in sys.modules)
"""


@ELF
def test_the_second_process_loads_no_compiler():
    said = [
        subprocess.run([sys.executable, "-c", SECOND], cwd=ROOT, capture_output=True, text=True, check=False)
        for _ in range(2)
    ]
    assert [done.stdout for done in said] == ["True True True\n", "True False False\n"], said[0].stderr
