"""What other systems are known to derive wrongly, each a test of what is right here.

Every test is named after the mistake that it guards against; the heads of the sections say where it was seen.
"""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.diff.derive import for_code
from chalkgrad.emit.cost import cost
from chalkgrad.layers import GALLERY
from tests.emitted import TARGETS, by_the_derivation, draw, gradients

N, D, K = 5, 4, 3
X, W, b = (np.random.default_rng(0).normal(size=s) for s in ((N, D), (D, K), (K,)))
LABELS = np.array([0, 2, 1, 1, 0])


# --- d/dX of a log-softmax loss is silently 0 (SymPy, MatrixSymbol) ---------------------------------


@cg.layer
def log_softmax_regression(X: "N D", W: "D K", b: "K", y: "N int"):
    f = X @ W + b
    l = f - np.log(np.exp(f).sum(axis=1, keepdims=True))  # noqa: E741
    return -l[np.arange(X.shape[0]), y].mean()


def test_the_gradient_of_a_log_softmax_loss_by_the_data_is_not_silently_zero() -> None:
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(a, requires_grad=True) for a in (X, W, b)]
    scores = torch.nn.functional.linear(tensors[0], tensors[1].T, tensors[2])
    torch.nn.functional.cross_entropy(scores, torch.tensor(LABELS)).backward()
    found = by_the_derivation(log_softmax_regression, {"X": X, "W": W, "b": b, "y": LABELS})
    ops = log_softmax_regression.compile("numpy")
    _, saved = ops.forward(X, W, b, LABELS)
    *gradients, of_labels = ops.backward(1.0, saved)
    assert of_labels is None
    for name, tensor, computed in zip("XWb", tensors, gradients, strict=True):
        assert np.abs(found[name]).min() > 1e-6
        np.testing.assert_allclose(found[name], tensor.grad.numpy(), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(computed, tensor.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["log_softmax", "softmax", "logsumexp"])
def test_no_derivative_through_a_normalisation_is_zero(name: str) -> None:
    layer = cg.chain(GALLERY["affine"], GALLERY[name])
    out = layer(X, W, b)
    found = by_the_derivation(layer, {"x": X, "W": W, "b": b}, draw(*out.shape))
    assert all(np.abs(gradient).min() > 1e-6 for gradient in found.values())


# --- strided max pool: `G[p, q/2]` without a parity guard (SymPy, Indexed) --------------------------


def pool1d(window: int, stride: int) -> cg.Layer:
    at = "h" if stride == 1 else f"{stride}*h"
    text = f"x: N C T\nrange p: {window}\nout[n,c,h] = max(p, x[n,c,{at}+p])"
    return cg.formula(text, "pool1d")


WINDOWS = [(2, 1), (2, 2), (3, 2), (3, 3), (2, 3)]


def pooled_by_torch(x: np.ndarray, window: int, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pooled x over its last axes, a random upstream gradient, and PyTorch's gradient by x."""
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(x, requires_grad=True)
    pool = torch.nn.functional.max_pool1d if x.ndim == 3 else torch.nn.functional.max_pool2d
    out = pool(tensor, window, stride)
    upstream = draw(*out.shape, seed=2)
    out.backward(torch.tensor(upstream))
    return out.detach().numpy(), upstream, tensor.grad.numpy()


@pytest.mark.parametrize(
    ("length", "target"), [*((n, "numpy") for n in (6, 7, 9, 11)), (7, "torch"), (7, "jax")]
)
@pytest.mark.parametrize(("window", "stride"), WINDOWS)
def test_strided_max_pool_has_its_parity_guard(window: int, stride: int, length: int, target: str) -> None:
    layer, x = pool1d(window, stride), draw(2, 3, length)
    out, upstream, expected = pooled_by_torch(x, window, stride)
    np.testing.assert_array_equal(layer(x), out)
    found = gradients(layer, target, [x], upstream)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    if stride > window:  # the places between two windows are read by none
        assert not found[:, :, np.arange(length) % stride >= window].any()


@pytest.mark.parametrize(("window", "stride"), WINDOWS)
@pytest.mark.parametrize("length", [6, 7, 9, 11])
def test_the_derivation_of_a_strided_max_pool_has_its_parity_guard(
    window: int, stride: int, length: int
) -> None:
    layer, x = pool1d(window, stride), draw(2, 3, length)
    _, upstream, expected = pooled_by_torch(x, window, stride)
    found = by_the_derivation(layer, {"x": x}, upstream)["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert layer.derive("x", form="closed").verify().ok


@pytest.mark.parametrize(("window", "stride"), WINDOWS)
@pytest.mark.parametrize(("height", "width"), [(7, 9), (8, 5)])
def test_strided_max_pool_in_two_dimensions(window: int, stride: int, height: int, width: int) -> None:
    layer = GALLERY["max_pool"].with_options(window=window, stride=stride)
    x = draw(2, 3, height, width)
    _, upstream, expected = pooled_by_torch(x, window, stride)
    np.testing.assert_allclose(gradients(layer, "numpy", [x], upstream)[0], expected, rtol=1e-14)


def test_no_index_is_divided_without_a_guard() -> None:
    text = str(pool1d(2, 2).derive("x").result)
    assert "/ 2]" not in text
    bounds = {"1(t - 2 * h < 2)", "1(t - 2 * h >= 0)"}
    assert re.search(r"1\(\w+ == \w+ \+ 2 \* \w+\)|%|mod", text) or all(b in text for b in bounds), text


# --- relu'(0) differs between two evaluators of one system (tensorgrad) -----------------------------


@cg.layer
def clipped_below(x: "N D"):
    return np.maximum(x, 0)


@cg.layer
def clipped_below_reversed(x: "N D"):
    return np.maximum(0, x)


@pytest.mark.parametrize("layer", [GALLERY["relu"], clipped_below, clipped_below_reversed])
def test_relu_has_one_derivative_at_zero_everywhere(layer: cg.Layer) -> None:
    x, upstream = np.array([[-1.0, 0.0, -0.0, 2.0]]), np.array([[3.0, 5.0, 7.0, 11.0]])
    reasons = [step.because for step in layer.derive("x").steps]
    assert any("at 0 the subgradient 0 is chosen" in because for because in reasons)
    results = {target: gradients(layer, target, [x], upstream)[0] for target in TARGETS}
    results["reference"] = by_the_derivation(layer, {"x": x}, upstream)["x"]
    for who, found in results.items():
        np.testing.assert_array_equal(found, [[0.0, 0.0, 0.0, 11.0]], err_msg=who)


# --- integer-label cross-entropy gradient costs ~N³ (tensorgrad, compiled) --------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"reduction": "sum"}, {"class_weight": True, "sample_weight": True}, {"label_smoothing": 0.1}],
)
def test_integer_label_cross_entropy_is_linear_in_the_observations(options: dict[str, Any]) -> None:
    _, backward = for_code(GALLERY["softmax_loss"].with_options(**options).program)
    found = cost(backward.definitions)
    for sizes, _ in (*found.flops, *found.traffic):
        assert sizes.count("N") <= 1, found
        assert sizes.count("K") <= 1, found
    assert any("N" in sizes for sizes, _ in found.flops)


def test_integer_label_cross_entropy_memory_is_linear_in_the_observations() -> None:
    ops = GALLERY["softmax_loss"].compile("numpy")

    def peak(observations: int) -> int:
        scores = draw(observations, 10)
        labels = np.arange(observations) % 10
        tracemalloc.start()
        try:
            _, saved = ops.forward(scores, labels)
            ops.backward(1.0, saved)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Sixteen times the observations: 256 times the memory if it were N².
    assert peak(16_000) < 24 * peak(1_000)


# --- 1/N baked in as 0.2 instead of the symbolic size (tensorgrad) ----------------------------------


@pytest.mark.parametrize("target", TARGETS)
def test_the_number_of_observations_stays_a_symbol(target: str) -> None:
    torch = pytest.importorskip("torch")
    layer = GALLERY["softmax_loss"]
    result = str(layer.derive("f").result)
    assert "size(N)" in result
    assert not re.search(r"\d\.\d", result)
    for observations in (5, 12):
        scores, labels = draw(observations, 3), np.arange(observations) % 3
        tensor = torch.tensor(scores, requires_grad=True)
        torch.nn.functional.cross_entropy(tensor, torch.tensor(labels)).backward()
        found = gradients(layer, target, [scores, labels], 1.0)[0]
        np.testing.assert_allclose(found, tensor.grad.numpy(), rtol=1e-12, atol=1e-15)


# --- batch-norm dX of 952 characters with x̂ expanded away (tensorgrad) ------------------------------


def test_batch_norm_is_short_and_reads_what_the_forward_computed() -> None:
    torch = pytest.importorskip("torch")
    layer = GALLERY["batch_norm"]
    rhs = str(layer.derive("x").result.rhs)
    assert len(rhs) < 120, rhs
    assert rhs.count("sum(") == 2, rhs
    assert "x̂[" in rhs
    assert "sqrt" not in rhs
    x, scale, shift, upstream = draw(N, D), draw(D, seed=2), draw(D, seed=3), draw(N, D, seed=4)
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, scale, shift)]
    out = torch.nn.functional.batch_norm(tensors[0], None, None, tensors[1], tensors[2], training=True)
    out.backward(torch.tensor(upstream))
    found = by_the_derivation(layer, {"x": x, "γ": scale, "β": shift}, upstream)
    for name, tensor in zip("xγβ", tensors, strict=True):
        np.testing.assert_allclose(found[name], tensor.grad.numpy(), rtol=1e-10, atol=1e-13)


# --- Σ of soft targets assumed to be 1 without saying so (textbooks) --------------------------------


def test_soft_targets_need_not_sum_to_one() -> None:
    torch = pytest.importorskip("torch")
    layer = GALLERY["soft_target_loss"]
    result = str(layer.derive("f").result.rhs)
    assert re.search(r"sum\((\w), t\[i,\1\]\)", result), result
    scores, targets = draw(N, K), np.abs(draw(N, K, seed=2))
    tensor = torch.tensor(scores, requires_grad=True)
    torch.nn.functional.cross_entropy(tensor, torch.tensor(targets)).backward()
    ops = layer.compile("numpy")
    _, saved = ops.forward(scores, targets)
    np.testing.assert_allclose(ops.backward(1.0, saved)[0], tensor.grad.numpy(), rtol=1e-12, atol=1e-15)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert np.abs(ops.backward(1.0, saved)[0] - (p - targets) / N).max() > 0.01


def test_soft_targets_sum_to_one_only_when_declared() -> None:
    declared = GALLERY["soft_target_loss"].with_options(normalised=True)
    result = str(declared.derive("f").result.rhs)
    assert "sum(" not in result
    assert "declares" in (declared.__doc__ or "")
    scores, targets = draw(N, K), np.full((N, K), 1 / K)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    gradients = []
    for layer in (declared, GALLERY["soft_target_loss"]):
        ops = layer.compile("numpy")
        _, saved = ops.forward(scores, targets)
        gradients.append(ops.backward(1.0, saved)[0])
    for found in gradients:
        np.testing.assert_allclose(found, (p - targets) / N, rtol=1e-12, atol=1e-15)
