"""What other systems' gradient checks and transformations get wrong, each a test of what is right here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY
from tests.emitted import draw, emitted, gradients

N, D, K = 5, 4, 3
X, W, b = (np.random.default_rng(0).normal(size=s) for s in ((N, D), (D, K), (K,)))
LABELS = np.array([0, 2, 1, 1, 0])


# --- an unsummed db passes the gradient check (torch.autograd.gradcheck) ----------------------------


def test_an_unsummed_bias_gradient_is_refused() -> None:
    report = cg.check(lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout), GALLERY["affine"])
    assert not report.ok
    assert [(f.argument, f.cause) for f in report.faults] == [("b", "missing_sum")]


def test_an_unsummed_bias_gradient_is_refused_in_a_torch_function_that_gradcheck_passes() -> None:
    torch = pytest.importorskip("torch")

    class Affine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, W, b):
            ctx.save_for_backward(x, W)
            return x @ W + b

        @staticmethod
        def backward(ctx, g):
            x, W = ctx.saved_tensors
            return g @ W.T, x.T @ g, g

    tensors = [torch.tensor(a, requires_grad=True) for a in (X, W, b)]
    assert torch.autograd.gradcheck(Affine.apply, tensors)
    report = cg.check(Affine, GALLERY["affine"])
    assert [(f.argument, f.cause) for f in report.faults] == [("b", "missing_sum")]


# --- float32 correct code fails, kinks fail, no cause is given (torch.autograd.gradcheck) -----------


def single(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same backward, computed in single precision."""

    def rounded(dout, *inputs):
        cast = [np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else a for a in (dout, *inputs)]
        return function(*cast)

    return rounded


def affine_backward(dout, x, W, b):
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


def softmax_loss_backward(dout, f, y):
    e = np.exp(f - f.max(axis=1, keepdims=True))
    df = e / e.sum(axis=1, keepdims=True)
    df[np.arange(len(y)), y] -= 1
    return df * (dout / np.float32(len(y))), None


def batch_norm_backward(dout, x, scale, shift):
    c = x - x.mean(axis=0)
    s = 1 / np.sqrt((c * c).mean(axis=0) + x.dtype.type(1e-5))
    x_hat = c * s
    dx = scale * s * (dout - dout.mean(axis=0) - x_hat * (dout * x_hat).mean(axis=0))
    return dx, (dout * x_hat).sum(axis=0), dout.sum(axis=0)


@pytest.mark.parametrize(
    ("layer", "backward"),
    [
        ("affine", affine_backward),
        ("softmax_loss", softmax_loss_backward),
        ("batch_norm", batch_norm_backward),
        ("tanh", lambda dout, x: dout * (1 - np.tanh(x) ** 2)),
        ("relu", lambda dout, x: dout * (x > 0)),
    ],
)
def test_right_code_in_single_precision_is_not_accused(layer: str, backward: Callable[..., Any]) -> None:
    report = cg.check(single(backward), GALLERY[layer])
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("layer", "backward"),
    [
        ("relu", lambda dout, x: dout * (x > 0)),
        ("relu", lambda dout, x: dout * (x >= 0)),
        ("relu", lambda dout, x: dout * 0.5 * (np.sign(x) + 1)),
        ("mae", lambda dout, f, t: (dout * np.sign(f - t) / f.size, -dout * np.sign(f - t) / f.size)),
        (
            "mae",
            lambda dout, f, t: tuple(s * dout * np.where(f >= t, 1.0, -1.0) / f.size for s in (1, -1)),
        ),
    ],
)
def test_another_subgradient_at_a_kink_is_not_accused(layer: str, backward: Callable[..., Any]) -> None:
    report = cg.check(backward, GALLERY[layer])
    assert report.ok, str(report)


def test_a_wrong_backward_is_told_its_cause() -> None:
    report = cg.check(single(lambda dout, x: dout * np.tanh(x)), GALLERY["tanh"])
    assert not report.ok
    assert {f.cause for f in report.faults} != {"precision"}
    assert all(f.evidence for f in report.faults)


# --- custom_op without jvp returns silently 0 (PyTorch) ---------------------------------------------


FORWARD_MODE = ["relu", "softmax", "affine", "batch_norm", "layer_norm", "softmax_loss"]


def inputs_of(layer: cg.Layer) -> list[np.ndarray]:
    """Random arguments of a layer over N, D and K."""
    sizes = {"N": N, "D": D, "K": K}
    shapes = [tuple(sizes[r.name] for r in t.axes) for t in layer.program.inputs]
    return [
        LABELS if t.dtype == "int" else draw(*shape, seed=n)
        for n, (t, shape) in enumerate(zip(layer.program.inputs, shapes, strict=True))
    ]


def moved(inputs: list[np.ndarray], tangents: list[np.ndarray], step: float) -> list[np.ndarray]:
    return [a if t is None else a + step * t for a, t in zip(inputs, tangents, strict=True)]


def tangent_by_torch(
    function: Callable[..., Any], inputs: list[np.ndarray], tangents: list[Any]
) -> np.ndarray:
    """J·t of the emitted function in PyTorch's forward mode."""
    torch = pytest.importorskip("torch")
    floats = [n for n, t in enumerate(tangents) if t is not None]

    def of_floats(*values):
        given_inputs = [torch.tensor(a) for a in inputs]
        for n, value in zip(floats, values, strict=True):
            given_inputs[n] = value
        return function(*given_inputs)

    primals = tuple(torch.tensor(inputs[n]) for n in floats)
    _, tangent = torch.func.jvp(of_floats, primals, tuple(torch.tensor(tangents[n]) for n in floats))
    return tangent.numpy()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch.func's own
@pytest.mark.parametrize("name", FORWARD_MODE)
def test_forward_mode_through_torch_code_is_right(name: str) -> None:
    layer = GALLERY[name]
    inputs = inputs_of(layer)
    tangents = [draw(*a.shape, seed=n + 9) if a.dtype.kind == "f" else None for n, a in enumerate(inputs)]
    step = 1e-6
    expected = (layer(*moved(inputs, tangents, step)) - layer(*moved(inputs, tangents, -step))) / (2 * step)
    assert np.abs(expected).max() > 1e-3
    found = tangent_by_torch(emitted(layer, "torch", jvp=True)[name], inputs, tangents)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch.func's own
@pytest.mark.parametrize("name", FORWARD_MODE)
def test_forward_mode_without_its_rule_is_refused_and_never_zero(name: str) -> None:
    layer = GALLERY[name]
    inputs = inputs_of(layer)
    tangents = [draw(*a.shape, seed=n + 9) if a.dtype.kind == "f" else None for n, a in enumerate(inputs)]
    with pytest.raises((RuntimeError, NotImplementedError), match=r"jvp|forward"):
        tangent_by_torch(emitted(layer, "torch")[name], inputs, tangents)


# --- `x.T @ g` fails under explicit sharding (JAX, custom_vjp) --------------------------------------


@pytest.mark.parametrize("name", ["affine", "softmax_loss", "batch_norm", "softmax"])
def test_jax_code_works_under_explicit_sharding(name: str) -> None:
    jax = pytest.importorskip("jax")
    sharding = pytest.importorskip("jax.sharding")
    if not hasattr(sharding, "AxisType"):
        pytest.skip("this JAX has no explicit axes")
    layer = GALLERY[name]
    inputs = inputs_of(layer)
    value, _ = layer.compile("numpy").forward(*inputs)
    upstream = draw(*np.shape(value), seed=5) if np.ndim(value) else 1.0
    expected = gradients(layer, "numpy", inputs, upstream)
    # One device is enough: the types of the arrays carry the axis either way.
    mesh = jax.make_mesh((1,), ("data",), axis_types=(sharding.AxisType.Explicit,))
    split = sharding.PartitionSpec("data")
    with jax.set_mesh(mesh):
        placed = [
            jax.device_put(a, split) if t.axes[0].name == "N" else jax.numpy.asarray(a)
            for t, a in zip(layer.program.inputs, inputs, strict=True)
        ]
        out, back = jax.vjp(emitted(layer, "jax")[name], *placed)
        above = jax.device_put(upstream, split) if out.ndim else jax.numpy.asarray(upstream, out.dtype)
        found = back(above)
    for ours, true in zip(found, expected, strict=True):
        if true is not None:
            np.testing.assert_allclose(np.asarray(ours), true, rtol=1e-12, atol=1e-14)
