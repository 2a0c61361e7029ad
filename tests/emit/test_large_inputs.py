"""Inputs of ±1e4: every built-in layer gives finite values and gradients, without a warning."""

from __future__ import annotations

import numpy as np
import pytest

from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.verify.sample import sample
from tests.emit.gallery import numpy_code

OUTSIDE = {
    ("poisson_loss", "f"): "exp(1e4) is the loss",
    ("poisson_regression", "X"): "exp(1e4) is the loss",
    ("poisson_regression", "w"): "exp(1e4) is the loss",
    ("gamma_regression", "w"): "exp(1e4) is the loss",
    ("gamma_regression", "X"): "exp(1e4) is the loss",
    ("gaussian_nll", "v"): "a variance is positive",
    ("kl_divergence", "t"): "a probability is positive",
    ("batch_norm_eval", "v"): "a variance is positive",
}
"""Inputs for which such values are not finite in exact arithmetic, and why."""

CASES = [
    (name, t.name)
    for name, forward in FORWARDS.items()
    for t in forward.program.inputs
    if t.dtype == "float" and (name, t.name) not in OUTSIDE
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "which"), CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_finite(name, which, dtype):
    program = FORWARDS[name].program
    ops = numpy_code(name)
    env = sample(program, 0)
    arrays = []
    for t in program.inputs:
        a = env.arrays[t]
        if t.name == which and a.ndim:
            a = a + np.where(np.arange(a.size).reshape(a.shape) % 2, 1e4, -1e4)
        arrays.append(a.astype(dtype) if t.dtype == "float" else a)
    out, cache = ops.forward(*arrays)
    outputs = out if isinstance(out, tuple) else (out,)
    gradients = ops.backward(*(np.ones(np.shape(o), dtype) for o in outputs), cache)
    for a in (*outputs, *(g for g in gradients if g is not None)):
        assert np.isfinite(a).all(), ops.source
        assert np.asarray(a).dtype == dtype or not np.ndim(a), ops.source


@pytest.mark.parametrize(
    "name", ["sigmoid", "softplus", "silu", "gelu", "elu", "selu", "mish", "tanh", "softmax"]
)
def test_right_at_large_inputs(name):
    torch = pytest.importorskip("torch")
    functions = {
        "elu": torch.nn.functional.elu, "selu": torch.nn.functional.selu, "gelu": torch.nn.functional.gelu,
        "silu": torch.nn.functional.silu, "mish": torch.nn.functional.mish, "tanh": torch.tanh,
        "softplus": torch.nn.functional.softplus, "sigmoid": torch.sigmoid, "softmax": lambda x: x.softmax(1),
    }  # fmt: skip
    x = np.array([[-1e4, -700.0, -30.0, -1.0], [0.5, 30.0, 700.0, 1e4]])
    ops = numpy_code(name)
    out, cache = ops.forward(x)
    (dx,) = ops.backward(np.ones_like(x), cache)
    given = torch.tensor(x, requires_grad=True)
    expected = functions[name](given)
    (wanted,) = torch.autograd.grad(expected.sum(), given)
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(dx, wanted.numpy(), rtol=1e-11, atol=1e-15)
