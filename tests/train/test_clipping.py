"""Clipped gradients: by every engine alike, as PyTorch clips them, and in two phases where that is needed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad import layers as gallery
from chalkgrad.emit.phases import phases
from chalkgrad.errors import DataError, UnsupportedError
from chalkgrad.train.engines import make_engine
from chalkgrad.train.formula import minimise
from chalkgrad.train.loop import fit
from chalkgrad.train.network import Network
from chalkgrad.train.optimisers import CLIPS, RULES, Optimiser, UpdateRule
from tests.train.small import blobs, network

OPTIONAL = {"llvm": "llvmlite", "torch": "torch"}
ENGINES = ["numpy", *(name for name, package in OPTIONAL.items() if find_spec(package))]
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}
SEED = 4
BOUNDS: list[dict[str, float]] = [
    {"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 0.05, "clip_value": 0.01}, {"clip_norm": 1e6},
]  # fmt: skip


def losses_of(engine: str, net: Network, optimiser: Optimiser, batch: int, steps: int = 6) -> Any:
    """The losses of some steps over random rows."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, net.sizes[0])).astype(net.dtype)
    y = rng.integers(0, net.sizes[-1], 40)
    order = rng.integers(0, 40, (steps, batch))
    runner = make_engine(engine, net, optimiser.fresh(), {"x": x, "y": y}, batch)
    losses = np.empty(steps)
    runner.run(order, losses, 0.05)
    runner.sync()
    return losses


def agree(
    sizes: Any, optimiser: Optimiser, batch: int, dtype: Any, engines: Any = None, **options: Any
) -> None:
    """Every engine gives the losses and parameters of the plain code.

    The seed is one whose steps are well conditioned: from seed 3, RMSprop takes the plain code in single
    precision 5e-5 away from itself in double precision within six steps.
    """
    plain = Network(sizes, seed=SEED, dtype=dtype, **options)
    expected = losses_of("plain", plain, optimiser, batch)
    scale = np.maximum(np.abs(expected), expected.mean())
    for engine in engines or ENGINES:
        net = Network(sizes, seed=SEED, dtype=dtype, **options)
        found = losses_of(engine, net, optimiser, batch)
        assert np.max(np.abs(found - expected) / scale) <= TOLERANCE[dtype], engine
        np.testing.assert_allclose(net.flat, plain.flat, rtol=0, atol=30 * TOLERANCE[dtype], err_msg=engine)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_every_engine_clips_alike(rule: str, bounds: dict[str, float], dtype: Any) -> None:
    agree((5, 7, 3), Optimiser(rule, **bounds), 8, dtype, l2=1e-2)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    classes=st.integers(2, 20),
    batch=st.integers(1, 50),
    rule=st.sampled_from(list(RULES)),
    bound=st.floats(1e-4, 10),
    bounds=st.sampled_from([("clip_norm",), ("clip_value",), ("clip_value", "clip_norm")]),
    activation=st.sampled_from(["relu", "sigmoid", "gelu"]),
    penalised=st.booleans(),
)
def test_random_networks(
    sizes: list[int], classes: int, batch: int, rule: str, bound: float, bounds: Any, activation: str,
    penalised: bool,
) -> None:  # fmt: skip
    optimiser = Optimiser(rule, **dict.fromkeys(bounds, bound))
    options = {"activation": activation, "l2": 0.1 if penalised else 0.0}
    agree((*sizes, classes), optimiser, batch, np.float64, **options)


def test_a_norm_over_many_pieces_and_blocks() -> None:
    # More entries than one piece of the NumPy step, with the end of a weight matrix inside a piece.
    agree((150, 170, 3), Optimiser("adam", clip_norm=0.1), 300, np.float64, l2=1e-2)


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
@pytest.mark.parametrize("engine", ["plain", *ENGINES])
def test_torch_clips_the_same(engine: str, bounds: dict[str, float]) -> None:
    """Autograd, clip_grad_value_ and clip_grad_norm_, then Adam, for several steps."""
    torch = pytest.importorskip("torch")
    net = Network((6, 9, 4), seed=1, dtype=np.float64)
    theirs = {name: torch.tensor(view, requires_grad=True) for name, view in net.params.items()}
    rng = np.random.default_rng(2)
    x, y = 3 * rng.standard_normal((30, 6)), rng.integers(0, 4, 30)
    order = rng.integers(0, 30, (12, 10))
    runner = make_engine(engine, net, Optimiser("adam", **bounds), {"x": x, "y": y}, 10)
    losses = np.empty(len(order))
    runner.run(order, losses, 0.02)
    runner.sync()
    adam, expected, clipped = torch.optim.Adam(theirs.values(), lr=0.02), [], []
    for rows in order:
        adam.zero_grad()
        hidden = torch.relu(torch.tensor(x[rows]) @ theirs["W1"] + theirs["b1"])
        loss = torch.nn.functional.cross_entropy(hidden @ theirs["W2"] + theirs["b2"], torch.tensor(y[rows]))
        loss.backward()
        if "clip_value" in bounds:
            torch.nn.utils.clip_grad_value_(theirs.values(), bounds["clip_value"])
        if "clip_norm" in bounds:
            norm = torch.nn.utils.clip_grad_norm_(theirs.values(), bounds["clip_norm"])
            clipped.append(bool(norm > bounds["clip_norm"]))
        adam.step()
        expected.append(loss.item())
    assert all(clipped) or bounds["clip_norm"] > 1, "the bound must matter for the test to mean anything"
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    for name, view in net.params.items():
        np.testing.assert_allclose(view, theirs[name].detach().numpy(), rtol=0, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_of_zero_and_one_that_is_huge(dtype: Any) -> None:
    rule = Optimiser("sgd", clip_norm=2.0)
    w = np.ones(3, dtype)
    np.testing.assert_array_equal(rule.step(w, np.zeros(3, dtype), 1.0), w)
    tiny, huge = np.array([1e-30, 0, 0], dtype), np.array([0, 3e12, 4e12], dtype)
    np.testing.assert_array_equal(rule.step(0 * w, tiny, 1.0), -tiny)
    np.testing.assert_allclose(rule.step(0 * w, huge, 1.0), [0, -1.2, -1.6], rtol=1e-6)


def test_norms_dropout_and_any_loss_are_clipped_by_minimise() -> None:
    net = cg.chain(
        gallery.affine, gallery.batch_norm, gallery.relu, gallery.dropout, gallery.affine, gallery.layer_norm,
        gallery.huber,
    )  # fmt: skip
    rng, left = np.random.default_rng(1), iter([3, 4, 5, 2])
    known: dict[str, int] = {}
    shapes = {
        t.name: tuple(known.setdefault(r.name, known.get(r.name) or next(left)) for r in t.axes)
        for t in net.program.inputs
    }
    batch = net.program.inputs[0].axes[0].name
    rows = {t.name for t in net.program.inputs if t.axes[0].name == batch and t.dtype == "float"}
    params = {n: rng.standard_normal(s) for n, s in shapes.items() if n not in rows and "mask" not in n}
    data = {n: rng.standard_normal((23, *shapes[n][1:])) for n in rows}
    found = {
        engine: minimise(
            net, params, data, keep={"mask": 0.7}, batch_size=8, epochs=2, dtype=np.float64, engine=engine,
            clip_norm=0.01,
        ).losses
        for engine in ("plain", *ENGINES)
    }  # fmt: skip
    free = minimise(net, params, data, keep={"mask": 0.7}, batch_size=8, epochs=2, dtype=np.float64)
    for losses in found.values():
        np.testing.assert_allclose(losses, found["plain"], rtol=1e-12)
        assert losses[0] == pytest.approx(free.losses[0], rel=1e-12)


@pytest.mark.parametrize("engine", [e for e in ("plain", *ENGINES) if e != "torch"])
def test_a_clipped_run_is_resumed_bit_for_bit(tmp_path: Any, engine: str) -> None:
    pytest.importorskip("safetensors")
    given: dict[str, Any] = {"batch_size": 16, "engine": engine, "clip_norm": 0.1, "clip_value": 0.02}
    whole, parts = network(), network()
    expected = fit(whole, blobs(), epochs=6, **given)
    fit(parts, blobs(), epochs=2, checkpoint_path=tmp_path, **given)
    found = fit(parts, blobs(), epochs=6, checkpoint_path=tmp_path, resume=True, **given)
    assert found.steps == expected.steps
    assert parts.flat.tobytes() == whole.flat.tobytes()
    with pytest.raises(DataError, match="optimiser"):
        fit(parts, blobs(), epochs=7, checkpoint_path=tmp_path, resume=True, **{**given, "clip_norm": 0.2})


def test_bounds_that_are_none_are_refused() -> None:
    wrong: list[Any] = [0, -1.0, float("nan"), float("inf"), "1", True]
    for bound in wrong:
        for name in CLIPS:
            with pytest.raises(DataError, match=rf"{name} is .*; it must be a positive number"):
                Optimiser("adam", **{name: bound})
    with pytest.raises(DataError, match="Did you mean 'clip_norm'"):
        Optimiser("adam", clipnorm=1.0)
    with pytest.raises(DataError, match="clip_norm is 0; it must be"):
        fit(network(), blobs(), clip_norm=0)


def test_bounds_are_kept_with_the_rule_and_replaced_by_later_ones() -> None:
    rule = Optimiser("adam", clip_norm=2.0, beta1=0.8)
    assert rule.settings() == rule.fresh().settings()
    assert rule.settings()["constants"]["clip_norm"] == 2.0
    later = rule.fresh(clip_norm=1.0, clip_value=0.5)
    assert later.constants["clip_norm"] == 1.0
    assert later.constants["clip_value"] == 0.5
    assert later.constants["beta1"] == 0.8
    assert Optimiser("adam").settings() == {"rule": "adam", "constants": dict(RULES["adam"].constants)}


TRUST = UpdateRule(
    "trust",
    """
    v2[i] = mu * v[i] + g[i]
    ratio = sqrt(sum(j, w[j]^2) / (1e-9 + sum(j, v2[j]^2)))
    w2[i] = w[i] - lr * minimum(ratio, 10) * v2[i]
    """,
    ("v",),
    (("mu", 0.9),),
    "",
)
SPREAD = UpdateRule(
    "spread",
    """
    s = mean(j, (g[j] - mean(k, g[k]))^2)
    w2[i] = w[i] - lr * g[i] / (sqrt(s) + max(j, abs(g[j])) - min(j, g[j]))
    """,
    (),
    (),
    "",
)


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rules_of_your_own_read_any_number_of_all_parameters(dtype: Any, l2: float) -> None:
    agree((5, 7, 3), Optimiser(TRUST), 8, dtype, l2=l2)
    # A mean inside a mean: the compiled step works out all numbers in one look.
    agree((5, 7, 3), Optimiser(SPREAD), 8, dtype, [e for e in ENGINES if e != "llvm"], l2=l2)


def test_what_the_compiled_step_cannot_look_at_twice_it_says() -> None:
    pytest.importorskip("llvmlite")
    data = {"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, np.int64)}
    with pytest.raises(UnsupportedError, match="one number of all parameters to work out another"):
        make_engine("llvm", Network((4, 3)), Optimiser(SPREAD), data, 1)
    assert make_engine("auto", Network((4, 3)), Optimiser(SPREAD), data, 1).name == "numpy"


def test_the_engine_says_that_it_needs_two_phases() -> None:
    pytest.importorskip("llvmlite")
    data = {"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, np.int64)}
    for bounds, expected in (({}, False), ({"clip_value": 1.0}, False), ({"clip_norm": 1.0}, True)):
        optimiser = Optimiser("adam", **bounds)
        engine: Any = make_engine("llvm", Network((4, 3)), optimiser, data, 1)
        assert engine.step.two_phases is expected
        assert bool(phases(optimiser.rule.program).whole) is expected
    text = network().step(Optimiser("adam", clip_norm=1.0).rule, 8).text.text
    assert "two phases" in text
    assert "two phases" not in network().step(RULES["adam"], 8).text.text


def test_a_sum_that_is_no_number_of_all_parameters_is_refused() -> None:
    rule = UpdateRule("mixed", "w2[i] = w[i] - lr * sum(j, g[j] * w[i])", (), (), "")
    with pytest.raises(UnsupportedError, match="not one number of all parameters"):
        phases(rule.program)
