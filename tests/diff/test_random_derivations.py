"""Random formulas: every derivation is verified line by line, or refused by name; never wrong, never
a silent zero."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalkgrad.derivation import Derived
from chalkgrad.diff import derive, for_code
from chalkgrad.diff.normal_form import normal_form
from chalkgrad.emit.compiled import compile_numpy
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Definition, Index, Program, Tensor
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.oracle import adjoints
from chalkgrad.verify.reference import run
from chalkgrad.verify.sample import sample
from chalkgrad.verify.steps import verify
from tests.emit.expressions import INPUTS, D, K, N, eps, expressions

i, d, k = Index("i", N), Index("d", D), Index("k", K)
EXAMPLES = int(os.environ.get("CHALKGRAD_RANDOM", "120"))
COVERED = min(EXAMPLES, 120)
MORE = EXAMPLES - COVERED
"""Further formulas take the same branches: they are drawn without coverage, which doubles their time."""


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """One or two definitions over the common inputs; the second may read the first."""
    indices = draw(st.sampled_from([(), (i,), (i, k), (i, d), (d, k)]))
    body = draw(expressions(indices, 3))
    out = Tensor("out", tuple(j.range for j in indices), "float", "value")
    return Program("random", INPUTS, ((eps, 0.25),), (Definition(out, indices, body),), (out,))


def sampled(program: Program, seed: int) -> Environment | None:
    """A test point, or None where the formula has none (its maximum is always tied, say)."""
    try:
        return sample(normal_form(program), seed)
    except ChalkgradError:
        return None


def every_line_holds(program: Program, form: str) -> None:
    derived = derive(program, form=form)
    assert isinstance(derived, Derived)
    assert {r.lhs.tensor.name for r in derived.results} == {t.name for t in INPUTS if t.dtype == "float"}
    if sampled(program, 0) is not None:
        assert verify(derived, points=1).ok


def backward_equals_numeric_adjoints(program: Program, seed: int) -> None:
    env = sampled(program, seed)
    if env is None:
        return
    safe, backward = for_code(program)
    ops = compile_numpy(safe, backward)
    inputs = [env.array(t) for t in program.inputs]
    value, cache = ops.forward(*inputs, eps=float(env.array(eps)))
    values = run(program, dict(zip(program.inputs, inputs, strict=True)), {eps: env.array(eps)}, env.sizes)
    np.testing.assert_allclose(value, values[program.outputs[0]], rtol=1e-8, atol=1e-8)
    upstream = np.random.default_rng(seed).normal(size=np.shape(value))
    found = ops.backward(upstream, cache)
    truth = adjoints(program, env, {program.outputs[0]: upstream})
    for tensor, gradient in zip(program.inputs, found, strict=True):
        if tensor.dtype != "float":
            assert gradient is None
            continue
        expected = truth.values[tensor.adjoint]
        scale = 1 + np.abs(expected).max(initial=0.0)
        error = np.abs(gradient - expected).max(initial=0.0)
        assert error <= 1e-7 * scale, f"{tensor.name}: {error}\n{ops.source}"


FORMS, SEEDS = st.sampled_from(["staged", "closed"]), st.integers(0, 9)


@settings(max_examples=COVERED, deadline=None)
@given(programs(), FORMS)
def test_every_line_of_a_random_derivation_holds(program: Program, form: str) -> None:
    every_line_holds(program, form)


@settings(max_examples=COVERED, deadline=None)
@given(programs(), SEEDS)
def test_emitted_backward_equals_numeric_adjoints(program: Program, seed: int) -> None:
    backward_equals_numeric_adjoints(program, seed)


if MORE:

    @pytest.mark.no_cover
    @settings(max_examples=MORE, deadline=None)
    @given(programs(), FORMS)
    def test_every_line_of_many_more_random_derivations_holds(program: Program, form: str) -> None:
        every_line_holds(program, form)

    @pytest.mark.no_cover
    @settings(max_examples=MORE, deadline=None)
    @given(programs(), SEEDS)
    def test_many_more_emitted_backwards_equal_numeric_adjoints(program: Program, seed: int) -> None:
        backward_equals_numeric_adjoints(program, seed)
