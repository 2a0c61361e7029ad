"""Closed forms do not depend on the order in which the engine happens to try its rules."""

from __future__ import annotations

import random

import pytest

from chalkgrad.diff import closed
from chalkgrad.diff.derive import derive
from chalkgrad.diff.simplify import Knowledge, simplify
from chalkgrad.expr.ops import canonical
from chalkgrad.layers import GALLERY
from tests.rules.test_normal_forms import shuffled

LAYERS = [
    "softmax", "softmax_loss", "log_softmax", "sigmoid_loss", "svm_loss", "mse", "huber", "batch_norm",
    "batch_norm_eval", "layer_norm", "rms_norm", "weight_norm", "attention", "two_layer_net", "rnn_cell",
    "cosine_similarity", "pairwise_distances", "factorisation_machine", "gelu_tanh", "mish",
]  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_order_of_relations(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The definitions, seen as relations, tried in another order."""
    program = GALLERY[name].program
    expected = [canonical(d.body) for d in GALLERY[name].derive().record.closed.definitions]

    def in_another_order(program, solve=True):
        found = Knowledge.of(program, solve)
        rng = random.Random(seed)
        rng.shuffle(found.named)
        rng.shuffle(found.sums)
        return found

    class Shuffled:
        of = staticmethod(in_another_order)

    monkeypatch.setattr(closed, "Knowledge", Shuffled)
    found = [canonical(d.body) for d in derive(program, form="closed").closed.definitions]
    assert [str(e) for e in found] == [str(e) for e in expected]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_order_of_writing(name: str, seed: int) -> None:
    """An adjoint written with its terms and factors in another order simplifies to the same."""
    record = GALLERY[name].derive().record
    knowledge = Knowledge.of(record.program)
    for definition in record.staged.definitions:
        expected, _, _ = simplify(definition.body, knowledge)
        found, _, _ = simplify(shuffled(definition.body, random.Random(seed)), knowledge)
        assert str(canonical(found)) == str(canonical(expected))


@pytest.mark.parametrize("name", LAYERS)
def test_simplified_is_simple(name: str) -> None:
    """Simplifying twice changes nothing."""
    record = GALLERY[name].derive().record
    knowledge = Knowledge.of(record.program, solve=False)
    for definition in record.staged.definitions:
        once, _, _ = simplify(definition.body, knowledge)
        twice, _, _ = simplify(once, knowledge)
        assert str(canonical(twice)) == str(canonical(once))
