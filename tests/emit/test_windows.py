"""Affine subscripts: convolutions and pools against PyTorch, slices and guarded reads against the slow
evaluator, in every backend."""

from __future__ import annotations

import numpy as np
import pytest

from chalkgrad.diff.derive import for_code
from chalkgrad.emit.compiled import compile_numpy
from chalkgrad.emit.module_text import source
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.verify.oracle import adjoints
from chalkgrad.verify.sample import sample

torch = pytest.importorskip("torch")
F = torch.nn.functional

CONVOLUTIONS = [
    {},
    {"stride": 2},
    {"padding": 2},
    {"dilation": 2},
    {"stride": 3, "padding": 1, "dilation": 2},
    {"groups": 2},
    {"groups": 3, "stride": 2, "padding": 1},
]


def gradients(function, inputs, upstream):
    tensors = [torch.tensor(a, requires_grad=True) for a in inputs]
    out = function(*tensors)
    out.backward(torch.tensor(upstream[: out.numel()].reshape(tuple(out.shape))))
    return out.detach().numpy(), [t.grad.numpy() for t in tensors]


def agree(name, options, inputs, function):
    forward = FORWARDS[name].with_options(**options) if options else FORWARDS[name]
    safe, backward = for_code(forward.program)
    ops = compile_numpy(safe, backward)
    upstream = np.random.default_rng(1).normal(size=10_000)
    expected, wanted = gradients(function, inputs, upstream)
    out, cache = ops.forward(*inputs)
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-12)
    found = ops.backward(upstream[: out.size].reshape(out.shape), cache)
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("rank", [1, 2])
def test_convolution(rank, options):
    rng = np.random.default_rng(0)
    groups = options.get("groups", 1)
    space, kernel = (9, 8)[:rank], (3, 2)[:rank]
    inputs = [
        rng.normal(size=(2, 2 * groups, *space)),
        rng.normal(size=(3 * groups, 2, *kernel)),
        rng.normal(size=3 * groups),
    ]
    function = F.conv1d if rank == 1 else F.conv2d
    agree(f"conv{rank}d", options, inputs, lambda x, w, b: function(x, w, b, **options))


@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"window": 3, "stride": 2}], ids=str)
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_pool(name, options):
    x = np.random.default_rng(0).normal(size=(2, 3, 7, 8))
    function = F.max_pool2d if name == "max_pool" else F.avg_pool2d
    window, stride = options.get("window", 2), options.get("stride")
    agree(name, options, [x], lambda x: function(x, window, stride))


def test_a_tie_in_a_pool_is_split_evenly():
    ops = compile_numpy(*for_code(FORWARDS["max_pool"].program))
    x = np.array([[[[1.0, 1.0, 5.0, 2.0], [0.0, 1.0, 5.0, 3.0]]]])
    _, cache = ops.forward(x)
    (dx,) = ops.backward(np.array([[[[3.0, 8.0]]]]), cache)
    np.testing.assert_allclose(dx, [[[[1, 1, 4, 0], [0, 1, 4, 0]]]])


READS = {
    "next": "x: N\nrange m: size(N) - 1\nout[m] = x[m+1]^2 * a[m]",
    "guarded": "out[i] = x[i] * 1(i + 1 < size(N)) * x[i+1]",
    "where": "x: N\nout[i] = where(i + 1 < size(N), x[i+1], 0) + x[i]^2",
    "padded directly": """
x: N
range h: (size(N) + 2 - size(K)) // 2 + 1
out[h] = sum(k, 1(2*h + k - 1 >= 0) * 1(2*h + k - 1 < size(N)) * x[2*h+k-1] * w[k])""",
    "strided": "x: N D\nrange m: size(N) // 3\nout[m,d] = x[3*m+1,d]^2",
    "reversed": "x: N\nout[i] = x[size(N)-1-i] * a[i]",
    "diagonal": "x: N D\nrange m: size(D) - size(N) + 1\nout[m] = sum(i, x[i,i+m])",
    "one place": "x: N D\nout[d] = x[0,d] * x[1,d]",
    "difference of all": "x: N\nout[i] = x[i]^2 + where(i > 0, x[i-1], 0)",
    "every other": "x: N\nout[i] = x[i // 2] * x[i]",
    "inverse": "out[i,j] = sum(k, inv(a b, X[a,b])[i,k] * Y[k,j])",
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("target", ["numpy", "torch", "jax"])
def test_reads_equal_numeric_adjoints(name, target):
    program = read_formula(READS[name], "reads")
    env = sample(program, 0)
    parts = for_code(program)
    inputs = [env.arrays[t] for t in program.inputs]
    expected = env.arrays[program.outputs[0]]
    upstream = np.random.default_rng(2).normal(size=expected.shape)
    truth = adjoints(program, env, {program.outputs[0]: upstream})
    if target == "numpy":
        ops = compile_numpy(*parts)
        forward, backward, convert = ops.forward, ops.backward, np.asarray
    else:
        space: dict[str, object] = {}
        exec(source(*parts, target=target), space)
        if target == "torch":
            out, found = gradients(space["reads"], inputs, upstream.reshape(-1))
            np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-12)
            for t, gradient in zip(program.inputs, found, strict=True):
                np.testing.assert_allclose(gradient, truth.values[t.adjoint], rtol=1e-6, atol=1e-8)
            return
        forward, backward = space["reads_forward"], space["reads_backward"]
        convert = pytest.importorskip("jax").numpy.asarray
    out, cache = forward(*map(convert, inputs))
    np.testing.assert_allclose(np.asarray(out), expected, rtol=1e-10, atol=1e-12)
    for t, gradient in zip(program.inputs, backward(convert(upstream), cache), strict=True):
        np.testing.assert_allclose(np.asarray(gradient), truth.values[t.adjoint], rtol=1e-6, atol=1e-8)


def test_a_slice_does_not_share_memory_with_its_input():
    ops = compile_numpy(*for_code(read_formula("x: N\nrange m: size(N) - 1\nout[m] = x[m+1]")))
    x = np.arange(4.0)
    out, _ = ops.forward(x)
    assert not np.shares_memory(out, x)
