"""Layers called on arrays, compiled for any number of leading axes, with options and optional inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import chalkgrad as cg
from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.layers import GALLERY, affine, attention, relu, softmax_loss

rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3), (2, 1, 4, 3)])
def test_affine_of_any_rank(shape: tuple[int, ...]) -> None:
    x, W, b = rng.normal(size=shape), rng.normal(size=(3, 5)), rng.normal(size=5)
    np.testing.assert_allclose(affine(x, W, b), x @ W + b)
    ops = affine.compile()
    f, cache = ops.forward(x, W, b)
    G = rng.normal(size=f.shape)
    dx, dW, db = ops.backward(G, cache)
    np.testing.assert_allclose(dx, G @ W.T)
    np.testing.assert_allclose(dW, x.reshape(-1, 3).T @ G.reshape(-1, 5))
    np.testing.assert_allclose(db, G.reshape(-1, 5).sum(axis=0))


def test_heads_and_batches_of_attention() -> None:
    q, k, v = (rng.normal(size=(2, 3, 4, 5)) for _ in range(3))
    tensors = [torch.tensor(a, requires_grad=True) for a in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*tensors, is_causal=True)
    causal = attention.with_options(causal=True)
    np.testing.assert_allclose(causal(q, k, v), expected.detach(), rtol=1e-10)
    o, cache = causal.compile().forward(q, k, v)
    G = rng.normal(size=o.shape)
    found = causal.compile().backward(G, cache)
    for ours, theirs in zip(found, torch.autograd.grad(expected, tensors, torch.tensor(G)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_leading_axes_must_agree() -> None:
    with pytest.raises(ShapeError, match="do not agree"):
        attention(rng.normal(size=(2, 4, 5)), rng.normal(size=(4, 5)), rng.normal(size=(4, 5)))


def test_optional_inputs_are_given_by_name() -> None:
    f, y = rng.normal(size=(4, 3)), np.array([0, 2, 1, 1])
    c, w = rng.random(3), rng.random(4)
    expected = torch.nn.functional.cross_entropy(torch.tensor(f), torch.tensor(y), torch.tensor(c))
    weighted = softmax_loss(f, y, class_weight=c, reduction="weighted_mean")
    np.testing.assert_allclose(weighted, expected)
    plain = -np.log(np.exp(f) / np.exp(f).sum(axis=1, keepdims=True))[np.arange(4), y]
    np.testing.assert_allclose(softmax_loss(f, y, sample_weight=w, reduction="sum"), (w * plain).sum())
    np.testing.assert_allclose(softmax_loss(f, y), plain.mean())


def test_a_chain_gives_each_layer_its_rank() -> None:
    block = cg.chain(GALLERY["spatial_batch_norm"], relu)
    assert len(block.program.outputs[0].axes) == 4
    assert block.verify().ok


def test_missing_inputs_and_unknown_options() -> None:
    with pytest.raises(UnsupportedError, match="not given y"):
        softmax_loss(rng.normal(size=(4, 3)))
    with pytest.raises(UnsupportedError, match="no argument strid"):
        GALLERY["conv2d"].with_options(strid=2)
    with pytest.raises(UnsupportedError, match="no argument leading"):
        GALLERY["batch_norm"].with_options(leading=2)
