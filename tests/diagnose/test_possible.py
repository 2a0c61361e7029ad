"""A changed formula may only be dismissed where it gives other numbers than were returned."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from chalkgrad.diagnose.check import derived_for_check
from chalkgrad.diagnose.points import several
from chalkgrad.diagnose.possible import Possible
from chalkgrad.diagnose.search import Search
from chalkgrad.layers import GALLERY

LAYERS = ("batch_norm", "attention", "lstm_cell", "conv2d", "log_determinant", "svm_loss", "max_pool")


@lru_cache(8)
def search_of(name: str) -> Search:
    derived = derived_for_check(GALLERY[name].program)
    return Search(derived, several(derived, 1, 3))


@pytest.mark.parametrize("name", LAYERS)
def test_changes_put_in_together_give_what_each_gives_alone(name: str) -> None:
    search = search_of(name)
    by_id = {id(e): e for e in search.edits}
    seen = 0
    for place in dict.fromkeys(e.place for e in search.edits if e.node is not None):
        for edits, stack in search.places.values(place):
            assert stack.shape[-1] == len(edits)
            for number, edit in enumerate(by_id[e] for e in edits):
                alone = search.line_alone(edit.form, edit.target, edit.bodies[0][1], 0)
                assert alone is not None
                assert not alone.extra
                np.testing.assert_allclose(stack[..., number], alone.array, rtol=1e-9, atol=1e-12)
                seen += 1
    assert seen > len(search.edits) / 2


@pytest.mark.parametrize("name", LAYERS)
def test_no_change_is_dismissed_that_gives_what_was_returned(name: str) -> None:
    search = search_of(name)
    tried = kept = 0
    for edit in search.edits[:: max(1, len(search.edits) // 150)]:
        for wanted in search.derived.wrt:
            returned = search.edit_predictor(edit, wanted)(0)
            true = search.points[0].true[wanted]
            if returned is None or not np.abs(returned).max(initial=0.0) > 1e-9 * np.abs(true).max():
                continue  # the rounding of 0 is another each time
            possible = Possible(search, {wanted: returned})
            assert possible.edit(edit), edit.text
            others = search.edits[:: max(1, len(search.edits) // 40)]
            tried += len(others)
            kept += sum(possible.edit(e) for e in others)
    assert 0 < kept < tried / 2  # what was returned tells most changes apart


def test_a_line_without_a_part_is_kept_where_it_gives_what_was_returned() -> None:
    search = search_of("batch_norm")
    wanted = search.derived.wrt[0]
    for addend in search.addends:
        if search.leads(addend.form, addend.target, wanted):
            rest = search.without(addend, 0).get(wanted.adjoint)
            assert rest is not None
            assert Possible(search, {wanted: rest.array}).addend(addend)
