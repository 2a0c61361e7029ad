"""Gradients read off a table must be those that the lines give, and no table may hide what is not linear."""

from __future__ import annotations

import numpy as np
import pytest

from chalkgrad.diagnose.carried import MOST, carried
from chalkgrad.diagnose.check import derived_for_check
from chalkgrad.diagnose.labelled import Evaluation, Value
from chalkgrad.diagnose.points import draw
from chalkgrad.diagnose.search import FEW, Search
from chalkgrad.expr.nodes import Mul
from chalkgrad.layers import GALLERY

LAYERS = ("batch_norm", "gru_cell", "attention", "three_layer_convnet", "lstm_cell")


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", ["staged", "closed"])
def test_a_table_gives_what_the_lines_give(name: str, form: str) -> None:
    derived = derived_for_check(GALLERY[name].program)
    base = Evaluation(draw(derived, 3).env)
    definitions = (derived.staged if form == "staged" else derived.closed).definitions
    rng = np.random.default_rng(0)
    read = 0
    for d in definitions:
        table = carried(definitions, d.target, derived.wrt, base)
        shape = np.shape(base.array(d.target))
        assert (table is None) == (np.size(base.array(d.target)) > MOST)
        if table is None:
            continue
        value = rng.normal(size=shape)
        lines = Evaluation(base.env, {d.target: Value(value)}, base)
        lines.run(definitions, {})
        for adjoint in table.base:
            true = lines.changed[adjoint].array
            found = table.gradient(adjoint, value)
            assert found is not None
            assert np.abs(found - true).max() <= 1e-10 * max(float(np.abs(true).max()), 1.0)
            read += 1
    assert read > 0 or all(d.target in {t.adjoint for t in derived.wrt} for d in definitions)


def test_lines_that_are_not_linear_have_no_table() -> None:
    derived = derived_for_check(GALLERY["batch_norm"].program)
    base = Evaluation(draw(derived, 3).env)
    squared = []
    for d in derived.staged.definitions:
        bent = d.target in {t.adjoint for t in derived.wrt}
        squared.append(type(d)(d.target, d.indices, Mul((d.body, d.body)) if bent else d.body))
    inner = next(d.target for d in squared if d.target not in {t.adjoint for t in derived.wrt})
    table = carried(squared, inner, derived.wrt, base)
    assert table is not None
    assert not table.base


def test_many_hypotheses_about_one_adjoint_evaluate_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    derived = derived_for_check(GALLERY["gru_cell"].program)
    search = Search(derived, [draw(derived, 3)])
    by_target: dict[object, list[object]] = {}
    for e in search.edits:
        if len(e.bodies) == 1 and e.form == "staged" and search.reaches(e, derived.wrt[0]):
            by_target.setdefault(e.target, []).append(e)
    wanted = derived.wrt[0]
    edits = max((v for t, v in by_target.items() if t is not wanted.adjoint), key=len)
    whole = []
    predict = Search.predict
    monkeypatch.setattr(Search, "predict", lambda self, *a: whole.append(a) or predict(self, *a))
    for e in edits:
        search.edited(e, 0).get(wanted.adjoint)  # type: ignore[arg-type]
    left_over = [e for e in edits if _extra(search, e)]
    assert len(edits) > 3 * FEW
    assert len(whole) <= FEW + len(left_over)


def _extra(search: Search, edit: object) -> bool:
    """Whether an edit leaves an axis over, which no table has."""
    ((target, body),) = edit.bodies  # type: ignore[attr-defined]
    alone = search.line_alone("staged", target, body, 0)
    return alone is None or bool(alone.extra)
