"""Closed forms are written as people write them: common factors in front, one denominator where it helps."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import gcd

import pytest

import chalkgrad as cg
from chalkgrad.expr.nodes import Add, Apply, Const, Expr, Indicator, Mul, Pow, Size
from chalkgrad.expr.ops import children
from chalkgrad.layers import GALLERY

LSE = "p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\n"
FORMS = {
    "L = sum(i, log(s[i]) + (x[i] - m[i])^2 / (2 * s[i]^2))": "(1 - (x[i] - m[i])^2 / s[i]^2) / s[i]",
    "L = -sum(i, t[i] * log(p[i]) + (1 - t[i]) * log(1 - p[i]))": "(p[i] - t[i]) / (p[i] * (1 - p[i]))",
    "L = -sum(i, (a - 1) * log(x[i]) + (b - 1) * log(1 - x[i]))": "(b - 1) / (1 - x[i]) - (a - 1) / x[i]",
    "p[k] = exp(f[k]) / sum(j, exp(f[j]))\nL = 1 - sum(k, p[k]^2)": "2 * p[k] * (sum(j, p[j]^2) - p[k])",
    LSE + "L = -sum(i, w[y[i]] * log(p[i,y[i]])) / sum(i, w[y[i]])": "w[y[i]] * (p[i,k] - 1(k == y[i])) / z3",
    "L = sum(i, m[i] * (log(sum(k, exp(f[i,k]))) - f[i,y[i]])) / sum(i, m[i])": (
        "m[i] * (e[i,k] / z[i] - 1(k == y[i])) / z3"
    ),
    "L = sum(i, 1(y[i] != 0) * (log(sum(k, exp(f[i,k]))) - f[i,y[i]])) / sum(i, 1(y[i] != 0))": (
        "1(0 != y[i]) * (e[i,k] / z[i] - 1(k == y[i])) / z3"
    ),
    "L = 1 - 2 * sum(i, p[i] * t[i]) / (sum(i, p[i]) + sum(i, t[i]))": "2 * (z / a - t[i]) / a",
    "z[i,d] = m[i,d] + e[i,d]\nL = mean(i, sum(k, tanh(sum(d, z[i,d] * W[d,k]))) + sum(d, m[i,d]^2))": (
        "dL/dz[i,d] + 2 * m[i,d] / size(N)"
    ),
    "y[i] = maximum(x[i], 0.1 * x[i])": "dL/dy[i] * (1(x[i] > 0) + 1(x[i] < 0) / 10 + 0.55 * 1(0 == x[i]))",
    "y[i] = where(x[i] > 0, x[i], 0.01 * x[i])": "dL/dy[i] * where(x[i] > 0, 1, 0.01)",
    "y[i] = x[i] * (1 + tanh(x[i])) / 2": "dL/dy[i] * (1 + t[i] + x[i] * (1 - t[i]^2)) / 2",
    LSE + "L = -sum(i, log(p[i,2]))": "p[i,k] - 1(2 == k)",  # so that there are more than two classes
}
LAYERS = {**{text: cg.formula(text) for text in FORMS}, **GALLERY}


@pytest.mark.parametrize("text", FORMS)
def test_textbook_forms(text: str) -> None:
    assert FORMS[text] in [str(e.rhs) for e in LAYERS[text].derive().record.results]
    assert LAYERS[text].verify().ok


def sums(e: Expr) -> Iterator[Add]:
    """Every sum of terms, outside of functions."""
    if isinstance(e, Apply | Indicator):
        return
    if isinstance(e, Add):
        yield e
    for kid in children(e):
        yield from sums(kid)


def powers(term: Expr) -> dict[Expr, Fraction]:
    """The factors of a written term, with their powers."""
    found = {}
    for f in term.factors if isinstance(term, Mul) else (term,):
        base, power = (f.base, f.exponent) if isinstance(f, Pow) else (f, Const(Fraction(1)))
        if not isinstance(base, Const) and isinstance(power, Const) and isinstance(power.value, Fraction):
            found[base] = power.value
    return found


def whole_part(term: Expr) -> int:
    number = next((f.value for f in getattr(term, "factors", (term,)) if isinstance(f, Const)), 1)
    return int(number) if number == int(number) else 1


@pytest.mark.parametrize("name", LAYERS)
def test_what_all_terms_share_stands_in_front(name: str) -> None:
    record = LAYERS[name].derive(form="closed").record
    for total in (t for e in record.results for t in sums(e.rhs)):
        terms = [powers(t) for t in total.terms]
        for atom in terms[0]:
            signs = [p[atom] > 0 for p in terms if atom in p]
            assert len(signs) < len(terms) or len(set(signs)) > 1, f"{atom} in all terms of {total}"
        assert gcd(*map(whole_part, total.terms)) == 1, total


@pytest.mark.parametrize("name", LAYERS)
def test_no_denominator_for_one_term_alone(name: str) -> None:
    """(a + N b)/N, where a + b/N would do."""
    record = LAYERS[name].derive(form="closed").record
    for e in (e.rhs for e in record.results):
        for node in products(e):
            below = {f.base for f in node.factors if isinstance(f, Pow) and str(f.exponent).startswith("-")}
            for total in (f for f in node.factors if isinstance(f, Add)):
                for size in (b for b in below if isinstance(b, Size)):
                    without = [t for t in total.terms if size not in powers(t)]
                    assert len(without) != 1, f"{size} in {node}"


def products(e: Expr) -> Iterator[Mul]:
    if isinstance(e, Mul):
        yield e
    for kid in children(e):
        yield from products(kid)
