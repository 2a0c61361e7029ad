"""The layers against PyTorch and JAX: their own functions, their own autograd, float64, 1e-10."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY

N, D, H, K = 7, 5, 4, 3
RNG = np.random.default_rng(2016)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def labels() -> np.ndarray:
    return RNG.integers(0, K, N)


def two_layer() -> cg.Layer:
    net = cg.chain(GALLERY["affine"], GALLERY["relu"], GALLERY["affine"], GALLERY["softmax_loss"])

    @cg.layer
    def two_layer_net(x: "N D", W1: "D H", b1: "H", W2: "H K", b2: "K", y: "N int", lam=0.1):
        return net(x, W1, b1, W2, b2, y) + 0.5 * lam * ((W1 * W1).sum() + (W2 * W2).sum())

    return two_layer_net


def torch_forwards(t: Any) -> dict[str, Callable[..., Any]]:
    f = t.nn.functional
    return {
        "affine": lambda x, W, b: f.linear(x, W.T, b),
        "relu": f.relu,
        "tanh": t.tanh,
        "sigmoid": t.sigmoid,
        "softmax": lambda s: f.softmax(s, dim=1),
        "softmax_loss": f.cross_entropy,
        "softmax_loss_sum": lambda s, y: f.cross_entropy(s, y, reduction="sum"),
        "mse": f.mse_loss,
        "l2": lambda W: 0.5 * 0.1 * (W**2).sum(),
        "two_layer_net": lambda x, W1, b1, W2, b2, y: (
            f.cross_entropy(f.relu(x @ W1 + b1) @ W2 + b2, y) + 0.05 * ((W1**2).sum() + (W2**2).sum())
        ),
    }


def jax_forwards(jnp: Any, nn: Any) -> dict[str, Callable[..., Any]]:
    def nll(s, y):
        return -nn.log_softmax(s, axis=1)[jnp.arange(s.shape[0]), y]

    return {
        "affine": lambda x, W, b: x @ W + b,
        "relu": nn.relu,
        "tanh": jnp.tanh,
        "sigmoid": nn.sigmoid,
        "softmax": lambda s: nn.softmax(s, axis=1),
        "softmax_loss": lambda s, y: nll(s, y).mean(),
        "softmax_loss_sum": lambda s, y: nll(s, y).sum(),
        "mse": lambda a, b: ((a - b) ** 2).mean(),
        "l2": lambda W: 0.5 * 0.1 * (W**2).sum(),
        "two_layer_net": lambda x, W1, b1, W2, b2, y: (
            nll(nn.relu(x @ W1 + b1) @ W2 + b2, y).mean() + 0.05 * ((W1**2).sum() + (W2**2).sum())
        ),
    }


def sum_loss() -> cg.Layer:
    program = GALLERY["softmax_loss"].forward.program_with(reduction="sum")
    return cg.Layer(type(GALLERY["softmax_loss"].forward).of(program, ""))


CASES: dict[str, tuple[Callable[[], cg.Layer], Callable[[], tuple[np.ndarray, ...]], dict[str, float]]] = {
    "affine": (lambda: GALLERY["affine"], lambda: (draw(N, D), draw(D, K), draw(K)), {}),
    "relu": (lambda: GALLERY["relu"], lambda: (draw(N, D),), {}),
    "tanh": (lambda: GALLERY["tanh"], lambda: (draw(N, D),), {}),
    "sigmoid": (lambda: GALLERY["sigmoid"], lambda: (draw(N, D),), {}),
    "softmax": (lambda: GALLERY["softmax"], lambda: (draw(N, K),), {}),
    "softmax_loss": (lambda: GALLERY["softmax_loss"], lambda: (draw(N, K), labels()), {}),
    "softmax_loss_sum": (sum_loss, lambda: (draw(N, K), labels()), {}),
    "mse": (lambda: GALLERY["mse"], lambda: (draw(N, K), draw(N, K)), {}),
    "l2": (lambda: GALLERY["l2"], lambda: (draw(D, K),), {"lam": 0.1}),
    "two_layer_net": (
        two_layer,
        lambda: (draw(N, D), draw(D, H), draw(H), draw(H, K), draw(K), labels()),
        {"lam": 0.1},
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", ["staged", "closed"])
def test_derivation_holds(name: str, form: str) -> None:
    assert CASES[name][0]().derive(form=form).verify().ok


@pytest.mark.parametrize("name", CASES)
def test_against_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    make, inputs_of, parameters = CASES[name]
    ops, inputs = make().compile("numpy"), inputs_of()
    value, cache = ops.forward(*inputs, **parameters)
    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    expected = torch_forwards(torch)[name](*tensors)
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
    upstream = draw(*np.shape(value)) if np.ndim(value) else np.array(1.7)
    expected.backward(torch.tensor(upstream))
    for tensor, found in zip(tensors, ops.backward(upstream, cache), strict=True):
        if tensor.requires_grad:
            np.testing.assert_allclose(found, tensor.grad.numpy(), rtol=1e-10, atol=1e-12)
        else:
            assert found is None


@pytest.mark.parametrize("name", CASES)
def test_against_jax(name: str) -> None:
    jax = pytest.importorskip("jax")
    make, inputs_of, parameters = CASES[name]
    ops, inputs = make().compile("numpy"), inputs_of()
    value, cache = ops.forward(*inputs, **parameters)
    floats = [n for n, a in enumerate(inputs) if a.dtype.kind == "f"]
    forward = jax_forwards(jax.numpy, jax.nn)[name]

    def of_floats(*values):
        given = list(inputs)
        for place, v in zip(floats, values, strict=True):
            given[place] = v
        return forward(*given)

    expected, back = jax.vjp(of_floats, *(inputs[n] for n in floats))
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    upstream = draw(*np.shape(value)) if np.ndim(value) else np.array(1.7)
    found = ops.backward(upstream, cache)
    for place, gradient in zip(floats, back(upstream), strict=True):
        np.testing.assert_allclose(found[place], gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_large_scores_are_finite_and_right(scale: float) -> None:
    torch = pytest.importorskip("torch")
    scores, y = draw(N, K) * scale, labels()
    value, cache = (ops := GALLERY["softmax_loss"].compile("numpy")).forward(scores, y)
    tensor = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(tensor, torch.tensor(y))
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(ops.backward(1.0, cache)[0], tensor.grad.numpy(), atol=1e-14)


def test_relu_has_gradient_zero_at_zero() -> None:
    ops = GALLERY["relu"].compile("numpy")
    _, cache = ops.forward(np.array([[-1.0, 0.0, 2.0]]))
    np.testing.assert_array_equal(ops.backward(np.ones((1, 3)), cache)[0], [[0.0, 0.0, 1.0]])


def test_cs231n_check_values() -> None:
    """The numbers that the notebooks of CS231n's second assignment (2016) print for these layers."""
    affine, loss = GALLERY["affine"].compile("numpy"), GALLERY["softmax_loss"].compile("numpy")
    x = np.linspace(-0.1, 0.5, num=240).reshape(2, 120)
    W = np.linspace(-0.2, 0.3, num=360).reshape(120, 3)
    b = np.linspace(-0.3, 0.1, num=3)
    out, _ = affine.forward(x, W, b)
    scores = [[1.49834967, 1.70660132, 1.91485297], [3.25553199, 3.5141327, 3.77273342]]
    np.testing.assert_allclose(out, scores, rtol=1e-8)
    relu, _ = GALLERY["relu"].compile("numpy").forward(np.linspace(-0.5, 0.5, num=12).reshape(3, 4))
    expected = [[0, 0, 0, 0], [0, 0, 0.04545455, 0.13636364], [0.22727273, 0.31818182, 0.40909091, 0.5]]
    np.testing.assert_allclose(relu, expected, rtol=1e-7)
    # With small random scores over ten classes the loss is close to log 10 = 2.3026.
    scores = 0.001 * np.random.default_rng(0).normal(size=(50, 10))
    value, _ = loss.forward(scores, np.random.default_rng(1).integers(10, size=50))
    assert abs(value - 2.3026) < 1e-3
