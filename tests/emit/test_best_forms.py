"""The best forms that costs are compared with are backward passes: they compute the gradients.

A form that forgot a term would be cheap, and would make the comparison meaningless.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import numpy as np
import pytest

from chalkgrad.emit.plan import plan
from chalkgrad.expr.nodes import Program, Tensor
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.reference import run, run_on
from chalkgrad.verify.sample import sample
from tests.best_forms import BEST, MEANS
from tests.emit.gallery import derived

RTOL = 1e-9


@pytest.mark.parametrize("name", BEST)
def test_best_form_computes_the_gradients(name):
    program, backward = derived(name)
    program = plan(program, backward).program  # with the values that the backward saves
    env = at_a_point(program, seed=crc32(name.encode()))
    own = run_on(backward.definitions, env).arrays
    by_hand = evaluated(read_formula(BEST[name].strip(), name), MEANS.get(name, {}), env)
    for wanted in backward.wanted:
        gradient = own[wanted]
        assert float(np.abs(gradient).max()) > 0
        form = by_hand[_name(wanted)]
        assert np.shape(form) == np.shape(gradient)
        np.testing.assert_allclose(form, gradient, RTOL, RTOL * float(np.abs(gradient).max()))


def at_a_point(program: Program, seed: int) -> Environment:
    """Every value of the forward, and an upstream gradient, at a random smooth point."""
    env = sample(program, seed)
    rng = np.random.default_rng(seed)
    drawn = {t.adjoint: rng.normal(size=np.shape(env.arrays[t])) for t in program.outputs}
    return env.having(drawn)


def evaluated(form: Program, means: Mapping[str, str], env: Environment) -> dict[str, np.ndarray]:
    """What the form computes from the forward's values, by the layer's names: "dx"."""
    values = {_name(t): value for t, value in env.arrays.items()}
    given = {t: values[means.get(t.name, t.name)] for t in form.inputs}
    parameters = {t: float(values[means.get(t.name, t.name)]) for t, _ in form.parameters}
    sizes = {}
    for d in form.definitions:
        of = means.get(d.target.name, d.target.name).removeprefix("d")
        if of in values:
            sizes |= dict(zip(d.target.axes, np.shape(values[of]), strict=False))
    found = run(form, given, parameters, sizes)
    return {means.get(t.name, t.name): value for t, value in found.items()}


def _name(t: Tensor) -> str:
    return f"d{t.name}" if t.role == "adjoint" else t.name
