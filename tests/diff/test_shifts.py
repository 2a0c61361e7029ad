"""Sums of exponentials times factors, and quotients of them: right for scores of any size."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.diff.normal_form import normal_form
from chalkgrad.diff.stable import stabilise
from chalkgrad.train.formula import minimise
from chalkgrad.verify.reference import run
from tests.emitted import TARGETS, gradients

torch = pytest.importorskip("torch")

N, K = 4, 5
RNG = np.random.default_rng(0)
M = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 1, 1, 0, 1]], bool)

INPUTS = {
    "f": RNG.normal(size=(N, K)), "w": RNG.uniform(0.2, 2, size=K), "v": RNG.uniform(0.2, 2, size=(N, K)),
    "V": RNG.normal(size=(K, 3)), "m": M, "x": RNG.normal(size=N), "c": RNG.normal(size=K),
    "y": np.array([1, 0, 4, 2]), "a": np.array(1.5),
}  # fmt: skip

MASK = "m: N K bool\n"


def lse(t, weights=None):
    """log Σ_k w_k exp(t_k) by PyTorch, weights as logarithms."""
    return torch.logsumexp(t if weights is None else t + torch.log(weights), 1)


def hidden(g):
    return g["f"].masked_fill(~g["m"], -torch.inf)


CAUSAL = torch.ones(N, K, dtype=torch.bool).tril()

STABLE = {
    "mean": ("y[i] = log(mean(k, exp(f[i,k])))", lambda g: lse(g["f"]) - np.log(K)),
    "divided": ("y[i] = log(sum(k, exp(f[i,k])) / 7)", lambda g: lse(g["f"]) - np.log(7)),
    "scaled": ("y[i] = log(sum(k, exp(a * f[i,k]))) / a", lambda g: lse(g["a"] * g["f"]) / g["a"]),
    "weighted": ("y[i] = log(sum(k, w[k] * exp(f[i,k])))", lambda g: lse(g["f"], g["w"])),
    "weighted each": ("y[i] = log(sum(k, v[i,k] * exp(f[i,k])))", lambda g: lse(g["f"], g["v"])),
    "root": ("y[i] = log(sqrt(sum(k, exp(f[i,k]))))", lambda g: lse(g["f"]) / 2),
    "mixture": (
        "y[i] = log(sum(k, w[k] * exp(-(x[i] - c[k])^2 / 2)))",
        lambda g: lse(-((g["x"][:, None] - g["c"]) ** 2) / 2, g["w"]),
    ),
    "masked softmax": (
        MASK + "p[i,k] = m[i,k] * exp(f[i,k]) / sum(j, m[i,j] * exp(f[i,j]))",
        lambda g: hidden(g).softmax(1),
    ),
    "masked, named": (
        MASK + "u[i,k] = m[i,k] * exp(f[i,k])\np[i,k] = u[i,k] / sum(j, u[i,j])",
        lambda g: hidden(g).softmax(1),
    ),
    "masked by where": (
        MASK + "u[i,k] = where(m[i,k], exp(f[i,k]), 0)\np[i,k] = u[i,k] / sum(j, u[i,j])",
        lambda g: hidden(g).softmax(1),
    ),
    "unmasked by where": (
        MASK + "u[i,k] = where(1 - m[i,k], 0, exp(f[i,k]))\np[i,k] = u[i,k] / sum(j, u[i,j])",
        lambda g: hidden(g).softmax(1),
    ),
    "masked log": (MASK + "y[i] = log(sum(k, m[i,k] * exp(f[i,k])))", lambda g: lse(hidden(g))),
    "causal": (
        "p[i,k] = 1(k <= i) * exp(f[i,k]) / sum(j, 1(j <= i) * exp(f[i,j]))",
        lambda g: g["f"].masked_fill(~CAUSAL, -torch.inf).softmax(1),
    ),
    "causal weights": (
        "p[i,k] = w[k] * 1(k <= i) * exp(f[i,k]) / sum(j, w[j] * 1(j <= i) * exp(f[i,j]))",
        lambda g: (g["f"] + torch.log(g["w"])).masked_fill(~CAUSAL, -torch.inf).softmax(1),
    ),
    "attention": (
        "o[i,d] = sum(k, exp(f[i,k]) * V[k,d]) / sum(k, exp(f[i,k]))",
        lambda g: g["f"].softmax(1) @ g["V"],
    ),
    "expectation": (
        "o[i] = sum(k, exp(f[i,k]) * c[k]) / sum(k, exp(f[i,k]) * w[k])",
        lambda g: (g["f"].softmax(1) @ g["c"]) / (g["f"].softmax(1) @ g["w"]),
    ),
    "square": (
        "o[i] = sum(k, exp(f[i,k]) * c[k])^2 / sum(k, exp(f[i,k]))^2",
        lambda g: (g["f"].softmax(1) @ g["c"]) ** 2,
    ),
    "label": (
        "L = -mean(i, log(exp(f[i,y[i]]) / sum(k, exp(f[i,k]))))",
        lambda g: torch.nn.functional.cross_entropy(g["f"], g["y"]),
    ),
    "softmax of all": (
        "p[i,k] = exp(f[i,k]) / sum(n j, exp(f[n,j]))",
        lambda g: g["f"].flatten().softmax(0).reshape(N, K),
    ),
    "of columns": ("p[i,k] = exp(f[i,k]) / sum(n, exp(f[n,k]))", lambda g: g["f"].softmax(0)),
    "tanh": ("y[i] = (exp(x[i]) - exp(-x[i])) / (exp(x[i]) + exp(-x[i]))", lambda g: torch.tanh(g["x"])),
    "tanh, turned": (
        "y[i] = (exp(-x[i]) - exp(x[i])) / (exp(x[i]) + exp(-x[i]))",
        lambda g: -torch.tanh(g["x"]),
    ),
    "tanh of a half": (
        "y[i] = (exp(x[i]/2) - exp(-x[i]/2)) / (exp(x[i]/2) + exp(-x[i]/2))",
        lambda g: torch.tanh(g["x"] / 2),
    ),
    "tanh by twice": ("y[i] = (exp(2*x[i]) - 1) / (exp(2*x[i]) + 1)", lambda g: torch.tanh(g["x"])),
    "tanh by minus twice": ("y[i] = (1 - exp(-2*x[i])) / (1 + exp(-2*x[i]))", lambda g: torch.tanh(g["x"])),
    "tanh by sinh": ("y[i] = sinh(x[i]) / cosh(x[i])", lambda g: torch.tanh(g["x"])),
}  # fmt: skip
"""Formulas, and the same by PyTorch's own stable functions."""


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", [1.0, 1e3])
@pytest.mark.parametrize("name", STABLE)
@pytest.mark.filterwarnings("error")
def test_values_and_gradients_are_right_for_large_scores(name, size, target):
    text, oracle = STABLE[name]
    layer = cg.formula(text, "stable")
    given = {**INPUTS, "f": size * INPUTS["f"], "x": size * INPUTS["x"]}
    inputs = [given[t.name] for t in layer.program.inputs]
    tensors = {n: torch.tensor(a, requires_grad=a.dtype.kind == "f") for n, a in given.items()}
    wanted = oracle(tensors)
    upstream = np.cos(np.arange(wanted.numel())).reshape(wanted.shape) if wanted.ndim else 1.0
    wanted.backward(torch.as_tensor(upstream, dtype=torch.float64))
    value, _ = layer.compile("numpy").forward(*inputs)
    np.testing.assert_allclose(value, wanted.detach().numpy(), rtol=1e-9, atol=1e-12)
    for t, found in zip(layer.program.inputs, gradients(layer, target, inputs, upstream), strict=True):
        if t.dtype == "float":
            expected = tensors[t.name].grad.numpy()
            scale = 1 + np.abs(expected).max()
            np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10 * scale, err_msg=t.name)


@pytest.mark.parametrize("name", STABLE)
def test_derivations_hold(name):
    derivation = cg.formula(STABLE[name][0], "stable").derive()
    assert derivation.verify().worst < 1e-6


VISIBLE = {
    "the sum itself": "y[i] = sum(k, exp(f[i,k]))",
    "another's sum": "p[i,k] = exp(g[i,k]) / sum(j, exp(g[k,j]))",
    "a constant beside": "p[i,k] = exp(f[i,k]) / (1 + sum(j, exp(f[i,j])))",
    "summed over rows": "y[k] = sum(i, exp(f[i,k])) / sum(i, sum(j, exp(f[i,j]))^2)",
    "inside a function": "y[i] = tanh(sum(k, exp(f[i,k])))",
    "two logarithms": "y[i] = log(log(2 + sum(k, exp(f[i,k]))))",
    "an output too": "e[i,k] = exp(f[i,k])\np[i,k] = e[i,k] / sum(j, e[i,j]) + e[i,k]",
    "degrees differ": "p[i] = sum(k, exp(f[i,k])) / sum(k, exp(f[i,k]))^2 * x[i]",
    "compared with a number": "p[i,k] = where(exp(f[i,k]) > 1, exp(f[i,k]) / sum(j, exp(f[i,j])), 0)",
}
"""Formulas that a shift would change."""


@pytest.mark.parametrize("name", VISIBLE)
def test_what_could_notice_is_not_shifted(name):
    program = normal_form(cg.formula(VISIBLE[name]).program)
    safe, _, shifts = stabilise(program)
    assert not shifts
    given = {**INPUTS, "g": RNG.normal(size=(K, K))}
    inputs = {t: given[t.name] for t in program.inputs}
    for out in program.outputs:
        np.testing.assert_allclose(run(safe, inputs)[out], run(program, inputs)[out], rtol=1e-12)


@pytest.mark.parametrize("name", STABLE)
def test_the_safe_forward_is_the_same_function(name):
    program = normal_form(cg.formula(STABLE[name][0]).program)
    safe, _, _ = stabilise(program)
    inputs = {t: INPUTS[t.name] for t in program.inputs}
    for out in program.outputs:
        np.testing.assert_allclose(run(safe, inputs)[out], run(program, inputs)[out], rtol=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "llvm", "torch"])
def test_engines_train_with_a_masked_softmax(engine):
    if engine == "llvm":
        pytest.importorskip("llvmlite")
    layer = cg.formula(
        MASK + "y: N int\nf[i,k] = sum(d, x[i,d] * W[d,k])\n"
        "p[i,k] = m[i,k] * exp(f[i,k]) / sum(j, m[i,j] * exp(f[i,j]))\nL = -mean(i, log(p[i,y[i]]))"
    )
    labels = np.arange(8) % 3
    data = {"x": 500 * RNG.normal(size=(8, 2)), "y": labels, "m": labels[:, None] >= np.arange(3)}

    def losses(engine):
        return minimise(layer, {"W": np.ones((2, 3))}, data, epochs=3, engine=engine, dtype=np.float64).losses

    assert np.isfinite(losses("plain")).all()
    np.testing.assert_allclose(losses(engine), losses("plain"), rtol=1e-9)
