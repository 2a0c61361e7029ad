"""Σ_e 1(e <= d) x_e is a running sum: no matrix of D × D numbers, forward or backward."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.train.formula import minimise
from chalkgrad.verify.reference import run
from tests.emitted import TARGETS, by_the_derivation, gradients

FORMULAS = {
    "up to": "y[i,d] = sum(e, 1(e <= d) * x[i,e])",
    "turned": "y[i,d] = sum(e, 1(d >= e) * x[i,e])",
    "from": "y[i,d] = sum(e, 1(e >= d) * x[i,e])",
    "from, turned": "y[i,d] = sum(e, 1(d <= e) * x[i,e])",
    "first axis": "y[d,i] = sum(e, 1(e <= d) * x[e,i])",
    "transposed": "y[d,i] = sum(e, 1(e <= d) * x[i,e])",
    "vector": "y[d] = sum(e, 1(e <= d) * v[e]^2)",
    "weighted": "y[i,d] = v[d] * sum(e, 1(e <= d) * x[i,e] * v[e])",
    "of products": "y[i,d] = sum(e j, 1(e <= d) * x[i,j] * W[j,e])",
    "three axes": "y[i,d,j] = sum(e, 1(e <= d) * t[i,e,j])",
    "last of three": "y[i,j,d] = sum(e, 1(e >= d) * t[i,j,e])",
    "loss": "L = sum(i d, sum(e, 1(e <= d) * x[i,e])^2)",
}

DENSE = {
    "both sides": "y[i,d] = sum(e, 1(e <= d) * W[d,e] * x[i,e])",
    "causal": "p[d,e] = 1(e <= d) * exp(W[d,e]) / sum(g, 1(g <= d) * exp(W[d,g]))\n"
    "y[i,d] = sum(e, p[d,e] * x[i,e])",
    "strict": "y[i,d] = sum(e, 1(e < d) * x[i,e])",
}  # fmt: skip
"""Sums under a comparison that are no running sums of anything."""

RNG = np.random.default_rng(0)
INPUTS = {
    "x": RNG.normal(size=(3, 4)), "v": RNG.normal(size=4), "W": RNG.normal(size=(4, 4)),
    "t": RNG.normal(size=(4, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", {**FORMULAS, **DENSE})
def test_values_and_gradients(name, target):
    layer = cg.formula({**FORMULAS, **DENSE}[name], "running")
    x = INPUTS["x"].T if name == "first axis" else INPUTS["x"]
    given = {**INPUTS, "x": x}
    inputs = [given[t.name] for t in layer.program.inputs]
    out = layer.program.outputs[0]
    value, _ = layer.compile("numpy").forward(*inputs)
    expected = run(layer.program, dict(zip(layer.program.inputs, inputs, strict=True)))[out]
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    upstream = np.cos(np.arange(np.size(value))).reshape(np.shape(value)) if np.ndim(value) else 1.0
    wanted = by_the_derivation(layer, given, upstream if np.ndim(value) else None)
    found = gradients(layer, target, inputs, upstream)
    for t, gradient in zip(layer.program.inputs, found, strict=True):
        np.testing.assert_allclose(gradient, wanted[t.name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FORMULAS)
def test_the_code_says_so(name, target):
    text = cg.formula(FORMULAS[name]).source(target)
    assert "cumsum" in text, text
    assert "arange" not in text, text


@cg.layer
def running(x: "N D"):
    return np.cumsum(x, axis=1)


def test_memory_grows_with_the_input():
    ops, x = running.compile("numpy"), np.ones((2, 4000))
    ops.backward(x, ops.forward(x)[1])
    tracemalloc.start()
    ops.backward(x, ops.forward(x)[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * x.nbytes


@pytest.mark.parametrize("engine", ["numpy", "llvm", "torch"])
def test_engines_agree(engine):
    if engine != "numpy":
        pytest.importorskip({"llvm": "llvmlite", "torch": "torch"}[engine])
    layer = cg.formula(
        "f[i,k] = sum(d, x[i,d] * W[d,k])\nc[i,k] = sum(j, 1(j <= k) * f[i,j])\n"
        "L = mean(i, sum(k, (c[i,k] - t[i,k])^2))"
    )
    data = {"x": RNG.normal(size=(6, 3)), "t": RNG.normal(size=(6, 4))}

    def losses(engine):
        return minimise(layer, {"W": np.ones((3, 4))}, data, epochs=3, engine=engine).losses

    try:
        found = losses(engine)
    except cg.errors.UnsupportedError:
        assert engine == "llvm"  # which has no kernel for a product with a comparison
        return
    np.testing.assert_allclose(found, losses("plain"), rtol=1e-5)
