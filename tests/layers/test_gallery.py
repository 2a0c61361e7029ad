"""Every layer with every option: each line verified, and the result against two autograd systems."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.expr.nodes import Tensor
from chalkgrad.layers import GALLERY
from chalkgrad.verify.environment import Array, Environment
from chalkgrad.verify.reference import evaluate, run
from chalkgrad.verify.sample import sample
from tests.array_interpreter import jax_gradients, torch_gradients
from tests.layers.variants import LABELS, OPTIONS, layer

SEED = 7
TOLERANCE = 1e-10
Arrays = dict[Tensor, Array]


@cache
def point(name: str) -> tuple[Environment, Arrays]:
    """A smooth point of the layer, and the upstream gradient: 1 for a loss, else random."""
    program = layer(name).program
    env = sample(program, SEED)
    rng = np.random.default_rng(SEED)
    shapes = {t: env.array(t).shape for t in program.outputs}
    return env, {t: rng.normal(size=s) if s else np.ones(()) for t, s in shapes.items()}


@cache
def derived_gradients(name: str) -> Arrays:
    """The chosen backward's lines, evaluated as they are written."""
    env, upstream = point(name)
    record = layer(name).derive().record
    given = {t: env.array(t) for t in record.program.inputs}
    parameters = {t: float(env.array(t)) for t, _ in record.program.parameters}
    values = run(record.program, given, parameters, env.sizes)
    # An output that is read again inside is returned as a copy, whose adjoint is the one given from above.
    outputs = zip(layer(name).program.outputs, record.program.outputs, strict=True)
    above = {returned.adjoint: upstream[written] for written, returned in outputs}
    inside = Environment(env.sizes, {**values, **above})
    for definition in record.chosen.definitions:
        if definition.target not in inside.arrays:
            value = evaluate(definition.body, definition.indices, inside)
            inside = inside.having({definition.target: value})
    return {t: inside.array(t.adjoint) for t in record.program.inputs if t.dtype == "float"}


def assert_equal(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    scale = max(float(np.abs(g).max(initial=0.0)) for g in expected.values())
    for tensor, gradient in expected.items():
        assert found[tensor].shape == gradient.shape
        own = max(float(np.abs(gradient).max(initial=0.0)), 1e-3 * scale)
        np.testing.assert_allclose(found[tensor], gradient, rtol=0, atol=TOLERANCE * own, err_msg=tensor.name)


@pytest.fixture
def derivation(name: str) -> cg.Derivation:
    """The layer's derivation, made here so that coverage sees it: it is paused in a test's own call alone."""
    return layer(name).derive()


# The evaluators have their own tests. Here they see thousands of lines, and coverage would double the time.
@pytest.mark.no_cover
@pytest.mark.parametrize("name", LABELS)
def test_every_line_holds(name: str, derivation: cg.Derivation) -> None:
    verification = derivation.verify()
    assert verification.ok
    assert len(verification.lines) > 1


@pytest.mark.no_cover
@pytest.mark.parametrize("name", LABELS)
def test_pytorch_finds_the_same_gradients(name: str, derivation: cg.Derivation) -> None:
    env, upstream = point(name)
    expected = torch_gradients(layer(name).program, env.sizes, env.arrays, upstream)
    assert_equal(derived_gradients(name), expected)


@pytest.mark.no_cover
@pytest.mark.parametrize("name", LABELS)
def test_jax_finds_the_same_gradients(name: str, derivation: cg.Derivation) -> None:
    env, upstream = point(name)
    expected = jax_gradients(layer(name).program, env.sizes, env.arrays, upstream)
    assert_equal(derived_gradients(name), expected)


@pytest.mark.parametrize("name", LABELS)
def test_the_emitted_code_computes_them(name: str) -> None:
    env, upstream = point(name)
    program = layer(name).program
    ops = layer(name).compile("numpy")
    parameters = {t.name: float(env.array(t)) for t, _ in program.parameters}
    value, cache = ops.forward(*(env.array(t) for t in program.inputs), **parameters)
    outputs = value if isinstance(value, tuple) else (value,)
    for tensor, output in zip(program.outputs, outputs, strict=True):
        np.testing.assert_allclose(output, env.array(tensor), rtol=1e-12, atol=1e-12)
    found = ops.backward(*(upstream[t] for t in program.outputs), cache)
    gradients = dict(zip(program.inputs, found, strict=True))
    assert all(gradients[t] is None for t in program.inputs if t.dtype != "float")
    assert_equal({t: g for t, g in gradients.items() if t.dtype == "float"}, derived_gradients(name))


def argument_end(latex: str, at: int) -> int:
    """Where the argument of ^ or _ that begins at `at` ends: a group, a command or a character."""
    if latex[at] == "\\":
        return re.compile(r"\\([a-zA-Z]+|.)").match(latex, at).end()
    if latex[at] != "{":
        return at + 1
    depth = 0
    for place in range(at, len(latex)):
        if latex[place - 1] != "\\":
            depth += (latex[place] == "{") - (latex[place] == "}")
        if depth == 0:
            return place + 1
    raise AssertionError("a brace is never closed")


def raised_twice(latex: str) -> list[str]:
    """What TeX stops at: x^{a}^{b}, also with a subscript between the two."""
    found = []
    for caret in re.finditer(r"(?<!\\)\^", latex):
        at = argument_end(latex, caret.end())
        if latex[at : at + 1] == "_":
            at = argument_end(latex, at + 1)
        if latex[at : at + 1] in ("^", "'"):
            found.append(latex[caret.start() - 10 : at + 10])
    return found


@pytest.mark.parametrize("name", GALLERY)
def test_no_superscript_of_a_document_has_a_second_one(name: str) -> None:
    assert raised_twice(layer(name).derive().to_latex()) == []


def test_a_second_superscript_is_noticed() -> None:
    assert raised_twice(r"W^{(1)}^{\top}")
    assert raised_twice(r"h^{(1)}_{ij}^2")
    assert raised_twice(r"{W^{(1)}}^{\top} + x^2 y^{a^{b}}_{i}") == []


def test_options_are_of_layers_that_exist() -> None:
    assert OPTIONS.keys() <= GALLERY.keys()


@pytest.mark.parametrize("name", GALLERY)
def test_every_layer_says_what_it_is_and_where_it_is_from(name: str) -> None:
    doc = GALLERY[name].__doc__ or ""
    assert "=" in doc
    assert "http" in doc or name == "outer"
