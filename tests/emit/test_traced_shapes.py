"""Emitted code of traced functions that cut and join axes, its gradients against PyTorch's autograd.

A part of an axis under a function is where code goes wrong: the derivative reads a slice of the upstream
gradient beside the whole of something else.
"""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg

torch = pytest.importorskip("torch")

SIZES = {"N": 5, "D": 4, "K": 3, "H": 6, "T": 7, "B": 2, "M": 2}

CASES = [
    ("lambda x, y: lib.tanh(cat([x, y], 1)) ** 2", "N D", "N K"),
    ("lambda x, y: lib.exp(cat([x, y], 1)) * cat([x, y], 1)", "N D", "N K"),
    ("lambda x, y: cat([x, y], 0) / (1 + lib.exp(cat([x, y], 0)).sum(0))", "N D", "K D"),
    ("lambda x, y: lib.log(lib.exp(cat([x, y, x], 1)).sum(1))", "N 1", "N K"),
    ("lambda x, y: (stack([x, y], 1) ** 3).sum(0)", "N D", "N D"),
    ("lambda x: (lambda a, b: a * lib.sin(b))(*parts(x, 2))", "N H"),
    ("lambda x: (lambda a, b, c: a / (1 + lib.exp(-b)) + c)(*parts(x, 3))", "N H"),
    ("lambda x: lib.exp(cat([-parts(x, 2)[1], parts(x, 2)[0]], 1))", "N H"),
    ("lambda x: lib.tanh(x[:, x.shape[1] // 2 :])", "N H"),
    ("lambda x: lib.exp(x[:, : x.shape[1] // 2]).sum(1)", "N H"),
    ("lambda x: x[1:] ** 2 - lib.cos(x[:-1])", "T D"),
    ("lambda x: (x[1:-1] ** 2 * x[2:] - x[:-2]).sum(0)", "T D"),
    ("lambda x: lib.exp(x[::3]).sum(0)", "T D"),
    ("lambda x: lib.exp(x[2:-1:2]).sum(0)", "T D"),
    ("lambda x: cat([x[-1:], x[:-1]], 0) * x", "T D"),
    ("lambda x: cat([0 * x[:1], x[:-1]], 0) * lib.sin(x)", "T D"),
    ("lambda x, y: (cat([x[1:] * y[:-1], x[:2]], 0) ** 2).sum(0)", "T D", "T D"),
    ("lambda x: x[-1] * x[0] + lib.exp(x[3])", "T D"),
    ("lambda x, y: lib.log(x[y] ** 2 + 1) * x[y]", "N D", "M int"),
    ("lambda x: lib.einsum('...d,...e->...de', x, x).sum(0)", "B N D"),
    ("lambda x: lib.cos(x) * lib.sin(x) + lib.cos(x)", "N D"),
    ("lambda x: x * clip(x + 3, 0, 6) / 6 + clip(x, -0.5, 0.5) ** 2", "N D"),
]

NUMPY = {
    "lib": np, "cat": np.concatenate, "stack": np.stack, "clip": np.clip,
    "parts": lambda x, n: np.split(x, n, axis=1),
}  # fmt: skip
TORCH = {
    "lib": torch, "cat": torch.cat, "stack": torch.stack, "clip": torch.clamp,
    "parts": lambda x, n: torch.split(x, x.shape[1] // n, 1),
}  # fmt: skip


def drawn(axes: str, rng: np.random.Generator) -> np.ndarray:
    names = axes.split()
    if names[-1] == "int":
        return rng.integers(0, SIZES["N"], [SIZES[n] for n in names[:-1]])
    return rng.normal(size=[SIZES.get(n) or int(n) for n in names])


def traced(text: str, axes: tuple[str, ...]):
    made = eval(text, dict(NUMPY))
    made.__annotations__ = dict(zip(made.__code__.co_varnames, axes, strict=False))
    made.__name__ = "made"
    return cg.layer(made)


def compiled(layer, target: str):
    if target == "numpy":
        ops = layer.compile("numpy")
        return ops.forward, ops.backward, np.asarray
    space: dict[str, object] = {}
    exec(layer.source(target), space)
    if target == "jax":
        jax = pytest.importorskip("jax")
        return jax.jit(space["made_forward"]), jax.jit(space["made_backward"]), jax.numpy.asarray
    return space["made"], None, None


@pytest.mark.parametrize("target", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].removeprefix("lambda "))
def test_gradients_are_autograds(case, target):
    text, *axes = case
    rng = np.random.default_rng(3)
    inputs = [drawn(a, rng) for a in axes]
    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    expected = eval(text, dict(TORCH))(*tensors)
    upstream = rng.normal(size=tuple(expected.shape))
    differentiable = [t for t in tensors if t.requires_grad]
    wanted = torch.autograd.grad(expected, differentiable, torch.tensor(upstream))
    forward, backward, convert = compiled(traced(text, tuple(axes)), target)
    if backward is None:
        again = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
        out = forward(*again)
        found = torch.autograd.grad(out, [t for t in again if t.requires_grad], torch.tensor(upstream))
        out = out.detach()
    else:
        out, cache = forward(*map(convert, inputs))
        found = [g for g in backward(convert(upstream), cache) if g is not None]
    np.testing.assert_allclose(np.asarray(out), expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), rtol=1e-9, atol=1e-11)
