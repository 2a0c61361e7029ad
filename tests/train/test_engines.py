"""The step that writes into memory made once, against the readable code."""

from __future__ import annotations

import ast
import copy
import os
import pickle
import signal
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalkgrad.errors import DataError
from chalkgrad.train.architecture import ACTIVATIONS, OBJECTIVES, objective_program
from chalkgrad.train.callbacks import Callback
from chalkgrad.train.engines import make_engine
from chalkgrad.train.loop import fit
from chalkgrad.train.network import Network
from chalkgrad.train.objective import Objective
from chalkgrad.train.optimisers import RULES, Optimiser
from tests.train.small import blobs, network

ROWS = 37
PACKAGES = {"llvm": "llvmlite", "torch": "torch"}
"""What some engines need."""
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


def losses_of(engine: str, net: Network, rule: str, batch: int, epochs: int = 1) -> np.ndarray[Any, Any]:
    """The losses of whole epochs over random rows, a smaller last batch included."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((ROWS, net.sizes[0])).astype(net.dtype)
    y = generator.integers(0, net.sizes[-1], ROWS)
    runner = make_engine(engine, net, Optimiser(rule), {"x": x, "y": y}, batch)
    losses = []
    for _ in range(epochs):
        order = generator.permutation(ROWS)
        whole = ROWS // batch * batch
        parts = [order[:whole].reshape(-1, batch), *([order[None, whole:]] if whole < ROWS else [])]
        for part in parts:
            found = np.empty(len(part))
            runner.run(part, found, 0.01)
            losses.append(found)
    return np.concatenate(losses)


@pytest.mark.parametrize("engine", ["plain", "numpy", *PACKAGES])
def test_a_copy_trains_as_the_first_one_does(engine: str) -> None:
    """Its parameters are its own, and its code reads them, whatever the first one has predicted before."""
    if engine in PACKAGES:
        pytest.importorskip(PACKAGES[engine])
    data, first = blobs(), network()
    first.predict_proba(data.x[:5])
    start = first.flat.copy()
    copies = [copy.deepcopy(first), pickle.loads(pickle.dumps(first)), copy.deepcopy(copy.deepcopy(first))]
    expected = fit(first, data, epochs=2, engine=engine)
    for other in copies:
        np.testing.assert_array_equal(other.flat, start)
        assert fit(other, data, epochs=2, engine=engine).steps == expected.steps
        np.testing.assert_array_equal(other.predict_proba(data.x), first.predict_proba(data.x))
        np.testing.assert_array_equal(copy.deepcopy(other).flat, first.flat)


def agree(sizes: tuple[int, ...], rule: str, batch: int, dtype: Any, **options: Any) -> None:
    """Both engines give the same losses and end at the same parameters."""
    plain, fast = (Network(sizes, seed=3, dtype=dtype, **options) for _ in range(2))
    expected, found = losses_of("plain", plain, rule, batch), losses_of("numpy", fast, rule, batch)
    # Of a batch whose loss is nearly zero the rounding of the scores is what counts.
    scale = np.maximum(np.abs(expected), expected.mean())
    assert (np.abs(found - expected) <= TOLERANCE[dtype] * scale).all(), np.max(
        np.abs(found - expected) / scale
    )
    np.testing.assert_allclose(fast.flat, plain.flat, rtol=0, atol=30 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch", [1, 8])
def test_losses_are_those_of_the_plain_code(activation: str, rule: str, batch: int, dtype: Any) -> None:
    agree((5, 7, 3), rule, batch, dtype, activation=activation, l2=1e-2)


@settings(max_examples=12)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    classes=st.integers(2, 5),
    batch=st.integers(1, 2 * ROWS),
    rule=st.sampled_from(list(RULES)),
    penalised=st.booleans(),
)
def test_random_networks_agree(
    sizes: list[int], classes: int, batch: int, rule: str, penalised: bool
) -> None:
    agree((*sizes, classes), rule, batch, np.float64, l2=0.1 if penalised else 0.0)


@pytest.mark.parametrize("rule", RULES)
def test_large_parameters_are_updated_in_pieces(rule: str) -> None:
    # More entries than one piece, with the end of a weight matrix inside a piece.
    agree((150, 170, 3), rule, 16, np.float64, l2=1e-2)


def test_equal_seeds_give_equal_bits_however_the_steps_are_bundled() -> None:
    class Watch(Callback):
        def on_step(self, step: int, loss: float) -> None:
            """Forces steps one by one."""

    bundled, again, single = network(), network(), network()
    first = fit(bundled, blobs(), epochs=5, batch_size=16, engine="numpy")
    second = fit(again, blobs(), epochs=5, batch_size=16, engine="numpy")
    third = fit(single, blobs(), epochs=5, batch_size=16, engine="numpy", callbacks=[Watch()])
    assert bundled.flat.tobytes() == again.flat.tobytes() == single.flat.tobytes()
    assert first.steps == second.steps == third.steps


def test_nothing_is_allocated_and_no_gradient_of_the_data_is_computed() -> None:
    source = Network((5, 7, 3), l2=0.1).step_source("adam", 8)
    tree = ast.parse(source)
    steps = next(f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == "steps")
    loop = next(n for n in steps.body if isinstance(n, ast.For))
    calls = [n for n in ast.walk(loop) if isinstance(n, ast.Call) and ast.unparse(n.func).startswith("np.")]
    assert len(calls) > 20
    free = [ast.unparse(c) for c in calls if not any(k.arg == "out" for k in c.keywords)]
    assert all(code.startswith(("np.copyto(", "np.add.reduce(")) for code in free), free
    assert "dx" not in source
    assert max(map(len, source.splitlines())) <= 110


@pytest.mark.parametrize("engine", ["plain", "numpy", "llvm", "torch"])
def test_batches_that_cannot_be_taken_are_refused_and_change_nothing(engine: str) -> None:
    if engine in PACKAGES:
        pytest.importorskip(PACKAGES[engine])
    net, optimiser = Network((4, 3)), Optimiser()
    before = net.flat.copy()
    data = {"x": np.ones((5, 4), np.float32), "y": np.zeros(5, np.int64)}
    runner = make_engine(engine, net, optimiser, data, 3)
    wrong = [(np.empty((1, 0), np.int64), "without rows"), (np.empty(0, np.int64), "without rows")]
    wrong += [(np.array([[0, 5]]), "rows 0 … 5"), (np.array([[0, 1], [4, -1]]), "rows -1 … 4")]
    if engine in ("numpy", "llvm"):  # whose memory is made for that many
        wrong.append((np.zeros((1, 4), np.int64), "4 rows"))
    for order, said in wrong:
        with pytest.raises(DataError, match=said):
            runner.run(order, np.empty(len(order)), 0.1)
    runner.run(np.empty((0, 2), np.int64), np.empty(0), 0.1)  # no steps at all
    runner.sync()
    np.testing.assert_array_equal(net.flat, before)
    assert optimiser.steps == 0


def test_unknown_engines_are_refused() -> None:
    with pytest.raises(DataError, match=r"no engine 'nmupy'. Did you mean 'numpy'"):
        fit(network(), blobs(), engine="nmupy")


def test_steps_are_taken_many_at_a_call_and_all_are_told() -> None:
    """How often, `test_loop` says by a clock of its own."""

    class Calls(Callback):
        def __init__(self) -> None:
            self.calls = 0
            self.steps = 0

        def on_steps(self, done: int, losses: Any) -> None:
            self.calls += 1
            self.steps += len(losses)
            assert done == self.steps

    watch = Calls()
    fit(network(), blobs(20_000), epochs=2, batch_size=1, callbacks=[watch])
    assert watch.steps == 40_000
    assert 2 < watch.calls < 2_000


def test_ctrl_c_is_prompt() -> None:
    """Long before the end; how prompt a call is, `test_loop` says by a clock of its own."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    history = fit(network(), blobs(3_000), epochs=10_000, batch_size=1)
    timer.join()
    assert history.interrupted
    assert len(history.epochs) < 5_000


def objective(loss: str, weighted: bool, dtype: Any = np.float64) -> tuple[Objective, dict[str, Any]]:
    """A small network under this loss, with 20 rows of data."""
    generator = np.random.default_rng(1)
    shapes = {"W1": (5, 7), "b1": (7,), "W2": (7, 3), "b2": (3,)}
    program = objective_program(2, "tanh", loss, weighted=weighted)
    made = Objective(program, shapes, dtype, {"l2": 0.1})
    made.flat[:] = 0.4 * generator.standard_normal(made.flat.size)
    data: dict[str, Any] = {"x": generator.standard_normal((20, 5)).astype(dtype)}
    if loss == "softmax":
        data["y"] = generator.integers(0, 3, 20)
    else:
        data["t"] = (generator.random((20, 3)) < 0.5).astype(dtype)
    if weighted:
        data["s"] = (generator.random(20) + 0.1).astype(dtype)
    return made, data


CASES = [(loss, weighted) for loss in OBJECTIVES for weighted in (False, True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("loss", "weighted"), CASES)
@pytest.mark.parametrize("batch", [1, 6])
def test_every_loss_trains_as_in_the_plain_code(loss: str, weighted: bool, batch: int, dtype: Any) -> None:
    found = []
    for engine in ("plain", "numpy"):
        made, data = objective(loss, weighted, dtype)
        runner = make_engine(engine, made, Optimiser("adam"), data, batch)
        losses = np.empty(18 // batch)
        runner.run(np.arange(18).reshape(-1, batch), losses, 0.01)
        made.set_scalar("l2", 0.2)
        last = np.empty(1)
        runner.run(np.array([[18, 19]][: 1 if batch > 1 else 0] or [[18]]), last, 0.01)
        found.append((np.append(losses, last), made.flat))
    (expected, plain), (fast, flat) = found
    scale = np.maximum(np.abs(expected), np.abs(expected).mean())
    assert np.max(np.abs(fast - expected) / scale) <= TOLERANCE[dtype]
    np.testing.assert_allclose(flat, plain, rtol=0, atol=30 * TOLERANCE[dtype])


@pytest.mark.parametrize(("loss", "weighted"), CASES)
def test_every_loss_and_its_gradient_are_those_of_autograd(loss: str, weighted: bool) -> None:
    torch = pytest.importorskip("torch")
    made, data = objective(loss, weighted)
    F = torch.nn.functional
    p = {name: torch.tensor(view, requires_grad=True) for name, view in made.params.items()}
    given = {name: torch.tensor(array) for name, array in data.items()}
    f = torch.tanh(given["x"] @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
    t = given.get("t")
    rows = {
        "softmax": lambda: F.cross_entropy(f, given["y"], reduction="none"),
        "sigmoid": lambda: F.binary_cross_entropy_with_logits(f, t, reduction="none").sum(1),
        "squares": lambda: 0.5 * ((f - t) ** 2).sum(1),
        "absolute": lambda: (f - t).abs().sum(1),
        "huber": lambda: F.huber_loss(f, t, reduction="none").sum(1),
        "poisson": lambda: F.poisson_nll_loss(f, t, reduction="none").sum(1),
    }[loss]()
    weights = given.get("s", torch.ones(20, dtype=torch.float64))
    penalty = 0.05 * ((p["W1"] ** 2).sum() + (p["W2"] ** 2).sum())
    expected = (rows * weights).sum() / weights.sum() + penalty / (weights.sum() if weighted else 1)
    expected.backward()
    value, gradient = made.value_and_gradient(data)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    for name, view in made.views(gradient).items():
        np.testing.assert_allclose(view, p[name].grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)
