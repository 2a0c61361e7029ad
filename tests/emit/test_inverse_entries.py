"""Any entries of an inverse: its diagonal, one place, what labels choose, of matrices that they choose."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.verify.oracle import adjoints
from chalkgrad.verify.sample import sample

ENTRIES = {
    "trace": "L = sum(i, inv(n m, A[n,m])[i,i])",
    "diagonal": "y[i] = inv(n m, A[n,m])[i,i] * w[i]",
    "row": "y[k] = inv(i j, A[i,j])[0,k] * w[k]",
    "one place": "y = inv(i j, A[i,j])[0,1]^2",
    "labels": "t: K int\ny[k] = inv(i j, A[i,j])[t[k],t[k]]",
    "own matrix": "y[a,b] = inv(i j, A[i,j] + 9 * w[a]^2 * 1(i == j))[a,b]",
    "own diagonal": "y[a] = inv(i j, A[i,j] + 9 * w[a]^2 * 1(i == j))[a,a]",
    "stack of matrices": "y[b] = sum(i, inv(n m, A[b,n,m])[i,i] * w[i])",
    "beside the whole": "L = sum(a b, inv(i j, A[i,j])[a,b] * inv(i j, A[i,j])[b,a] * w[a])"
    " + sum(a, inv(i j, A[i,j])[a,a])",
    "inside a function": "L = log(3 + sum(a, inv(i j, A[i,j])[a,a])^2)",
}


def agrees(layer: cg.Layer, target: str) -> None:
    """Code against the slow evaluator."""
    program = layer.program
    env = sample(program, 0)
    inputs, out = [env.arrays[t] for t in program.inputs], env.arrays[program.outputs[0]]
    upstream = np.random.default_rng(0).normal(size=out.shape)
    truth = adjoints(program, env, {program.outputs[0]: upstream}).values
    if target == "torch":
        torch = pytest.importorskip("torch")
        tensors = [torch.tensor(a, requires_grad=a.dtype == float) for a in inputs]
        found = layer.compile("torch")(*tensors)
        found.backward(torch.tensor(upstream))
        found, gradients = found.detach().numpy(), [t.grad for t in tensors]
    else:
        ops = layer.compile("numpy")
        found, cache = ops.forward(*inputs)
        gradients = ops.backward(upstream, cache)
    np.testing.assert_allclose(found, out, rtol=1e-10)
    for t, gradient in zip(program.inputs, gradients, strict=True):
        if t.dtype == "float":
            np.testing.assert_allclose(gradient, truth[t.adjoint], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_entries_derive_and_compile(name, target):
    layer = cg.formula(ENTRIES[name])
    assert layer.derive().verify().ok
    agrees(layer, target)


@pytest.mark.parametrize("name", ["trace", "diagonal", "one place", "own matrix"])
def test_their_gradient_is_a_layer(name):
    gradient = cg.formula(ENTRIES[name]).gradient("A")
    assert gradient.derive().verify().ok
    agrees(gradient, "numpy")


def test_a_traced_trace_of_an_inverse_is_one_inverse_and_one_product():
    def trace(A: "N N"):
        return np.trace(np.linalg.inv(A))

    code = cg.layer(trace).source("numpy")
    assert code.count("np.linalg.inv(") == 1
    assert "inv.T @ inv.T" in code
