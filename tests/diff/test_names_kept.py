"""What keeps a name in a closed form: work that is done once, and no number that one can read."""

from __future__ import annotations

import pytest

import chalkgrad as cg
from chalkgrad.diff.derive import for_code
from chalkgrad.expr.nodes import Sum
from chalkgrad.expr.ops import free_indices, walk
from chalkgrad.layers import GALLERY

FORMULAS = {
    "norm": "L = sqrt(sum(i, (x[i] - y[i])^2))",
    "dice": "L = 1 - 2 * sum(i, p[i] * t[i]) / (sum(i, p[i]) + sum(i, t[i]))",
    "iou": "z = sum(i, p[i] * t[i])\nL = 1 - z / (sum(i, p[i]) + sum(i, t[i]) - z)",
    "cosine": "L = sum(i, x[i] * y[i]) / (sqrt(sum(i, x[i]^2)) * sqrt(sum(i, y[i]^2)))",
    "r2": "L = 1 - sum(i, (y[i] - p[i])^2) / sum(i, (y[i] - mean(j, y[j]))^2)",
    "poisson": "eta[i] = sum(d, x[i,d] * w[d])\nL = mean(i, exp(eta[i]) - t[i] * eta[i])",
    "correlation": """a[i] = x[i] - mean(j, x[j])
b[i] = y[i] - mean(j, y[j])
L = sum(i, a[i] * b[i]) / sqrt(sum(i, a[i]^2) * sum(i, b[i]^2))""",
}
LAYERS = {**{name: cg.formula(text, name) for name, text in FORMULAS.items()}, **GALLERY}


@pytest.mark.parametrize("name", LAYERS)
def test_no_short_number_keeps_a_name(name: str) -> None:
    """1/N and 1/(2 r) are put in where they are read."""
    record = LAYERS[name].derive().record
    others = [d for d in record.closed.definitions if d.target not in record.closed.wanted]
    for d in others:
        plain = not free_indices(d.body) and not any(isinstance(n, Sum) for n in walk(d.body))
        assert not (plain and sum(1 for _ in walk(d.body)) <= 14), d


@pytest.mark.parametrize("name", LAYERS)
def test_code_fills_no_array_with_one_number(name: str) -> None:
    """Where that is no gradient that was asked for."""
    _, backward = for_code(LAYERS[name].program)
    if backward.form == "closed":
        others = [d for d in backward.definitions if d.target not in backward.wanted]
        assert not [d for d in others if d.indices and not free_indices(d.body)]


def test_numbers_leave_the_products_that_a_sum_contracts() -> None:
    poisson = LAYERS["poisson"].derive()
    assert [str(e.rhs) for e in poisson.record.results] == [
        "w[d] * (e[i] - t[i]) / size(N)",
        "sum(i, x[i,d] * (e[i] - t[i])) / size(N)",
        "-eta[i] / size(N)",
    ]
    assert "full_like" not in LAYERS["poisson"].source("numpy")
