"""What the derived backward passes cost: recorded, and no worse than the best known by hand.

Write the record anew with `CHALKGRAD_GOLDEN=write pytest tests/emit/test_cost.py`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chalkgrad.emit.cost import Cost, cost
from chalkgrad.emit.plan import backward_cost, plan
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.layers.forwards import FORWARDS
from tests.best_forms import BEST
from tests.emit.gallery import derived

RECORD = Path(__file__).parent.parent / "golden" / "costs.json"


def ours(name: str) -> Cost:
    return backward_cost(plan(*derived(name)))


def best(name: str) -> Cost:
    program = read_formula(BEST[name].strip(), name)
    return cost(program.definitions, program.sizes)


def as_text(polynomial: tuple[tuple[tuple[str, ...], float], ...]) -> str:
    return " + ".join("·".join((f"{c:g}", *m)) for m, c in polynomial) or "0"


def record() -> dict[str, dict[str, str]]:
    found = {}
    for name in FORWARDS:
        own = ours(name)
        found[name] = {"flops": as_text(own.flops), "traffic": as_text(own.traffic)}
        if name in BEST:
            by_hand = best(name)
            found[name] |= {"best flops": as_text(by_hand.flops), "best traffic": as_text(by_hand.traffic)}
    return found


def test_record():
    """A change of any backward's cost shows up here, better or worse."""
    text = json.dumps(record(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("CHALKGRAD_GOLDEN") == "write":
        RECORD.write_text(text, encoding="utf-8")
    assert json.loads(text) == json.loads(RECORD.read_text(encoding="utf-8"))


def test_every_layer_has_a_best_known_form():
    """A new layer brings the form that its backward has to match."""
    assert list(FORWARDS.keys() - BEST.keys()) == []
    assert list(BEST.keys() - FORWARDS.keys()) == []


SLACK = 1.02
"""Operations on single numbers, such as a product of two sizes, may differ."""


@pytest.mark.parametrize("name", BEST)
def test_no_worse_than_the_best_known(name):
    own, by_hand = ours(name), best(name)
    assert own.nominal_flops <= SLACK * by_hand.nominal_flops, f"{own}  against  {by_hand}"


@pytest.mark.parametrize("name", BEST)
def test_no_more_passes_over_memory(name):
    own, by_hand = ours(name), best(name)
    assert own.nominal_traffic <= SLACK * by_hand.nominal_traffic, (
        f"{as_text(own.traffic)}  against  {as_text(by_hand.traffic)}"
    )
