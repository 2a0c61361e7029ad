"""Guarded formulas: where the guard lets nothing through, gradients are those of the other branch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.emit.guarded import risk
from chalkgrad.expr.nodes import Apply
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.rules.bounds import Bounds
from chalkgrad.train.formula import minimise
from tests.emitted import TARGETS, emitted, gradients

torch = pytest.importorskip("torch")

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

X = np.array([0.0, 1.5, -2.0, 0.25, 0.0, 3.0, -0.5])
W = np.array([1.5, 0.5, 2.0, 0.25, 1.0, 0.75, 3.0])
M = X > 0

POSITIVE = {
    "sqrt({})": torch.sqrt,
    "log({})": torch.log,
    "1 / {}": torch.reciprocal,
    "{}^1.5": lambda u: u**1.5,
    "{}^(-1/2)": lambda u: u**-0.5,
    "{0} * log({0})": lambda u: u * torch.log(u),
    "log1p({} - 1)": lambda u: torch.log1p(u - 1),
    "exp(-1 / {})": lambda u: torch.exp(-1 / u),
    "1 / sqrt({})": lambda u: 1 / torch.sqrt(u),
    "sqrt({})^3": lambda u: torch.sqrt(u) ** 3,
    "log({})^2": lambda u: torch.log(u) ** 2,
}
"""Functions of positive arguments, as they are written and by PyTorch."""

ARGUMENTS = {
    "x[i]": lambda x, w: x,
    "(2 * x[i])": lambda x, w: 2 * x,
    "(x[i] * w[i])": lambda x, w: x * w,
    "(x[i] / 3)": lambda x, w: x / 3,
}

FACTORS = {
    "1": lambda x, w: 1,
    "w[i]": lambda x, w: w,
    "x[i]": lambda x, w: x,
    "sin(x[i])": lambda x, w: torch.sin(x),
}

GUARDS = ("x[i] > 0", "0 < x[i]", "m[i]")

FORMS = {
    "where({c}, {b}, {a})": lambda v, x, w: v,
    "where({n}, {a}, {b})": lambda v, x, w: v,
    "where({c}, {b}, {a}) + x[i]^2": lambda v, x, w: v + x**2,
    "w[i] * where({c}, {b}, {a})": lambda v, x, w: w * v,
    "where(x[i] < 2, where({c}, {b}, {a}), x[i]^3)": lambda v, x, w: v if x < 2 else x**3,
}
"""What stands around a value: its condition {c}, the negation {n}, the value {b}, else {a}."""

OTHERWISE = {"0": lambda x, w: 0 * x, "x[i]": lambda x, w: x, "w[i]^2": lambda x, w: w**2}

NEGATED = {"x[i] > 0": "x[i] <= 0", "0 < x[i]": "0 >= x[i]", "m[i]": "1 - m[i]"}


def expected(value):
    """The gradients of Σ cos(n) y_n, and of the sum of their squares, entry by entry."""
    firsts, seconds = [], []
    for n, (a, b) in enumerate(zip(X, W, strict=True)):
        x, w = (torch.tensor(v, requires_grad=True, dtype=torch.float64) for v in (a, b))
        first = torch.autograd.grad(np.cos(n) * value(x, w), (x, w), create_graph=True)
        square = sum(g**2 for g in first) + 0 * x + 0 * w
        firsts.append([g.item() for g in first])
        seconds.append([g.item() for g in torch.autograd.grad(square, (x, w))])
    return np.array(firsts).T, np.array(seconds).T


@st.composite
def formulas(draw):
    """A guarded formula as text, and one entry of it by PyTorch: by the branch that is taken alone."""
    function, argument, factor, other = (
        draw(st.sampled_from(sorted(table))) for table in (POSITIVE, ARGUMENTS, FACTORS, OTHERWISE)
    )
    guard, form = draw(st.sampled_from(GUARDS)), draw(st.sampled_from(sorted(FORMS)))
    body, named = f"{factor} * {function.format(argument)}", draw(st.booleans())
    first = f"g[i] = {body}\n" if named else ""
    last = form.format(c=guard, n=NEGATED[guard], b="g[i]" if named else body, a=other)

    def value(x, w):
        guarded = FACTORS[factor](x, w) * POSITIVE[function](ARGUMENTS[argument](x, w)) if x > 0 else None
        inside = OTHERWISE[other](x, w) if guarded is None else guarded
        return FORMS[form](inside, x, w) + 0.5 * w + 0 * x

    return f"m: N bool\nx: N\nw: N\n{first}out[i] = {last} + 0.5 * w[i]", value


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=60, deadline=None, phases=PHASES, derandomize=True)
@given(formulas())
def test_gradients_at_guarded_points_are_those_of_the_branch_taken(target, drawn):
    text, value = drawn
    first, second = expected(value)
    layer = cg.formula(text, "guarded")
    given = {"x": X, "w": W, "m": M}
    inputs = [given[t.name] for t in layer.program.inputs]
    upstream = np.cos(np.arange(len(X)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = gradients(layer, target, inputs, upstream)
    by_name = {t.name: g for t, g in zip(layer.program.inputs, found, strict=True)}
    for name, wanted in zip("xw", first, strict=True):
        np.testing.assert_allclose(by_name[name], wanted, rtol=1e-9, atol=1e-12, err_msg=text)
    if target == "numpy":
        return
    function = emitted(layer, target)["guarded"]
    twice = by_torch(function, layer, inputs) if target == "torch" else by_jax(function, layer, inputs)
    for name, wanted in zip("xw", second, strict=True):
        np.testing.assert_allclose(twice[name], wanted, rtol=1e-8, atol=1e-10, err_msg=text)


def by_torch(function, layer, inputs):
    """The gradient of Σ g², g the gradients of Σ cos(n) y_n."""
    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in inputs]
    moving = [t for t in tensors if t.requires_grad]
    value = (torch.cos(torch.arange(len(X), dtype=torch.float64)) * function(*tensors)).sum()
    square = sum((g**2).sum() for g in torch.autograd.grad(value, moving, create_graph=True))
    square = square + sum(0 * t.sum() for t in moving)  # gradients may be constant
    found = iter(torch.autograd.grad(square, moving, materialize_grads=True))
    return {t.name: next(found).numpy() for t in layer.program.inputs if t.dtype == "float"}


def by_jax(function, layer, inputs):
    jax = pytest.importorskip("jax")
    weights = jax.numpy.cos(jax.numpy.arange(len(X), dtype=float))
    moving = tuple(n for n, t in enumerate(layer.program.inputs) if t.dtype == "float")
    first = jax.grad(lambda *a: (weights * function(*a)).sum(), moving)
    found = jax.grad(lambda *a: sum((g**2).sum() for g in first(*a)), moving)(*map(jax.numpy.asarray, inputs))
    return {layer.program.inputs[n].name: np.asarray(g) for n, g in zip(moving, found, strict=True)}


NORMS = {
    "direction": "r[i] = sqrt(sum(d, x[i,d]^2))\nout[i,d] = where(r[i] > 0, x[i,d] / r[i], 0)",
    "length": "s[i] = sum(d, x[i,d]^2)\nout[i,d] = x[i,d] * where(s[i] > 0, sqrt(s[i]), 0)",
    "cosine": "r[i] = sum(d, x[i,d]^2)\nout[i,d] = where(r[i] != 0, x[i,d] / sqrt(r[i]), 0)",
    "pairs": "out[i] = sum(k d, where(k != i, x[k,d]^2 / (k - i), 0))",
    "sinc": "out[i,d] = where(x[i,d] == 0, 1, sin(x[i,d]) / x[i,d])",
    "square": "out[i,d] = where(x[i,d] != 0, log(x[i,d]^2), 0)",
    "product": "out[i,d] = 1(x[i,d] > 0) * sqrt(x[i,d])",
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NORMS)
def test_gradients_are_finite_and_right_elsewhere(name, target):
    """A row of zeros has no derivative of its own here; beside it all gradients are those of differences."""
    layer = cg.formula(NORMS[name], name)
    x = np.array([[0.5, -1.5], [0.0, 0.0], [2.0, 0.25]])
    shape = layer.compile("numpy").forward(x)[0].shape
    upstream = np.cos(np.arange(np.prod(shape))).reshape(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        (found,) = gradients(layer, target, [x], upstream)
    assert np.isfinite(found).all()
    ops, step = layer.compile("numpy"), 1e-6
    for place in np.argwhere(x != 0):
        moved = [x.copy(), x.copy()]
        for sign, a in zip((1, -1), moved, strict=True):
            a[tuple(place)] += sign * step
        difference = ((ops.forward(moved[0])[0] - ops.forward(moved[1])[0]) * upstream).sum() / (2 * step)
        assert found[tuple(place)] == pytest.approx(difference, rel=1e-5, abs=1e-7)


LOSSES = {
    "root": "z[i] = sum(d, x[i,d] * v[d])\nL = mean(i, where(z[i] > 0, sqrt(z[i]), 0)) + sum(d, v[d]^2)",
    "logarithm": "z[i] = sum(d, x[i,d] * v[d])\nL = mean(i, where(z[i] > 0, z[i] * log(z[i]), z[i]^2))",
    "named": "z[i] = sum(d, x[i,d] * v[d])\nr[i] = sqrt(z[i]^2)\n"
    "L = mean(i, where(r[i] > 0, z[i] / r[i], 0))",
    "shortest": "z[i] = sum(d, x[i,d] * v[d])\nL = mean(i, where(z[i] != 0, (1 - cos(z[i])) / z[i], 0))",
}


@pytest.mark.parametrize("engine", ["numpy", "llvm", "torch"])
@pytest.mark.parametrize("name", LOSSES)
def test_engines_train_through_guarded_points(name, engine):
    if engine == "llvm":
        pytest.importorskip("llvmlite")
    layer = cg.formula(LOSSES[name], name)

    def trained(engine):
        x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0], [0.5, 2.0]])
        fitted = minimise(layer, {"v": np.array([0.0, 0.5])}, {"x": x}, epochs=3, engine=engine)
        return fitted.losses, fitted.params["v"]

    for found, wanted in zip(trained(engine), trained("plain"), strict=True):
        assert np.isfinite(wanted).all()
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_the_value_put_in_is_within_every_domain():
    ends = {p.name: p.above for p in PRIMITIVES.values() if p.above is not None}
    assert ends.keys() == {"log", "log1p", "sqrt"}
    for name, end in ends.items():
        assert end < 1
        x = cg.formula("y[i] = x[i]").program.definitions[0].body
        assert risk(Apply(name, (x,)), Bounds()) is not None
        with np.errstate(all="ignore"):
            assert not np.isfinite(PRIMITIVES[name].reference(np.array(end - 1e-9)))


def test_without_a_guard_nothing_is_put_in():
    """relu lets nothing through for negative x, which is no reason to ask before a division."""
    text = cg.formula("s[i] = sqrt(v[i] + 0.1)\ny[i] = relu(x[i]) / s[i]").source("numpy")
    assert "where" not in text, text
