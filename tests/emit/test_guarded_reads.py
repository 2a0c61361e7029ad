"""A read that a comparison keeps inside of its array, under everything that is undefined at 0: the derivation
holds line by line, and the code makes nothing undefined of what lies outside, in the gradient of the gradient
either."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import VerificationError
from chalkgrad.expr.nodes import MINUS_ONE, Access, Index, Indicator, Mul, Pow, Range, Size, Tensor
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.oracle import adjoints
from chalkgrad.verify.reference import evaluate
from chalkgrad.verify.sample import sample

UNDER = {
    "divided": "b[i] / {0}",
    "twice divided": "b[i] / {0} + {0}^(-2)",
    "logarithm": "log({0})",
    "root": "b[i] * sqrt({0})",
    "power": "{0}^b[i]",
    "quotient": "log(b[i] / {0})",
    "difference": "b[i] / (3 + b[i]^2 - {0} / 9)",
    "function": "tanh({0}) * exp({0})",
    "sum": "sum(k, W[i+{1},k] * a[k])^2 / {0}",
    "largest": "max(k, W[i+{1},k]) * {0}",
}
"""A term in {0}, the guarded read, and {1}, how far it reads ahead."""

AHEAD = {1: "1(i + 1 < size(N))", -1: "1(i + -1 >= 0)"}
FORMS = {"product": "x[i] * {guard} * ({term})", "branch": "where({guard}, {term}, x[i])"}
CASES = [
    pytest.param(form, term, ahead, id=f"{form}-{term}-{ahead}")
    for form, term, ahead in itertools.product(FORMS, UNDER, AHEAD)
]

NAMED = {
    "total variation": "r[i] = sqrt((x[i+1] - x[i+0])^2 + 1)\nout = sum(i, r[i])",
    "reciprocal": "out[i] = 1 / sqrt((x[i+1] - x[i+0])^2 + 1)",
    "logarithms of exponentials": "r[i] = exp(x[i+1] - x[i+0])\nout = sum(i, log(r[i]))",
    "isotropic": "out = sum(i j, sqrt((x[i+1,j+0] - x[i+0,j+0])^2 + (x[i+0,j+1] - x[i+0,j+0])^2 + 1))",
}


def guarded(form: str, term: str, ahead: int) -> cg.Layer:
    written = UNDER[term].format(f"x[i+{ahead}]", ahead)
    body = FORMS[form].format(guard=AHEAD[ahead], term=written)
    return cg.formula(f"x: N\nW: N K\nout[i] = {body}", "guarded")


def code_agrees(layer: cg.Layer, seed: int) -> None:
    """The compiled forward and backward against the slow evaluator; NumPy has nothing to warn of."""
    program = layer.program
    env = sample(program, seed)
    out = env.arrays[program.outputs[0]]
    upstream = np.random.default_rng(seed).normal(size=out.shape)
    truth = adjoints(program, env, {program.outputs[0]: upstream}).values
    ops = layer.compile("numpy")
    with np.errstate(all="raise", under="ignore"):
        found, cache = ops.forward(*(env.arrays[t] for t in program.inputs))
        gradients = ops.backward(upstream, cache)
    np.testing.assert_allclose(found, out, rtol=1e-10, atol=1e-12)
    for t, gradient in zip(program.inputs, gradients, strict=True):
        np.testing.assert_allclose(gradient, truth[t.adjoint], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("form", "term", "ahead"), CASES)
def test_a_guarded_term_derives_and_its_code_makes_nothing_undefined(form, term, ahead):
    layer = guarded(form, term, ahead)
    assert layer.derive().verify().ok
    code_agrees(layer, 0)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("form", ["staged", "closed"])
def test_every_form_of_a_difference_of_neighbours_holds(name, form):
    assert cg.formula(NAMED[name]).derive(form=form).verify().ok


@pytest.mark.parametrize("name", NAMED)
def test_the_gradient_is_a_layer_like_any_other(name):
    gradient = cg.formula(NAMED[name]).gradient("x")
    assert gradient.derive().verify().ok
    code_agrees(gradient, 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("term", ["twice divided", "logarithm", "root", "sum"])
def test_the_gradient_of_a_guarded_term_derives_too(form, term):
    gradient = guarded(form, term, 1).gradient("x")
    assert gradient.derive().verify().ok
    code_agrees(gradient, 2)


@pytest.mark.parametrize("target", ["torch", "jax"])
@pytest.mark.parametrize("name", NAMED)
def test_other_backends_give_the_same_gradient(name, target):
    pytest.importorskip(target)
    layer = cg.formula(NAMED[name], "guarded").gradient("x")
    env = sample(layer.program, 0)
    inputs = [env.arrays[t] for t in layer.program.inputs]
    function = layer.compile(target)
    if target == "torch":
        import torch

        found = function(*(torch.tensor(a) for a in inputs)).numpy()
    else:
        found = np.asarray(function(*inputs))
    np.testing.assert_allclose(found, env.arrays[layer.program.outputs[0]], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layer", ["conv1d", "conv2d"])
def test_the_gradient_of_a_convolution_derives(layer):
    """Σ_r 1(0 ≤ y − r) Σ_f dout[n, f, y − r] W[f, c, r]: the inner sum gets a name only with its guards."""
    gradient = cg.layers.GALLERY[layer].gradient("x")
    assert gradient.derive().verify().ok
    code_agrees(gradient, 0)


def test_a_strided_convolution_of_a_formula_derives_twice():
    strided = cg.formula("out[n,f,t] = sum(c r, x[n,c,2*t+r] * W[f,c,r])")
    for wanted in ("x", "W"):
        gradient = strided.gradient(wanted)
        assert gradient.derive().verify().ok
        code_agrees(gradient, 0)


def test_what_no_guard_keeps_inside_is_still_refused():
    """A guard answers for its own place only."""
    x, n = Tensor("x", (Range("N"),)), Index("n", Range("N"))
    ahead = Pow(Access(x, (n + 1,)), MINUS_ONE)
    env = Environment({n.range: 3}, {x: np.array([1.0, 2.0, 4.0])})
    guarded_one = Mul((Indicator("<", n + 1, Size(n.range)), ahead))
    np.testing.assert_array_equal(evaluate(guarded_one, (n,), env), [0.5, 0.25, 0])
    with pytest.raises(VerificationError, match="reads outside"):
        evaluate(Mul((Indicator("<", n, Size(n.range)), ahead)), (n,), env)
