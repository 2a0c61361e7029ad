"""How gradients are read: of some inputs alone, beside the loss, under names of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY


@cg.layer
def classifier(W: "D K", X: "N D", y: "N int", *, reg=0.1):  # type: ignore[no-untyped-def]
    """The softmax loss of a linear classifier with a penalty."""
    f = X @ W
    rows = np.arange(X.shape[0])
    return -(f[rows, y] - np.log(np.exp(f).sum(axis=1))).mean() + reg * (W * W).sum()


FORMULA = cg.formula("""
f[i,k] = sum(d, X[i,d] * W[d,k])
L = -1/size(i) * sum(i, f[i,y[i]] - log(sum(j, exp(f[i,j])))) + reg * sum(d, sum(k, W[d,k]^2))
""")


def parts(W: Any, X: Any, y: Any, reg: Any) -> tuple[Any, Any]:
    rows = np.arange(len(X))
    p = np.exp(X @ W)
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[rows, y]).mean() + reg * (W * W).sum()
    p[rows, y] -= 1
    return loss, X.T @ p / len(X) + 2 * reg * W


def tuple_of(W: Any, X: Any, y: Any, reg: Any) -> Any:
    return parts(W, X, y, reg)


def dictionary(W: Any, X: Any, y: Any, reg: Any) -> Any:
    loss, dW = parts(W, X, y, reg)
    return loss, {"W": dW}


def cost_last(W: Any, X: Any, y: Any, reg: Any) -> Any:
    loss, dW = parts(W, X, y, reg)
    return {"dW": dW}, loss


def no_loss(W: Any, X: Any, y: Any, reg: Any) -> Any:
    return parts(W, X, y, reg)[1]


def keys(W: Any, X: Any, y: Any, reg: Any) -> Any:
    return {"grad_W": parts(W, X, y, reg)[1]}


def another_order(X: Any, y: Any, W: Any, reg: Any) -> Any:
    return parts(W, X, y, reg)


def theta(theta: Any, X: Any, y: Any, reg: Any) -> Any:
    loss, grad = parts(theta, X, y, reg)
    return loss, grad


def explicit(W: Any, X: Any, y: Any, reg: Any) -> Any:
    return (*parts(W, X, y, reg), None)


FORMS = [tuple_of, dictionary, cost_last, no_loss, keys, another_order, theta, explicit]


@pytest.mark.parametrize("layer", [classifier, FORMULA], ids=["function", "formula"])
@pytest.mark.parametrize("loss", FORMS)
def test_a_loss_may_give_the_gradient_of_the_weights_alone(loss: Callable[..., Any], layer: Any) -> None:
    diagnosis = cg.check(loss, layer)
    assert diagnosis.ok, str(diagnosis)
    assert "X" in diagnosis.notes[0]


@pytest.mark.parametrize("layer", [classifier, FORMULA], ids=["function", "formula"])
@pytest.mark.parametrize("loss", [f for f in FORMS if f is not explicit])
def test_a_wrong_gradient_behind_a_loss_is_that_of_the_weights(loss: Callable[..., Any], layer: Any) -> None:
    def off(*given: Any) -> Any:
        return doubled(loss(*given))

    def doubled(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: 2 * v for k, v in value.items()}
        if isinstance(value, tuple):
            return tuple(doubled(v) if np.ndim(v) or isinstance(v, dict) else v for v in value)
        return 2 * value

    off.__signature__ = inspect.signature(loss)  # type: ignore[attr-defined]
    faults = cg.check(off, layer).faults
    assert [(f.argument, f.cause) for f in faults] == [("W", "constant_factor")]


LOSSES = ["softmax_loss", "svm_loss", "mse", "sigmoid_loss", "huber", "kl_divergence", "focal_loss"]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("spoilt", "cause"),
    [(lambda L: L, ""), (lambda L: 5 * L, "constant_factor"), (lambda L: -L, "sign"),
     (lambda L: L + 1, "unknown"), (lambda L: L / 2, "constant_factor")],
)  # fmt: skip
def test_the_value_of_a_loss_is_checked(name: str, spoilt: Callable[[Any], Any], cause: str) -> None:
    ops = GALLERY[name].compile("numpy")

    def loss(f: Any, y: Any) -> Any:
        value, cache = ops.raw_forward(f, y)
        return spoilt(value), ops.raw_backward(1.0, cache)[0]

    faults = cg.check(loss, GALLERY[name]).faults
    assert [(f.argument, f.cause) for f in faults] == ([(None, cause)] if cause else [])
    assert not faults or "the loss that it returns" in faults[0].evidence


@pytest.mark.parametrize(("power", "cause"), [(1, "sum_for_mean"), (-1, "mean_for_sum")])
def test_a_loss_over_the_number_of_observations(power: int, cause: str) -> None:
    ops = GALLERY["softmax_loss"].compile("numpy")

    def loss(f: Any, y: Any) -> Any:
        value, cache = ops.raw_forward(f, y)
        return value * float(len(f)) ** power, ops.raw_backward(1.0, cache)[0]

    assert [f.cause for f in cg.check(loss, GALLERY["softmax_loss"]).faults] == [cause]


def test_an_epsilon_inside_the_logarithm_of_a_loss_is_no_fault() -> None:
    def loss(f: Any, y: Any) -> Any:
        rows = np.arange(len(f))
        p = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
        d = p.copy()
        d[rows, y] -= 1
        return -np.log(p[rows, y] + 1e-8).mean(), d / len(f)

    assert cg.check(loss, GALLERY["softmax_loss"]).ok


AFFINE = """
import numpy as np

def first(dout, x, W, b):
    dW = x.T @ dout
    db = dout.sum(axis=0)
    return dW, db

def mean(dout, x, W, b):
    dW = x.T @ dout / len(x)
    db = dout.sum(axis=0)
    return db, dW

def by_shape(dout, x, W, b):
    return x.T @ dout, dout.sum(axis=0)
"""


@pytest.mark.parametrize(
    ("name", "faults"),
    [("first", {"x": "no gradient"}), ("by_shape", {"x": "no gradient"}),
     ("mean", {"x": "no gradient", "W": "1/N"})],
)  # fmt: skip
def test_fewer_gradients_belong_to_the_inputs_whose_names_or_shapes_they_have(
    name: str, faults: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "own.py"
    path.write_text(AFFINE, encoding="utf-8")
    seen: dict[str, Any] = {}
    exec(compile(AFFINE, str(path), "exec"), seen)
    found = {f.argument: f.evidence for f in cg.check(seen[name], GALLERY["affine"]).faults}
    assert found.keys() == faults.keys()
    assert all(words in found[a] for a, words in faults.items())


def test_a_bias_that_comes_with_no_gradient_is_asked_for() -> None:
    net = GALLERY["two_layer_net"]
    ops = net.compile("numpy")
    names = [t.name for t in net.program.inputs if t.dtype == "float"]

    def loss(x: Any, W1: Any, b1: Any, W2: Any, b2: Any, y: Any) -> Any:
        value, cache = ops.raw_forward(x, W1, b1, W2, b2, y)
        grads = dict(zip(names, ops.raw_backward(1.0, cache), strict=False))
        return value, {n: grads[n] for n in ("W1", "W2", "b2")}

    (fault,) = cg.check(loss, net).faults
    assert (fault.argument, "'W1', 'W2', 'b2'" in fault.evidence) == ("b1", True)


@pytest.mark.parametrize(
    ("backward", "words"),
    [
        (lambda dout, x, W, b: (dout @ W.T, x.T @ dout, None), "None stands in its place"),
        (lambda dout, x, W, b: (dout @ W.T, x.T @ dout), "only 2 of 3 came back"),
        (lambda dout, x, W, b: {"dx": dout @ W.T, "dW": x.T @ dout, "db_": dout.sum(0)},
         "its keys are 'dx', 'dW', 'db_'; is 'db_' meant?"),
    ],
)  # fmt: skip
def test_a_gradient_that_is_missing_is_headed_so(backward: Callable[..., Any], words: str) -> None:
    diagnosis = cg.check(backward, GALLERY["affine"])
    (fault,) = diagnosis.faults
    assert (fault.argument, fault.cause) == ("b", "shape")
    assert "db: the gradient is missing  [shape]" in str(diagnosis)
    assert "the shape is wrong" not in str(diagnosis)
    assert words in fault.evidence


def test_a_cache_that_holds_another_number_of_values_is_counted() -> None:
    def backward(dout: Any, cache: Any) -> Any:
        x, W = cache
        return dout @ W.T, x.T @ dout, dout.sum(0)

    own = cg.check(backward, GALLERY["affine"], forward=lambda x, W, b: (x @ W + b, (x, W, b)))
    assert "the cache from your forward holds 3 values" in own.faults[0].evidence
    alone = cg.check(backward, GALLERY["affine"])
    assert "the cache holds the 3 inputs x, W, b" in alone.faults[0].evidence


ELEMENTWISE = [
    n for n, layer in GALLERY.items()
    if len(layer.program.inputs) == 1 and layer.program.inputs[0].axes == layer.program.outputs[0].axes
    and len(layer.program.definitions) <= 2 and n != "rope"  # which moves between axes
]  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_wrong_backward_with_a_bare_cache_is_called_with_the_input(name: str) -> None:
    ops = GALLERY[name].compile("numpy")

    def backward(dout: Any, cache: Any) -> Any:
        x = np.asarray(cache).reshape(np.shape(cache)[-2:])
        found = 3 * ops.raw_backward(np.ones_like(x), ops.raw_forward(x)[1])[0]
        return dout * np.broadcast_to(found, np.shape(cache))

    faults = cg.check(backward, GALLERY[name]).faults
    assert {f.argument for f in faults} == {GALLERY[name].program.inputs[0].name}
    assert "shape" not in {f.cause for f in faults}


SCALAR_BIAS = """
import numpy as np

def bias_first(X, w, b, y):
    r = X @ w + b - y
    dw = 2 * X.T @ r / len(y)
    db = 2 * r.mean()
    return db, dw

def loss_first(X, w, b, y):
    r = X @ w + b - y
    dw = 2 * X.T @ r / len(y)
    db = 2 * r.mean()
    return (r ** 2).mean(), dw, db
"""


@pytest.mark.parametrize("name", ["bias_first", "loss_first"])
def test_the_gradient_of_a_scalar_bias_is_no_loss(name: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(SCALAR_BIAS, encoding="utf-8")
    seen: dict[str, Any] = {}
    exec(compile(SCALAR_BIAS, str(path), "exec"), seen)
    regression = cg.formula("r[i] = sum(d, X[i,d] * w[d]) + b - y[i]\nL = mean(i, r[i]^2)")
    diagnosis = cg.check(seen[name], regression)
    assert diagnosis.ok, str(diagnosis)
    assert "X and y" in diagnosis.notes[0]


@pytest.mark.parametrize("name", ["triplet_loss", "gaussian_nll", "gamma_regression", "poisson_regression"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("none", [True, False])
def test_a_backward_that_gives_none_for_an_input_is_asked_for_it(name: str, place: int, none: bool) -> None:
    layer = GALLERY[name]
    ops = layer.compile("numpy")
    left = layer.program.inputs[place].name

    def backward(dL: Any, cache: Any) -> Any:
        found = dict(zip((t.name for t in layer.program.inputs), ops.raw_backward(dL, cache), strict=True))
        return {n: g for n, g in found.items() if n != left} | ({left: None} if none else {})

    diagnosis = cg.check(backward, layer, forward=ops.raw_forward)
    assert diagnosis.ok == (left == "t" or (left == "y" and not none)), str(diagnosis)
    assert diagnosis.ok or [f.argument for f in diagnosis.faults] == [left]
