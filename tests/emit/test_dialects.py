"""The PyTorch and JAX spellings compute what the NumPy code computes."""

from __future__ import annotations

import numpy as np
import pytest

from chalkgrad.diff.derive import for_code
from chalkgrad.emit.compiled import compile_numpy
from chalkgrad.emit.module_text import source
from chalkgrad.errors import UnsupportedError
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.verify.sample import sample
from tests.emit.test_derived import FORMULAS

MORE = {
    "embedding": "out[i,d] = W[t[i],d]",
    "row_norm": "c[i,d] = x[i,d] - mean(e, x[i,e])\nout[i,d] = c[i,d] / sqrt(mean(e, c[i,e]^2) + 0.01)",
    "attention": """
s[b,t,u] = sum(d, q[b,t,d] * k[b,u,d]) / sqrt(size(d))
p[b,t,u] = exp(s[b,t,u]) / sum(w, exp(s[b,t,w]))
o[b,t,e] = sum(u, p[b,t,u] * v[b,u,e])""",
    "hinge": "L = mean(i, sum(j, 1(j != y[i]) * relu(s[i,j] - s[i,y[i]] + 1)))",
}
ALL = {**FORMULAS, **MORE}


@pytest.mark.parametrize("name", ALL)
def test_jax_equals_numpy(name):
    jax = pytest.importorskip("jax")
    convert = jax.numpy.asarray
    program = read_formula(ALL[name], name)
    parts = for_code(program)
    env = sample(program, 3)
    arrays = [env.arrays[t] for t in program.inputs]
    ops = compile_numpy(*parts)
    out, cache = ops.forward(*arrays)
    upstream = np.cos(np.arange(out.size)).reshape(out.shape) if out.ndim else 1.5
    expected = ops.backward(upstream, cache)

    space: dict[str, object] = {}
    exec(source(*parts, target="jax"), space)
    found, kept = jax.jit(space[f"{name}_forward"])(*map(convert, arrays))
    np.testing.assert_allclose(np.asarray(found), out, rtol=1e-12, atol=1e-14)
    gradients = jax.jit(space[f"{name}_backward"])(convert(upstream) if out.ndim else upstream, kept)
    for ours, theirs in zip(expected, gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(np.asarray(theirs), ours, rtol=1e-11, atol=1e-13)


def test_unknown_backend_is_named():
    with pytest.raises(UnsupportedError, match=r"no backend 'troch'.*Did you mean 'torch'"):
        source(*for_code(read_formula(FORMULAS["affine"], "affine")), target="troch")


def test_options_of_another_backend_are_refused():
    with pytest.raises(UnsupportedError, match="jvp is an option of the target 'torch'"):
        source(*for_code(read_formula(FORMULAS["affine"], "affine")), jvp=True)
    with pytest.raises(UnsupportedError, match=r"no floating-point input 'w'.*Did you mean 'W'"):
        source(*for_code(read_formula(FORMULAS["affine"], "affine")), target="torch", parameters=("w",))
