"""The emitted code of derived layers: its text (golden files), its values, its formatting.

Write the golden files anew with `CHALKGRAD_GOLDEN=write pytest tests/emit/test_derived.py`, then
read the difference.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chalkgrad.diff.derive import for_code
from chalkgrad.emit.compiled import compile_numpy
from chalkgrad.emit.module_text import source
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.verify.oracle import adjoints
from chalkgrad.verify.sample import sample

GOLDEN = Path(__file__).parent.parent / "golden"

FORMULAS = {
    "affine": "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]",
    "softmax": "p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))",
    "softmax_loss": "p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\nL = -mean(i, log(p[i,y[i]]))",
    "mse": "L = mean(i d, (yhat[i,d] - t[i,d])^2)",
    "tanh_layer": "y[i,k] = tanh(sum(d, x[i,d] * W[d,k]) + b[k])",
    "sigmoid": "y[i,k] = sigmoid(x[i,k])",
    "l2": "L = 1/2 * lam * sum(d k, W[d,k]^2)",
    "two_layer_net": """
h[i,m] = relu(sum(d, x[i,d] * W1[d,m]) + b1[m])
f[i,k] = sum(m, h[i,m] * W2[m,k]) + b2[k]
p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))
L = -mean(i, log(p[i,y[i]]))""",
}


def made(name):
    return for_code(read_formula(FORMULAS[name], name))


@pytest.mark.parametrize("target", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("name", FORMULAS)
def test_golden(name, target):
    folder = GOLDEN if target == "numpy" else GOLDEN / target
    text, path = source(*made(name), target=target), folder / f"{name}.py"
    if os.environ.get("CHALKGRAD_GOLDEN") == "write":
        folder.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert text == source(*made(name), target=target)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("seed", [0, 1])
def test_values(name, seed):
    """Gradients equal the numerical ones of the formula as it was written."""
    program = read_formula(FORMULAS[name], name)
    env = sample(program, seed)
    rng = np.random.default_rng(seed)
    shapes = {t: tuple(env.size(r) for r in t.axes) for t in program.outputs}
    upstream = {t: rng.normal(size=shape) for t, shape in shapes.items()}
    ops = compile_numpy(*for_code(program))
    out, cache = ops.forward(*(env.arrays[t] for t in program.inputs))
    np.testing.assert_allclose(out, env.arrays[program.outputs[0]], rtol=1e-12, atol=1e-12)
    found = ops.backward(*upstream.values(), cache)
    numerical = adjoints(program, env, upstream)
    for tensor, gradient in zip(program.inputs, found, strict=True):
        if tensor.dtype != "float":
            assert gradient is None
            continue
        expected = numerical.values[tensor.adjoint]
        assert np.shape(gradient) == expected.shape
        np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-8)


def test_formatted_as_ruff_does():
    """Apart from the column of comments, which a formatter would push against the code."""
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(GOLDEN.glob("*.py")))
    squeezed = re.sub(r"(\S) {2,}# ", r"\1  # ", text)
    pieces = squeezed.split("import numpy as np\n")[1:]
    for piece in pieces:
        command = [
            sys.executable,
            "-m",
            "ruff",
            "format",
            "--isolated",
            "--line-length",
            "100",
            "--diff",
            "-",
        ]
        done = subprocess.run(
            command, input="import numpy as np\n" + piece, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_large_scores_are_finite():
    ops = compile_numpy(*made("softmax_loss"))
    loss, cache = ops.forward(np.array([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]]), np.array([1, 2]))
    gradient, _ = ops.backward(1.0, cache)
    assert np.isfinite(loss)
    np.testing.assert_allclose(gradient, [[0.5, -0.5, 0.0], [1 / 6, 1 / 6, -1 / 3]])


@pytest.mark.parametrize("name", FORMULAS)
def test_single_precision_through_both_passes(name):
    program = read_formula(FORMULAS[name], name)
    env = sample(program, 0)
    arrays = [env.arrays[t] for t in program.inputs]
    single = [a.astype(np.float32) if a.ndim and a.dtype == float else a for a in arrays]
    ops = compile_numpy(*for_code(program))
    out, cache = ops.forward(*single)
    assert out.dtype == np.float32
    upstream = np.ones(out.shape, np.float32) if out.ndim else 1.0
    for gradient in ops.backward(upstream, cache):
        assert gradient is None or gradient.dtype == np.float32
