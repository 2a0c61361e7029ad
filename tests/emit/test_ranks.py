"""Emitted PyTorch and JAX code computes what a layer means at every rank, or says that it takes none such."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import ShapeError
from chalkgrad.layers import GALLERY
from chalkgrad.verify.sample import sample

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

TENSOR = {"torch": torch.tensor, "jax": jax.numpy.asarray}
LEADING = [name for name, layer in GALLERY.items() if layer.forward.has_leading_axes]
FIXED = [name for name in GALLERY if name not in LEADING]


def drawn(layer: cg.Layer) -> list[np.ndarray]:
    env = sample(layer.program, 0)
    return [np.asarray(env.arrays[t]) for t in layer.program.inputs]


def gradients(target: str, function: Any, arrays: list[np.ndarray], upstream: np.ndarray) -> list[Any]:
    if target == "torch":
        tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
        function(*tensors).backward(torch.tensor(upstream))
        return [t.grad for t in tensors]
    floats = [n for n, a in enumerate(arrays) if a.dtype.kind == "f"]

    def of_floats(*given: Any) -> Any:
        return function(*(given[floats.index(n)] if n in floats else a for n, a in enumerate(arrays)))

    _, back = jax.vjp(of_floats, *(jax.numpy.asarray(arrays[n]) for n in floats))
    found = dict(zip(floats, back(jax.numpy.asarray(upstream)), strict=True))
    return [found.get(n) for n in range(len(arrays))]


@pytest.mark.parametrize("target", TENSOR)
@pytest.mark.parametrize("leading", [0, 1, 3])
@pytest.mark.parametrize("name", LEADING)
def test_any_leading_axes(name: str, leading: int, target: str) -> None:
    """One compiled layer takes any number of them, with the values and gradients of the NumPy code."""
    layer = GALLERY[name]
    arrays = drawn(layer.with_options(leading=leading))
    made, ops = layer.compile(target), layer.compile("numpy")
    value, cache = ops.forward(*arrays)
    np.testing.assert_allclose(made(*map(TENSOR[target], arrays)), value, rtol=1e-9, atol=1e-12)
    upstream = np.cos(np.arange(value.size)).reshape(value.shape)
    found = gradients(target, made, arrays, upstream)
    for ours, expected in zip(found, ops.backward(upstream, cache), strict=True):
        if expected is not None:
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", FIXED)
def test_other_ranks_are_refused_as_by_numpy(name: str) -> None:
    """Each input in turn with an axis too many: broadcasting would make another function of it."""
    layer = GALLERY[name]
    arrays = drawn(layer)
    for place in range(len(arrays)):
        wrong = [a[None] if n == place else a for n, a in enumerate(arrays)]
        with pytest.raises(ShapeError) as expected:
            layer.compile("numpy").forward(*wrong)
        for target, tensor in TENSOR.items():
            with pytest.raises(ShapeError) as found:
                layer.compile(target)(*map(tensor, wrong))
            assert str(found.value) == str(expected.value)


def test_what_the_module_defines_is_checked_too() -> None:
    f = np.ones((2, 3, 4))
    by_torch, by_jax = GALLERY["softmax"].compile("torch"), GALLERY["softmax"].compile("jax")
    with pytest.raises(ShapeError, match="f has 3 axes"):
        by_torch.Softmax.apply(torch.tensor(f))
    with pytest.raises(ShapeError, match="f has 3 axes"):
        by_jax.softmax_forward(f)
    np.testing.assert_allclose(by_torch.softmax(f=torch.tensor(f)), f / 4)
    np.testing.assert_allclose(by_jax.softmax(f), f / 4)


def test_a_module_with_parameters_takes_any_leading_axes() -> None:
    layer = GALLERY["layer_norm"]
    x, gamma, beta = drawn(layer.with_options(leading=3))
    made = layer.compile("torch", parameters=("gamma", "beta"))
    module = made.LayerNormModule(torch.tensor(gamma), torch.tensor(beta), eps=0.5)
    found = module(torch.tensor(x)).detach()
    np.testing.assert_allclose(found, layer(x, gamma, beta, eps=0.5))


# PyTorch's compiler warns of its own deprecated parts.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("rank", [2, 4])
def test_under_the_frameworks_transformations(rank: int) -> None:
    """Traced, a call chooses its code by the rank; mapped, by the rank of one example."""
    layer = GALLERY["softmax"]
    f = np.random.default_rng(0).normal(size=(2, 3, 4, 5)[-rank:])
    expected = layer(f)
    torch._dynamo.reset()
    whole = torch.compile(layer.compile("torch"), fullgraph=True, backend="eager")
    np.testing.assert_allclose(whole(torch.tensor(f)), expected)
    np.testing.assert_allclose(torch.func.vmap(layer.compile("torch"))(torch.tensor(f)), expected)
    np.testing.assert_allclose(jax.jit(layer.compile("jax"))(f), expected)
    np.testing.assert_allclose(jax.vmap(layer.compile("jax"))(f), expected)
    with pytest.raises(ShapeError, match="axes"):
        jax.jit(cg.formula("y[i] = x[i]^2").compile("jax"))(f)
