"""Emitted code of random expressions computes what the slow evaluator computes."""

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from chalkgrad.derivation import Backward
from chalkgrad.emit.compiled import compile_numpy
from chalkgrad.emit.module_text import source
from chalkgrad.expr.nodes import Access, Definition, Index, Program, Tensor
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.reference import evaluate
from tests.emit.expressions import INPUTS, D, K, N, W, arrays, eps, expressions, x

i, d, k = Index("i", N), Index("d", D), Index("k", K)
TARGETS = [(), (i,), (k,), (i, k), (k, i), (i, d), (d, k), (i, d, k)]
# Programs are compiled in every example: shrinking a failure would take minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
SIZES = st.tuples(*[st.integers(1, 4)] * 3).map(lambda n: dict(zip((N, D, K), n, strict=True)))


@st.composite
def definitions(draw: st.DrawFn, role: str) -> Definition:
    indices = draw(st.sampled_from(TARGETS))
    body = draw(expressions(indices, 3))
    return Definition(Tensor("out", tuple(j.range for j in indices), "float", role), indices, body)


def close(found, expected, tolerance):
    # Cancellation leaves errors in proportion to the terms, which these expressions keep below 1e4.
    scale = 1 + np.abs(expected).max(initial=0.0)
    return (
        np.shape(found) == np.shape(expected)
        and np.abs(found - expected).max(initial=0.0) <= tolerance * scale
    )


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(definitions("value"), SIZES, st.integers(0, 99))
def test_forward_equals_reference(definition, sizes, seed):
    program = Program("random", INPUTS, ((eps, 0.25),), (definition,), (definition.target,))
    ops = compile_numpy(program, Backward("staged", (), ()))
    values = arrays(sizes, seed)
    with np.errstate(all="ignore"):
        found, _ = ops.forward(*(values[tensor] for tensor in INPUTS))
    env = Environment(sizes, {**values, eps: np.asarray(0.25)})
    expected = evaluate(definition.body, definition.indices, env)
    assert close(found, expected, 1e-10), ops.source
    assert [line for line in ops.source.splitlines() if len(line) > 100] == []
    ast.parse(ops.source)


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(definitions("value"), SIZES, st.integers(0, 99))
def test_single_precision_stays_single(definition, sizes, seed):
    program = Program("random", INPUTS, ((eps, 0.25),), (definition,), (definition.target,))
    ops = compile_numpy(program, Backward("staged", (), ()))
    values = arrays(sizes, seed, np.float32)
    found, _ = ops.forward(*(values[tensor] for tensor in INPUTS))
    if definition.indices:
        assert found.dtype == np.float32, ops.source


@settings(max_examples=50, deadline=None, phases=PHASES)
@given(st.sampled_from(TARGETS), st.data(), SIZES, st.integers(0, 99))
def test_backward_equals_reference_and_changes_nothing(indices, data, sizes, seed):
    """The code of an adjoint's definition, whatever it says, with the derivative by x above it."""
    wanted = Tensor("W", (D, K))
    out = Tensor("out", (N, D), "float", "value")
    body = data.draw(expressions((d, k), 3))
    body = body + Access(W, (d, k)) * data.draw(expressions((d, k), 2))
    forward = Definition(out, (i, d), Access(x, (i, d)))
    program = Program("random", INPUTS, ((eps, 0.25),), (forward,), (out,))
    backward = Backward("closed", (Definition(wanted.adjoint, (d, k), body),), (wanted.adjoint,))
    ops = compile_numpy(program, backward)
    values = arrays(sizes, seed)
    before = {tensor: a.copy() for tensor, a in values.items()}
    value, cache = ops.forward(*(values[tensor] for tensor in INPUTS))
    found = ops.backward(value, cache)[INPUTS.index(wanted)]
    env = Environment(sizes, {**values, eps: np.asarray(0.25)})
    assert close(found, evaluate(body, (d, k), env), 1e-10), ops.source
    assert all(np.array_equal(before[tensor], values[tensor]) for tensor in INPUTS), ops.source


@pytest.mark.parametrize("target", ["torch", "jax"])
@settings(max_examples=40, deadline=None, phases=PHASES)
@given(definitions("value"), SIZES, st.integers(0, 99))
def test_other_backends_equal_the_reference(target, definition, sizes, seed):
    backend = pytest.importorskip(target)
    convert = backend.tensor if target == "torch" else backend.numpy.asarray
    program = Program("random", INPUTS, ((eps, 0.25),), (definition,), (definition.target,))
    text = source(program, Backward("staged", (), ()), target=target)
    space: dict[str, object] = {}
    exec(text, space)
    values = arrays(sizes, seed)
    found, _ = space["random_forward"](*(convert(values[tensor]) for tensor in INPUTS))
    env = Environment(sizes, {**values, eps: np.asarray(0.25)})
    expected = evaluate(definition.body, definition.indices, env)
    assert close(np.asarray(found), expected, 1e-10), text
