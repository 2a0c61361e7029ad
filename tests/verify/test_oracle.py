"""Numeric gradients against PyTorch's autograd, for every input and every intermediate value."""

import numpy as np
import pytest
import torch

from chalkgrad.expr.nodes import Access, Apply, Definition, Mul, Program
from chalkgrad.verify.differences import complex_step, richardson
from chalkgrad.verify.oracle import adjoints
from chalkgrad.verify.sample import sample
from tests.interpreter import interpret
from tests.verify.programs import GELU, PROGRAMS, QUADRATIC, D, K, N, at, d, fn, i, k, value, x


def upstream_of(program, env, seed=0):
    rng = np.random.default_rng(seed)
    return {t: rng.normal(size=env.arrays[t].shape) for t in program.outputs}


def torched(arrays):
    return {t: torch.as_tensor(np.asarray(a)) for t, a in arrays.items()}


@pytest.mark.parametrize("program", [*PROGRAMS, QUADRATIC], ids=lambda p: p.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_autograd(program, seed):
    env = sample(program, seed)
    upstream = upstream_of(program, env, seed)
    found = adjoints(program, env, upstream)
    given = {t: env.arrays[t] for t in (*program.inputs, *(t for t, _ in program.parameters))}
    truth = interpret(program, env.sizes, torched(given), torched(upstream))
    assert set(found.values) >= {t.adjoint for t in program.inputs if t.dtype == "float"}
    assert {t.adjoint for t in program.outputs} <= set(found.values)
    for tensor, gradient in found.values.items():
        expected = truth.values[tensor].numpy()
        gap = np.abs(gradient - expected).max()
        tight = 1e-12 if found.methods[tensor] == "complex step" else 1e-9
        assert gap <= tight * max(1.0, np.abs(expected).max()), tensor
        assert gap <= 2 * found.errors[tensor], f"{tensor}: the error estimate is too small"


def test_the_method_is_named():
    env = sample(GELU, 0)
    found = adjoints(GELU, env, upstream_of(GELU, env))
    output = GELU.outputs[0]
    assert found.methods[GELU.inputs[0].adjoint] == "Richardson"
    assert found.methods[output.adjoint] == "complex step"


def test_more_perturbations_than_one_batch():
    wide = value("wide", N, D, K)
    body = Mul((at(x, (i, d)), fn("exp", at(x, (i, d)))))
    program = Program("wide", (x,), (), (Definition(wide, (i, d, k), body),), (wide,))
    env = sample(program, 0)
    rng = np.random.default_rng(0)
    big = rng.normal(size=(13, 11))
    sizes = {N: 13, D: 11, K: 2}
    forward = np.broadcast_to((big * np.exp(big))[..., None], (13, 11, 2))
    env = type(env)(sizes, {x: big, wide: forward}, env.definitions)
    G = rng.normal(size=(13, 11, 2))
    found = adjoints(program, env, {wide: G}).values[x.adjoint]
    np.testing.assert_allclose(found, G.sum(-1) * (1 + big) * np.exp(big), rtol=1e-13)


@pytest.mark.parametrize("point", [-1.3, 0.2, 2.5])
def test_both_differences_agree_with_calculus(point):
    array = np.array([7.0, point])
    exact = np.cos(point) * np.exp(point) + np.sin(point) * np.exp(point)
    f = lambda v: (np.sin(v) * np.exp(v))[1]  # noqa: E731
    assert complex_step(f, array, 1) == pytest.approx(exact, rel=1e-14)
    assert complex_step(f, array, 0) == 0.0
    slope, error = richardson(f, array, 1)
    assert abs(slope - exact) <= error <= 1e-8


def test_richardson_admits_a_kink():
    slope, error = richardson(lambda v: np.abs(v[0]), np.array([1e-5]), 0)
    assert abs(slope - 1.0) > 0.1
    assert error > 0.1


def test_a_tensor_that_no_output_needs_has_the_gradient_zero():
    unused = value("unused", N, D)
    out = value("out", N, D)
    program = Program(
        "p",
        (x,),
        (),
        (
            Definition(unused, (i, d), Apply("exp", (Access(x, (i, d)),))),
            Definition(out, (i, d), Access(x, (i, d))),
        ),
        (out,),
    )
    env = sample(program, 0)
    found = adjoints(program, env, upstream_of(program, env))
    np.testing.assert_array_equal(found.values[unused.adjoint], 0.0)
    assert np.abs(found.values[x.adjoint]).min() > 0
