"""The catalogue of rules: complete, and true by example."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.diff import derive
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.layers import GALLERY
from chalkgrad.rules.catalogue import CATALOGUE, NAMES_KNOWN, Rule
from chalkgrad.verify.reference import run

EQUATIONS = [r for r in CATALOGUE if not r.example.startswith("derive ")]
DERIVATIONS = [r for r in CATALOGUE if r.example.startswith("derive ")]


def names(steps) -> set[str]:
    return {name for step in steps for name in step.rule.split(" and ")}


@pytest.mark.parametrize("rule", EQUATIONS, ids=lambda r: r.name)
def test_sides_of_an_example_have_one_value(rule: Rule) -> None:
    rng = np.random.default_rng(0)
    values = {
        "a": rng.normal(size=(3, 4)),
        "b": rng.normal(size=4),
        "c": rng.normal(size=4),
        "y": rng.integers(0, 4, 3),
    }
    found = []
    for side in rule.example.split(" = "):
        program = read_formula(f"u[i,k] = a[i,k]\nout[i,j] = {side} + 0 * a[i,j]", "side")
        inputs = {t: values[t.name] for t in program.inputs}
        found.append(run(program, inputs)[program.outputs[0]])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


@pytest.mark.parametrize("rule", DERIVATIONS, ids=lambda r: f"{r.name}: {r.lhs}")
def test_derivation_of_an_example_uses_the_rule_and_holds(rule: Rule) -> None:
    text = rule.example.removeprefix("derive ")
    derivation = cg.Derivation(derive(read_formula(text, "example"), form="closed"))
    assert rule.name in names(derivation.steps), names(derivation.steps)
    assert derivation.verify().ok


@pytest.mark.parametrize("name", GALLERY)
@pytest.mark.parametrize("form", ["staged", "closed"])
def test_every_step_names_a_rule_of_the_catalogue(name: str, form: str) -> None:
    derivation = GALLERY[name].derive()  # what other tests derive, too; the cheaper form
    if derivation.record.chosen.form != form:
        derivation = GALLERY[name].derive(form=form)
    unknown = names(derivation.steps) - NAMES_KNOWN
    assert not unknown
