"""Arrays that are too short for what is read of them are refused, and no others."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.emit.room import reads
from chalkgrad.errors import ShapeError, VerificationError
from chalkgrad.expr.guarded import least_sizes
from chalkgrad.expr.linear import as_index
from chalkgrad.verify.reference import run

FORMULAS = (
    "y[i] = x[i+1] * w[i]",
    "y[i] = x[size(i)-1-i] * w[i]",
    "y[i] = x[2*i] * w[i]",
    "y[i] = x[2*i+1] * w[i] + x[0]",
    "y[i] = x[3] * w[i]",
    "y[i] = x[size(i)-1] * w[i]",
    "y[i] = sum(j, x[i+2*j] * v[j]) * w[i]",
    "y[i] = 1(i >= 1) * x[i-1] * w[i] + x[i+0]",
)


@pytest.mark.parametrize("text", FORMULAS)
@settings(max_examples=30, deadline=None)
@given(sizes=st.tuples(*[st.integers(1, 9)] * 3))
def test_code_refuses_exactly_what_the_evaluator_refuses(text, sizes):
    """The evaluator looks at each place that is read."""
    layer = cg.formula(f"x: I\n{text}", "shifted")
    lengths = dict(zip("xwv", sizes, strict=True))
    arrays = [np.arange(1.0, 1.0 + lengths[t.name]) for t in layer.program.inputs]
    try:
        wanted = run(layer.program, dict(zip(layer.program.inputs, arrays, strict=True)))
    except VerificationError:
        with pytest.raises(ShapeError, match="shifted reads outside of x"):
            layer.compile("numpy").forward(*arrays)
        return
    found, _ = layer.compile("numpy").forward(*arrays)
    np.testing.assert_allclose(found, np.real(wanted[layer.program.outputs[0]]))


@pytest.mark.parametrize(
    "text",
    [
        "y[i] = 1(2 < size(k)) * p[i,2] + sum(k, p[i,k])",
        "y[i] = 1(size(k) >= 3) * p[i,size(k)-3] + sum(k, p[i,k])",
        "y[i] = where(size(k) >= 3, p[i,2], 7) + sum(k, p[i,k])",
        "y[k] = 1(size(i) >= 3) * p[size(i)-3,k] + sum(i, p[i,k])",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_comparison_of_sizes_guards_a_place(text, size):
    layer = cg.formula(text, "guarded")
    p = np.random.default_rng(0).standard_normal((size, size))
    wanted = np.real(run(layer.program, {layer.program.inputs[0]: p})[layer.program.outputs[0]])
    np.testing.assert_allclose(layer.compile("numpy").forward(p)[0], wanted)
    for target, array in (("torch", "tensor"), ("jax", "asarray")):
        module = pytest.importorskip("torch" if target == "torch" else "jax.numpy")
        found = np.asarray(layer.compile(target).guarded(getattr(module, array)(p)))
        np.testing.assert_allclose(found, wanted, rtol=1e-6 if target == "torch" else 1e-5)


@pytest.mark.parametrize("target", ["numpy", "torch", "jax"])
@pytest.mark.parametrize(
    ("text", "read"),
    [("y[i] = x[i+1] * w[i]", "x[1 : N + 1] * w"), ("y[i] = x[2*i] * w[i]", "x[: 2 * N : 2] * w")],
)
def test_what_must_be_there_is_read_without_padding(target, text, read):
    source = cg.formula(text).source(target)
    assert read in source
    assert "pad(" not in source
    assert "max(0" not in source


def test_least_sizes_are_those_of_the_longest_reads():
    program = cg.formula(
        "y[i] = x[i+1] * x[i+3] * w[i] + v[2] + sum(j, v[j] * 1(size(j) > 5) * v[5])", "f"
    ).program
    least = {of.name: str(as_index(dict(form))) for of, form in least_sizes(program)}
    assert sorted(least.values()) == ["3", "3 + size(N)"]


def test_sizes_that_ask_for_each_other_end():
    """a is longer than b, and b than a: no arrays fit, and nothing loops."""
    layer = cg.formula("x: I\nz: J\nL = sum(i, x[i+1] * z[i]) + sum(j, z[j+1] * x[j])", "f")
    assert least_sizes(layer.program)
    layer.source("numpy")


def test_the_message_says_which_place_and_what_to_do():
    forward = cg.formula("y[i] = x[i+1] * w[i]", "shifted").compile("numpy").forward
    with pytest.raises(ShapeError) as error:
        forward(np.ones(3), np.ones(5))
    assert "x[i+1] goes to place 5 of I, but I = 3 has 0 to 2" in str(error.value)
    assert "1(i + 1 < size(j)) * x[i+1]" in str(error.value)


def test_nothing_is_asked_where_nothing_is_read():
    layer = cg.formula("y[i] = x[i+1] * w[i]", "shifted")
    assert layer.compile("numpy").forward(np.ones(0), np.ones(0))[0].shape == (0,)


def test_sizes_that_a_program_derives_need_no_look():
    layers = (getattr(cg.layers, name) for name in dir(cg.layers))
    programs = [layer.program for layer in layers if isinstance(layer, cg.Layer)]
    assert len(programs) > 50
    asked = {p.name: [str(r.access) for r in reads(p)] for p in programs if reads(p)}
    assert set(asked) <= {"three_layer_convnet"}, (
        asked
    )  # which pools what a convolution leaves, of odd size or even
    convolution = cg.formula("y[n,h] = sum(t, x[n,2*h+t] * w[t])")
    assert not reads(convolution.program)
    for size, kernel in itertools.product(range(3, 8), (1, 2, 3)):
        convolution.compile("numpy").forward(np.ones((2, size)), np.ones(kernel))
