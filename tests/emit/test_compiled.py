"""Compiled functions: arguments checked at the door, source visible, inputs left alone."""

from __future__ import annotations

import inspect
import traceback
from fractions import Fraction

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.derivation import Backward
from chalkgrad.emit.compiled import compile_numpy
from chalkgrad.emit.cost import cost
from chalkgrad.emit.plan import saved
from chalkgrad.errors import ChalkgradError, DataError, DerivationError, ShapeError, UnsupportedError
from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Const,
    Definition,
    Index,
    Indicator,
    Partial,
    Pow,
    Program,
    Range,
    Size,
    Sum,
    Tensor,
)

N, D, K, V = Range("N"), Range("D"), Range("K"), Range("V")
i, d, k, j, v = Index("i", N), Index("d", D), Index("k", K), Index("j", K), Index("v", V)
x, W, b = Tensor("x", (N, D)), Tensor("W", (D, K)), Tensor("b", (K,))
y = Tensor("y", (N,), "int")
f = Tensor("f", (N, K), "float", "value")
at = Access


def affine():
    scores = Sum((d,), at(x, (i, d)) * at(W, (d, k))) + at(b, (k,))
    program = Program("affine", (x, W, b), (), (Definition(f, (i, k), scores),), (f,))
    g = at(f.adjoint, (i, k))
    definitions = (
        Definition(x.adjoint, (i, d), Sum((k,), g * at(W, (d, k)))),
        Definition(W.adjoint, (d, k), Sum((i,), at(x, (i, d)) * g)),
        Definition(b.adjoint, (k,), Sum((i,), g)),
    )
    return program, Backward("staged", definitions, (x.adjoint, W.adjoint, b.adjoint))


def picked():
    """L = -Σ_i log p[i, y_i] / N with its derivative, as a derivation with dL/dL = 1 writes it."""
    p, loss = Tensor("p", (N, K)), Tensor("L", (), "float", "value")
    body = -Sum((i,), Apply("log", (at(p, (i, at(y, (i,)))),))) / Size(N)
    program = Program("picked", (p, y), (), (Definition(loss, (), body),), (loss,))
    derivative = -Indicator("==", k, at(y, (i,))) * Pow(at(p, (i, k)), Const(-1 * Const(1).value)) / Size(N)
    return program, Backward("closed", (Definition(p.adjoint, (i, k), derivative),), (p.adjoint,))


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(4, 5)), rng.normal(size=(5, 3)), rng.normal(size=3)


def test_affine_values(data):
    ops = compile_numpy(*affine())
    a, w, c = data
    out, cache = ops.forward(a, w, c)
    np.testing.assert_allclose(out, a @ w + c)
    g = np.arange(12.0).reshape(4, 3)
    da, dw, dc = ops.backward(g, cache)
    np.testing.assert_allclose(da, g @ w.T)
    np.testing.assert_allclose(dw, a.T @ g)
    np.testing.assert_allclose(dc, g.sum(0))


def test_saves_only_what_the_backward_reads():
    program, backward = affine()
    assert saved(program, backward) == (x, W)
    only = Backward("staged", backward.definitions, (b.adjoint,))
    assert saved(program, only) == ()
    assert compile_numpy(program, only).backward(np.ones((2, 3)), ())[:2] == (None, None)


def test_no_backward_where_none_was_asked_for():
    ops = compile_numpy(affine()[0], Backward("closed", (), ()))
    assert "backward" not in ops.source
    with pytest.raises(DerivationError, match="no gradient of affine was asked for"):
        ops.backward(np.ones((2, 3)), ())


def test_source_is_visible():
    ops = compile_numpy(*affine())
    assert "f = x @ W + b" in inspect.getsource(ops.raw_forward)
    with pytest.raises(ValueError, match="matmul") as caught:
        ops.raw_forward(np.ones((2, 3)), np.ones((4, 5)), np.ones(5))
    assert "f = x @ W + b" in "".join(traceback.format_exception(caught.value))


def test_scalar_loss_scales_with_its_upstream():
    ops = compile_numpy(*picked())
    p, labels = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]), np.array([1, 0, 0])
    _, cache = ops.forward(p, labels)
    one, none = ops.backward(1.0, cache)
    expected = np.zeros_like(p)
    expected[np.arange(3), labels] = -1 / p[np.arange(3), labels] / 3
    np.testing.assert_allclose(one, expected)
    np.testing.assert_allclose(ops.backward(2.5, cache)[0], 2.5 * expected)
    assert none is None


@pytest.mark.parametrize("wrong", [2, -1, 7])
def test_label_out_of_range(wrong):
    ops = compile_numpy(*picked())
    with pytest.raises(DataError, match=rf"label out of range: y\[1\] is {wrong}, but K = 2 allows 0 to 1"):
        ops.forward(np.full((3, 2), 0.5), np.array([0, wrong, 1]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (np.ones((4, 5)), np.ones((6, 3)), np.ones(3)),
            "W's first axis is D = 6, but x's second axis is D = 5",
        ),
        ((np.ones((4, 5)), np.ones((5, 3))), r"takes 3 inputs \(x, W, b\), but 2 were given"),
        ((np.ones(5), np.ones((5, 3)), np.ones(3)), "x has 1 axis"),
        ((np.array([["a"]]), np.ones((1, 3)), np.ones(3)), "element type <U1"),
        ((np.array([[None]]), np.ones((1, 3)), np.ones(3)), "element type object"),
        ((np.ones((1, 1), complex), np.ones((1, 3)), np.ones(3)), "element type complex128"),
    ],
)
def test_unfit_inputs(arguments, message):
    with pytest.raises(ChalkgradError, match=message):
        compile_numpy(*affine()).forward(*arguments)


def test_unfit_upstream_and_parameters(data):
    ops = compile_numpy(*affine())
    _, cache = ops.forward(*data)
    with pytest.raises(ShapeError, match="df has 1 axis"):
        ops.backward(np.ones(3), cache)
    with pytest.raises(ShapeError, match="backward takes"):
        ops.backward(cache)
    with pytest.raises(ShapeError, match="no parameter 'bias'"):
        ops.forward(*data, bias=1.0)
    with pytest.raises(DataError, match="y holds integers"):
        compile_numpy(*picked()).forward(np.ones((2, 2)), np.array([0.0, 1.0]))


def test_integers_become_doubles_and_singles_stay():
    ops = compile_numpy(*affine())
    whole, _ = ops.forward(np.ones((2, 2), int), np.ones((2, 2), int), np.ones(2, int))
    assert whole.dtype == np.float64
    single, cache = ops.forward(*(np.ones(s, np.float32) for s in [(2, 2), (2, 2), 2]))
    gradients = ops.backward(np.ones((2, 2), np.float32), cache)
    assert {a.dtype for a in (single, *gradients)} == {np.dtype(np.float32)}


def test_refusals_name_the_construct():
    out = Tensor("out", (K,), "float", "value")
    vector = Tensor("a", (V,))
    half = at(vector, (k * Const(Fraction(1, 2)),))
    halved = Program("half", (vector, b), (), (Definition(out, (k,), half),), (out,))
    with pytest.raises(UnsupportedError, match="subscript"):
        compile_numpy(halved, Backward("closed", (), ()))
    unfinished = Definition(out, (k,), Partial(at(b, (k,)), at(b, (j,))))
    with pytest.raises(UnsupportedError, match="Partial"):
        compile_numpy(Program("local", (b,), (), (unfinished,), (out,)), Backward("closed", (), ()))
    program, _ = affine()
    with pytest.raises(DerivationError, match="does not define"):
        compile_numpy(program, Backward("closed", (), (x.adjoint,)))


def test_cost_is_symbolic():
    program, backward = affine()
    found = cost(program.definitions)
    assert found.flops == ((("D", "K", "N"), 2.0), (("K", "N"), 1.0))
    assert found.nominal_flops == 2 * 64**3 + 64**2
    assert cost(backward.definitions).flops[0] == (("D", "K", "N"), 4.0)


@cg.layer
def halves(x: "N D"):
    a, b = np.split(x, 2, axis=1)
    return a * b


@cg.layer
def grouped(x: "N D"):
    y = x.reshape(x.shape[0], 2, -1)
    return y - y.mean(axis=2, keepdims=True)


@cg.layer
def joined_pairs(x: "N D"):
    return x.reshape(x.shape[0] // 2, 2, x.shape[1]).sum(axis=1)


@cg.layer
def doubled(x: "N D"):
    return 2 * x


@pytest.mark.parametrize(
    ("layer", "whole", "odd"),
    [
        (halves, (3, 4), (3, 5)),
        (grouped, (3, 4), (3, 5)),
        (joined_pairs, (4, 3), (5, 3)),
        (cg.chain(doubled, halves), (3, 4), (3, 5)),
    ],
)
def test_parts_must_be_equal_as_in_numpy(layer, whole, odd):
    ops = layer.compile("numpy")
    out, cache = ops.forward(np.ones(whole))
    (dx,) = ops.backward(np.ones_like(out), cache)
    assert dx.shape == whole
    with pytest.raises(ShapeError, match="equal parts"):
        ops.forward(np.ones(odd))


@pytest.mark.parametrize("target", ["numpy", "torch", "jax"])
@pytest.mark.parametrize(
    "body", ["-1(g[i] <= 0) / x[i]", "-m[i] / x[i]", "-1(g[i] <= 0)", "2 - m[i] * 1(g[i] > 0)"]
)
def test_conditions_are_numbers_in_arithmetic(target, body):
    """No library has the negative of a boolean array."""
    if target != "numpy":
        pytest.importorskip(target)
    declared = "m: N bool\n" if "m[i]" in body else ""
    layer = cg.formula(f"{declared}y[i] = {body}")
    values = {
        "m": np.array([True, False, True]),
        "g": np.array([-1.0, 2.0, 0.0]),
        "x": np.array([2.0, 3.0, 4.0]),
    }
    arrays = [values[t.name] for t in layer.program.inputs]
    ops = layer.compile(target)
    if target == "torch":
        torch = pytest.importorskip("torch")
        found = ops(*map(torch.from_numpy, arrays))
    else:
        found = ops.forward(*arrays)[0] if target == "numpy" else ops(*arrays)
    written = body.replace("1(g[i] <= 0)", "((g <= 0) * 1.0)").replace("1(g[i] > 0)", "((g > 0) * 1.0)")
    expected = eval(written.replace("m[i]", "(m * 1.0)").replace("x[i]", "x"), {}, values)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6)
