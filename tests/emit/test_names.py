"""Any text may be a layer's name: the code is legal, and hides nothing that it calls."""

from __future__ import annotations

import keyword

import numpy as np
import pytest

import chalkgrad as cg
from tests.emitted import TARGETS

NAMES = [
    *keyword.kwlist, "3d net", "none", "true", "np", "torch", "jax", "jnp", "float", "range", "math",
    "functools", "sum", "object", "Formula", "_", "", "a-b", "été", "x", "y", "dy", "cache", "ctx", "self",
    "1", "match",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_every_name_gives_code_that_runs(name, target):
    if target != "numpy":
        pytest.importorskip(target)
    layer = cg.formula("y[i] = exp(x[i])^2 * sum(j, x[j]) / size(i)", name)
    compiled = layer.compile(target)
    x = np.array([0.5, 1.0])
    wanted = np.exp(x) ** 2 * x.sum() / 2
    if target == "numpy":
        found, cache = compiled.forward(x)
        assert np.isfinite(compiled.backward(np.ones(2), cache)[0]).all()
    elif target == "torch":
        import torch

        given = torch.tensor(x, requires_grad=True)
        found = compiled(given)
        found.sum().backward()
        assert torch.isfinite(given.grad).all()
        module = layer.compile("torch", parameters=("x",), jvp=True)
        assert any(n.endswith("Module") for n in dir(module))
        found = found.detach().numpy()
    else:
        import jax

        assert np.isfinite(jax.grad(lambda a: compiled(a).sum())(jax.numpy.asarray(x))).all()
        found = compiled(jax.numpy.asarray(x))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
