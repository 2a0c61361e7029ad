"""The emitted `custom_vjp` of every built-in layer under every transformation JAX has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chalkgrad.emit.module_text import source
from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.verify.sample import sample
from tests.emit.gallery import derived, numpy_code

jax = pytest.importorskip("jax")
jnp = jax.numpy

MORE = ["affine", "softmax_loss", "batch_norm", "attention", "embedding", "max_pool", "conv2d", "lstm_cell"]


def made(name):
    program = FORWARDS[name].program
    space: dict[str, object] = {}
    exec(source(*derived(name), name, "jax"), space)
    env = sample(program, 0)
    inputs = [jnp.asarray(env.arrays[t]) for t in program.inputs]
    return space, inputs, [n for n, t in enumerate(program.inputs) if t.dtype == "float"]


def scalar(function):
    def weighed(*inputs):
        found = function(*inputs)
        outputs = found if isinstance(found, tuple) else (found,)
        return sum((o * jnp.cos(jnp.arange(o.size, dtype=o.dtype)).reshape(o.shape)).sum() for o in outputs)

    return weighed


@pytest.mark.parametrize("name", FORWARDS)
def test_gradients_equal_numpy_code(name):
    space, inputs, floats = made(name)
    # Compiled whole: one by one, the operations of all layers take five times as long to compile.
    found = jax.jit(jax.grad(scalar(space[name]), floats))(*inputs)
    ops = numpy_code(name)
    out, cache = ops.forward(*map(np.asarray, inputs))
    outputs = out if isinstance(out, tuple) else (out,)
    upstream = [np.cos(np.arange(np.size(o))).reshape(np.shape(o)) for o in outputs]
    gradients = ops.backward(*upstream, cache)
    for place, ours in zip(floats, found, strict=True):
        np.testing.assert_allclose(ours, gradients[place], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", MORE)
def test_checked_mapped_and_differentiated_twice(name):
    from jax.test_util import check_grads

    space, inputs, floats = made(name)
    function = scalar(space[name])
    gradient = jax.grad(function, floats)
    jitted = jax.jit(gradient)
    for a, b in zip(jitted(*inputs), gradient(*inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)

    def of_floats(*a):
        return function(*(a[floats.index(n)] if n in floats else b for n, b in enumerate(inputs)))

    # Reverse over reverse: a custom_vjp has no forward mode.
    check_grads(of_floats, [inputs[n] for n in floats], order=2, modes=["rev"], rtol=1e-4, atol=1e-5)
    stacked = [jnp.stack([a, a[::-1] if a.ndim else a]) for a in inputs]
    mapped = jax.jit(jax.vmap(gradient))(*stacked)
    for n in range(2):
        for got, one in zip(mapped, jitted(*(a[n] for a in stacked)), strict=True):
            np.testing.assert_allclose(got[n], one, rtol=1e-10, atol=1e-12)


def test_parameters_are_static_numbers():
    space, inputs, _ = made("batch_norm")
    single = [a.astype(jnp.float32) for a in inputs]
    one = space["batch_norm"](*single, eps=0.5)
    assert one.dtype == jnp.float32
    gradient = jax.grad(scalar(lambda *a: space["batch_norm"](*a, eps=0.5)))(*single)
    assert gradient.dtype == jnp.float32
    with pytest.raises(Exception, match=r"nondiff|Tracer"):
        jax.grad(lambda eps: space["batch_norm"](*single, eps=eps).sum())(0.5)


MESH = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, PartitionSpec as P
from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.diff.derive import for_code
from chalkgrad.emit.module_text import source
from chalkgrad.frontend.text_formula import read_formula
jax.config.update("jax_enable_x64", True)
mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
rng = np.random.default_rng(0)
sizes = {"N": 4, "D": 5, "K": 3, "H": 6}
names = ("affine", "softmax_loss", "batch_norm", "layer_norm", "two_layer_net")
programs = {n: FORWARDS[n].program for n in names}
programs["first"] = read_formula("y[n,d] = x[n,0,d] * w[d]", "first")
for name, program in programs.items():
    space = {}
    exec(source(*for_code(program), name, "jax"), space)
    rows = program.inputs[0].axes[0]
    arrays = [
        rng.integers(3, size=4)
        if t.dtype == "int"
        else rng.normal(size=[sizes.get(r.name, 2) for r in t.axes])
        for t in program.inputs
    ]
    floats = [n for n, t in enumerate(program.inputs) if t.dtype == "float"]
    gradient = jax.jit(jax.grad(lambda *a: jnp.sum(jnp.sin(space[name](*a))), floats))
    plain = gradient(*map(jnp.asarray, arrays))
    with jax.set_mesh(mesh):
        first = ["data" if t.axes[0] is rows else None for t in program.inputs]
        specs = [P(f, *[None] * (len(t.axes) - 1)) for f, t in zip(first, program.inputs)]
        spread = gradient(*map(jax.device_put, arrays, specs))
    for n, a, b in zip(floats, plain, spread, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        assert b.sharding.spec == specs[n], (name, n, b.sharding.spec)
print("ok")
"""


def test_over_an_explicit_mesh():
    """In a process of its own: the number of devices is fixed when JAX starts."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MESH],
        check=False,
        env={**os.environ, **flags},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "ok\n", done.stderr
