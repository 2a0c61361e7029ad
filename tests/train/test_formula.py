"""Any chain of layers, loss and update rule is trained alike by every engine."""

from __future__ import annotations

import os
import signal
import time
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad import layers as gallery
from chalkgrad.errors import DataError, ShapeError, TrainingError, UnsupportedError
from chalkgrad.train.formula import minimise
from chalkgrad.train.optimisers import RULES, Optimiser, UpdateRule

OPTIONAL = {"llvm": "llvmlite", "torch": "torch"}
ENGINES = ["numpy", *(name for name, package in OPTIONAL.items() if find_spec(package))]
ACTIVATIONS = (
    "relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "silu", "mish", "hardswish", "softplus",
    "sigmoid", "tanh",
)  # fmt: skip
LOSSES = (
    "softmax_loss", "mse", "mae", "huber", "sigmoid_loss", "svm_loss", "soft_target_loss", "poisson_loss",
    "quantile_loss", "log_cosh", "focal_loss",
)  # fmt: skip
MIDDLES = (None, "batch_norm", "layer_norm", "rms_norm")
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


def inputs_of(net: Any, rows: int, sizes: list[int], seed: int) -> tuple[Any, Any, Any]:
    """Random parameters, data and masks for a network."""
    rng = np.random.default_rng(seed)
    program, known = net.program, {}
    params, data, keep = {}, {}, {}
    batch = program.inputs[0].axes[0]
    known[batch.name] = rows
    left = list(sizes)
    for t in program.inputs:
        shape = tuple(known.setdefault(r.name, left.pop(0) if r.name not in known else 0) for r in t.axes)
        if t.dtype == "int":
            data[t.name] = rng.integers(0, known["K"], shape)
        elif t.dtype == "bool":
            keep[t.name] = 0.7
        elif t.axes[0] is batch:
            # Positive rows that add up to one serve every loss; away from ties and kinks.
            data[t.name] = rng.random(shape) if t is not program.inputs[0] else rng.standard_normal(shape)
            if t is not program.inputs[0]:
                data[t.name] /= data[t.name].sum(axis=-1, keepdims=True)
        else:
            params[t.name] = 0.4 * rng.standard_normal(shape) + (len(shape) == 1)
    return params, data, keep


def agree(layers: list[Any], rule: str, dtype: Any, sizes: list[int], rows: int = 23, batch: int = 8) -> None:
    net = cg.chain(*layers)
    params, data, keep = inputs_of(net, rows, sizes, seed=1)
    given = {"keep": keep, "optimiser": rule, "epochs": 1, "batch_size": batch, "dtype": dtype}
    expected = minimise(net, params, data, engine="plain", **given)
    assert len(expected.losses) == -(-rows // batch)
    for engine in ENGINES:
        found = minimise(net, params, data, engine=engine, **given)
        # Of a loss near zero the digits are those of the scores: it is a difference of numbers near one.
        scale = np.maximum(np.abs(expected.losses), max(np.abs(expected.losses).mean(), 1e-2))
        worst = np.max(np.abs(found.losses - expected.losses) / scale)
        assert worst <= TOLERANCE[dtype], (engine, worst)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str, dtype: Any) -> None:
    agree(
        [gallery.affine, getattr(gallery, name), gallery.affine, gallery.softmax_loss],
        "adam",
        dtype,
        [4, 5, 3],
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str, dtype: Any) -> None:
    agree(
        [gallery.affine, gallery.tanh, gallery.affine, getattr(gallery, name)], "momentum", dtype, [4, 5, 3]
    )


@pytest.mark.parametrize("rule", RULES)
def test_norms_and_dropout_under_every_rule(rule: str) -> None:
    layers = [gallery.affine, gallery.batch_norm, gallery.relu, gallery.dropout]
    layers += [gallery.affine, gallery.layer_norm, gallery.gelu, gallery.dropout, gallery.affine]
    agree([*layers, gallery.softmax_loss], rule, np.float64, [4, 6, 5, 3])


@settings(max_examples=5, deadline=None)
@given(
    hidden=st.lists(
        st.tuples(st.sampled_from(MIDDLES), st.sampled_from(ACTIVATIONS), st.booleans(), st.integers(1, 9)),
        max_size=2,
    ),
    loss=st.sampled_from(["softmax_loss", "mse", "huber", "sigmoid_loss", "poisson_loss"]),
    rule=st.sampled_from(list(RULES)),
    features=st.integers(1, 6),
    classes=st.integers(1, 5),
    rows=st.integers(1, 40),
    batch=st.integers(1, 50),
)
def test_random_networks(
    hidden: Any, loss: str, rule: str, features: int, classes: int, rows: int, batch: int
) -> None:
    layers: list[Any] = []
    for norm, activation, drop, _ in hidden:
        # The variance of one row or one unit is zero: its root is not worth comparing.
        layers += [gallery.affine, *([getattr(gallery, norm)] if norm == "layer_norm" else [])]
        layers += [getattr(gallery, activation), *([gallery.dropout] if drop else [])]
    agree([*layers, gallery.affine, getattr(gallery, loss)], rule, np.float64,
          [features, *(n + 1 for *_, n in hidden), classes], rows, batch)  # fmt: skip


def a_line() -> tuple[Any, dict[str, Any], dict[str, Any]]:
    x = np.random.default_rng(0).standard_normal((30, 2))
    line = cg.formula("L = mean(i, (sum(d, x[i,d] * w[d]) - t[i])^2)")
    return line, {"w": [0.0, 0.0]}, {"x": x, "t": x @ [2.0, 3.0]}


def test_an_own_loss_and_an_own_rule() -> None:
    sign = UpdateRule("sign", "w2[i] = w[i] - lr * sign(g[i])", (), (), "")
    found = minimise(*a_line(), optimiser=Optimiser(sign), learning_rate=0.01, epochs=400)
    np.testing.assert_allclose(found.params["w"], [2, 3], atol=0.05)
    assert found.losses[-1] < found.losses[0]


def test_masks_are_drawn_anew_and_alike_however_steps_are_bundled(monkeypatch: Any) -> None:
    net = cg.chain(gallery.affine, gallery.dropout, gallery.affine, gallery.dropout, gallery.mse)
    params, data, keep = inputs_of(net, 64, [4, 6, 3], 0)
    first = minimise(net, params, data, keep=keep, batch_size=4, epochs=4, learning_rate=1e-9)
    monkeypatch.setattr("chalkgrad.train.formula.CALL_SECONDS", 0.0)  # a step a call
    second = minimise(net, params, data, keep=keep, batch_size=4, epochs=4, learning_rate=1e-9)
    assert first.losses.tobytes() == second.losses.tobytes()
    # With a parameter that hardly moves, epochs differ by their masks alone.
    assert len(set(first.losses.reshape(4, 16).mean(axis=1).round(6))) == 4


def test_progress_is_told() -> None:
    seen: list[int] = []
    found = minimise(*a_line(), epochs=3, batch_size=7, on_steps=lambda done, losses: seen.append(done))
    assert seen[-1] == len(found.losses) == 15
    assert seen == sorted(seen)


def test_inputs_are_checked() -> None:
    line, params, data = a_line()
    net = cg.chain(gallery.affine, gallery.dropout, gallery.softmax_loss)
    rows = {"x": np.zeros((4, 3)), "y": np.array([0, 1, 2, 0])}
    start = {"W": np.zeros((3, 2)), "b": np.zeros(2)}
    for call, error, match in (
        (lambda: minimise(line, {}, data), DataError, "No value is given for w"),
        (lambda: minimise(line, {"v": 1}, data), DataError, "no input 'v'"),
        (lambda: minimise(line, {**params, "x": data["x"]}, data), DataError, "'x' is given twice"),
        (lambda: minimise(line, {"w": np.zeros(3)}, data), ShapeError, "D is 3|d is 3|is 3; by|is 2; by"),
        (lambda: minimise(line, {"w": 1.0}, data), ShapeError, "must have the axes"),
        (lambda: minimise(line, params, {**data, "t": data["t"][:-1]}), ShapeError, "different numbers"),
        (lambda: minimise(line, params, {"x": np.zeros((0, 2)), "t": np.zeros(0)}), DataError, "no rows"),
        (lambda: minimise(line, params, data, epochs=0), DataError, "epochs is 0"),
        (lambda: minimise(line, params, data, batch_size=0), DataError, "batch size is 0"),
        (lambda: minimise(gallery.relu, {}, {"x": rows["x"]}), ShapeError, "no loss"),
        (lambda: minimise(net, start, rows), DataError, "keep="),
        (lambda: minimise(net, start, rows, keep={"mask": 0.5}), DataError, "allows 0 to 1"),
        (lambda: minimise(net, start, rows, keep={"mask": 0.0}), DataError, r"must be in \(0, 1\]"),
        (lambda: minimise(line, params, {**data, "t": data["t"] * np.nan}), DataError, "not a finite"),
        (lambda: minimise(line, params, {**data, "x": [[1, 2], [3]]}), DataError, "x is no array"),
        (lambda: minimise(net, start, rows, keep={"mask": "a"}), DataError, "keep.'mask'. is 'a'"),
        (lambda: Optimiser("adam", beta1="x"), DataError, "beta1 is 'x'; it must be a finite number"),
        (lambda: Optimiser("adam", beta1=np.nan), DataError, "beta1 is nan"),
        (lambda: minimise(line.program, params, data), DataError, "is a Program, not a layer"),
        (lambda: minimise(cg.formula("L = mean(i, x[i]^2)"), {}, {"x": np.ones(3)}), DataError, "no param"),
    ):  # fmt: skip
        with pytest.raises(error, match=match):
            call()


@pytest.mark.parametrize(
    ("text", "params", "data", "match"),
    [
        ("L = mean(n, (sum(d, x[d,n] * w[d]) - t[n])^2)", {"w": 3}, {"x": (3, 3), "t": 3},
         "x begins with the axis D and t with N"),
        ("L = mean(n, (sum(d, x[d,n] * w[d]))^2)", {"w": 3}, {"x": (3, 3)}, "w has the axis D of the obs"),
        ("L = mean(i, (x[i] - c[i])^2)", {"c": 3}, {"x": 3}, "c has the axis N|c has the axis I"),
        ("x: N N\nL = mean(i, mean(j, (x[i,j] - w)^2))", {"w": ()}, {"x": (3, 3)}, "x has the axis N"),
        ("L = mean(i, (x[i] - w)^2) + lam * w^2", {"w": ()}, {"x": 3, "lam": ()}, "parameter lam: 1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["auto", "plain", *ENGINES])
def test_a_batch_must_be_some_rows_of_all_data(
    text: str, params: dict[str, Any], data: dict[str, Any], match: str, engine: str
) -> None:
    """Sizes that happen to fit would train on rows that do not belong together."""
    start, rows = ({name: np.ones(shape) for name, shape in of.items()} for of in (params, data))
    with pytest.raises(ShapeError, match=match):
        minimise(cg.formula(text), start, rows, engine=engine)


@pytest.mark.parametrize(
    "scale",
    ["(exp(p) - exp(q))^2", "1 / (exp(p) + exp(q))", "-(p + sqrt(q)) * (sqrt(p) - q)", "p^-2 - 1e-3*q"],
)
def test_arithmetic_of_constants(scale: str) -> None:
    text = f"parameter p: 0.3\nparameter q: 1.7\nL = mean(i, ({scale} * sum(d, x[i,d] * w[d]) - t[i])^2)"
    _, params, data = a_line()
    line, given = cg.formula(text), {"epochs": 2, "batch_size": 8, "dtype": np.float64}
    expected = minimise(line, params, data, engine="plain", **given)
    for engine in ENGINES:
        found = minimise(line, params, data, engine=engine, **given)
        np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-12, err_msg=engine)


@pytest.mark.parametrize(
    "text",
    [
        "L = mean(i, (sum(d, x[i,d] * w[d]) + b - t[i])^2)",
        "L = mean(i, (b * sum(d, x[i,d] * w[d]) - t[i])^2) + 0.1 * b^2",
        "L = mean(i, relu(exp(b) * t[i] - sum(d, x[i,d]))) + abs(b) * sum(d, w[d]^2) + exp(c) - c",
        "L = mean(i, (b - t[i] * sum(d, x[i,d]))^2) + (b - c)^2 + sum(d, (w[d] - c)^2)",
    ],
)
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_a_parameter_may_be_one_number(text: str, rule: str) -> None:
    """Alike by every engine that takes the formula."""
    rng = np.random.default_rng(0)
    line, x = cg.formula(text), rng.standard_normal((30, 2))
    params = {t.name: np.full((2,) * len(t.axes), 0.5) for t in line.program.inputs if t.name not in "xt"}
    data = {"x": x, "t": x @ [2.0, 3.0] - 1}
    given = {"epochs": 20, "optimiser": rule, "learning_rate": 0.01, "dtype": np.float64, "batch_size": 8}
    expected = minimise(line, params, data, engine="plain", **given)
    assert expected.params["b"].shape == ()
    assert all(np.abs(expected.params[name] - start).max() > 1e-3 for name, start in params.items())
    for engine in ENGINES:
        try:
            found = minimise(line, params, data, engine=engine, **given)
        except UnsupportedError:
            assert engine == "llvm"
            continue
        np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-11, err_msg=engine)
        for name, value in expected.params.items():
            np.testing.assert_allclose(found.params[name], value, rtol=1e-9)


def test_divergence_is_an_error() -> None:
    with pytest.raises(TrainingError, match="diverged: the loss of step"):
        minimise(*a_line(), optimiser="sgd", learning_rate=1e6, epochs=50)


def test_ctrl_c_while_code_is_made_gives_the_parameters_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*about: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    monkeypatch.setenv("CHALKGRAD_CACHE", "")
    monkeypatch.setattr("chalkgrad.train.steps.derived", interrupted)
    start = np.array([0.5, -1.0])
    line = cg.formula("L = mean(i, (sum(d, x[i,d] * w[d]) - t[i])^2)")
    data = {"x": np.ones((6, 2)), "t": np.ones(6)}
    began = time.perf_counter()
    found = minimise(line, {"w": start}, data, engine="numpy", batch_size=5, dtype=np.float64)
    assert time.perf_counter() - began < 1
    assert found.interrupted
    assert not len(found.losses)
    np.testing.assert_array_equal(found.params["w"], start)
