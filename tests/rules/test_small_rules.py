"""Rules on numbers, comparisons and places: what they rewrite has the value that it had."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Range,
    Size,
    Tensor,
)
from chalkgrad.expr.ops import walk
from chalkgrad.rules.comparisons import by_signs, three_ways
from chalkgrad.rules.places import plain_place
from chalkgrad.rules.polynomial import collect, expand, tidy, to_expr
from chalkgrad.verify.sample import sample

N = Range("N")
i = Index("i", N)
a, b = (Access(Tensor(name, (N,)), (i,)) for name in "ab")


def number(value: int | Fraction) -> Const:
    return Const(Fraction(value))


# --- roots --------------------------------------------------------------------------------------


@given(st.integers(-4, 4), st.integers(-4, 4), st.fractions(-3, 3, max_denominator=6))
def test_roots_keep_their_value(two: int, three: int, coeff: Fraction) -> None:
    """And at most one power of each is left, with nothing to cancel before it."""
    roots = [Apply("sqrt", (number(2),)), Apply("sqrt", (number(3),))]
    made = tidy(Mul((number(coeff), Pow(roots[0], number(two)), Pow(roots[1], number(three)), a)))
    assert not [n for n in walk(made) if isinstance(n, Pow) and abs(n.exponent.value) != 1]
    plain = Mul(tuple(f for f in getattr(made, "factors", (made,)) if f is not a))
    found = np.prod([float(value_of(f)) for f in plain.factors])
    assert found == pytest.approx(float(coeff) * 2 ** (two / 2) * 3 ** (three / 2))


def value_of(e: Expr) -> float:
    match e:
        case Const(value):
            return float(value)
        case Apply("sqrt", (inner,)):
            return value_of(inner) ** 0.5
        case Pow(base, exponent):
            return value_of(base) ** value_of(exponent)
    raise AssertionError(e)


# --- comparisons --------------------------------------------------------------------------------

OPERATORS = (">", ">=", "==", "<=", "<", "!=")
POINTS = [(-1.0, 2.0), (2.0, -1.0), (1.0, 1.0), (0.0, 0.0), (0.0, 3.0), (-3.0, 0.0)]


def at(e: Expr, point: tuple[float, float]) -> float:
    """The value where a and b are these numbers."""
    match e:
        case Const(value):
            return float(value)
        case Access(tensor, _):
            return point["ab".index(tensor.name)]
        case Add(terms):
            return sum(at(t, point) for t in terms)
        case Mul(factors):
            return float(np.prod([at(f, point) for f in factors]))
        case Pow(base, exponent):
            return at(base, point) ** at(exponent, point)
        case Indicator(op, left, right):
            x, y = at(left, point), at(right, point)
            return float({">": x > y, ">=": x >= y, "==": x == y, "<=": x <= y, "<": x < y, "!=": x != y}[op])
    raise AssertionError(e)


@given(
    st.lists(st.tuples(st.sampled_from(OPERATORS), st.booleans(), st.integers(-2, 2)), min_size=1, max_size=5)
)
def test_cases_together_keep_their_value(cases: list[tuple[str, bool, int]]) -> None:
    masks = [Indicator(op, b, a) if swapped else Indicator(op, a, b) for op, swapped, _ in cases]
    poly = collect(
        expand(Add(tuple(Mul((number(c), a, m)) for m, (_, _, c) in zip(masks, cases, strict=True))))
    )
    made, changed = three_ways(poly)
    assert len(made) < len(poly) if changed else len(made) == len(poly)
    for point in POINTS:
        assert at(to_expr(made), point) == pytest.approx(at(to_expr(poly), point))


@pytest.mark.parametrize("swapped", [False, True])
def test_every_case_is_one(swapped: bool) -> None:
    masks = [Indicator(op, *((b, a) if swapped and op == "<" else (a, b))) for op in (">", "==", "<")]
    if swapped:
        masks[2] = Indicator(">", b, a)
    made, changed = three_ways(collect(expand(Add(tuple(Mul((a, m)) for m in masks)))))
    assert changed
    assert to_expr(made) is a


@given(st.sampled_from(OPERATORS), st.integers(-3, 3), st.integers(-3, 3))
def test_multiples_of_a_value_compare_by_its_sign(op: str, left: int, right: int) -> None:
    before = Indicator(op, Mul((number(left), a)), Mul((number(right), a)))
    after = by_signs(before)
    for point in POINTS:
        assert at(after, point) == at(before, point)
    assert left == right or after.right is not before.right


@pytest.mark.parametrize(
    "text",
    [
        "out = max(i, tanh(max(d, tanh(x[i,d]))))",
        "out = max(i, max(d, x[i,d])^2)",
        "out = max(i, max(d, max(k, x[i,d] * y[d,k])))",
        "out = sum(i j, 1(u[i] > v[j]) * 1(v[i] > u[j]) * u[i]) + sum(i j, 1(u[j] < v[i]) * u[i])",
    ],
)
def test_two_comparisons_of_one_term_are_no_two_terms(text: str) -> None:
    """They are alike where letters of a sum may change places; counted twice, the term never got fewer."""
    for form in ("staged", "closed"):
        assert cg.formula(text).derive(form=form).verify().ok
    cg.formula(text).compile("numpy")


def test_the_kinks_of_one_value_are_told_once() -> None:
    quantile = cg.formula("L = mean(i, maximum(q * (t[i] - p[i]), (q - 1) * (t[i] - p[i])))")
    assert str(quantile.derive("q").result.rhs) == "sum(i, a[i]) / size(N)"
    leaky = cg.formula("y[i] = maximum(x[i], 0.1 * x[i])").derive("x")
    masks = [n for n in walk(leaky.result.rhs) if isinstance(n, Indicator)]
    assert not [m for m in masks if not isinstance(m.left, Const) and not isinstance(m.right, Const)]


@pytest.mark.parametrize("label", [0, 1])
def test_a_constant_label_is_a_label(label: int) -> None:
    text = f"p[k] = exp(f[k]) / sum(j, exp(f[j]))\nL = -log(p[{label}])"
    rhs = str(cg.formula(text).derive("f").result.rhs)
    assert "/" not in rhs
    assert f"- 1({label} == k)" in rhs


# --- places -------------------------------------------------------------------------------------

M = Range("M")
j = Index("j", M)


@given(st.data())
def test_places_keep_their_value(data: st.DataObject) -> None:
    """Quotients and remainders of sums of indices and sizes, by sizes and numbers."""
    term = st.sampled_from([i, j, number(2), Mul((Size(N), j)), Mul((Size(M), i)), Mul((number(3), i))])
    whole: Expr = Add(tuple(data.draw(st.lists(term, min_size=2, max_size=3))))
    part = data.draw(st.sampled_from([Size(N), Size(M), number(2), number(3), Mul((Size(N), Size(M)))]))
    for fn in data.draw(st.sampled_from([("floordiv",), ("mod",), ("mod", "floordiv")])):
        whole = Apply(fn, (whole, part))
    joined = Add((Mul((part, Apply("floordiv", (whole, part)))), Apply("mod", (whole, part))))
    for e in (whole, joined):
        made = plain_place(e)
        for n, m in product((1, 2, 3), repeat=2):
            for place in product(range(n), range(m)):
                assert whole_value(made, (n, m), place) == whole_value(e, (n, m), place)


def whole_value(e: Expr, sizes: tuple[int, int], place: tuple[int, int]) -> int:
    match e:
        case Const(value):
            return int(value)
        case Size(of):
            return sizes[(N, M).index(of)]
        case Index():
            return place[(i, j).index(e)]
        case Add(terms):
            return sum(whole_value(t, sizes, place) for t in terms)
        case Mul(factors):
            return int(np.prod([whole_value(f, sizes, place) for f in factors]))
        case Pow(base, exponent):
            return whole_value(base, sizes, place) ** whole_value(exponent, sizes, place)
        case Apply(fn, args):
            top, below = (whole_value(x, sizes, place) for x in args)
            return top // below if fn == "floordiv" else top % below
    raise AssertionError(e)


def heads(x: "B T E", W: "E K"):
    B, T, _ = x.shape
    y = x.reshape(B, T, 2, -1).transpose(0, 2, 1, 3)
    return y.transpose(0, 2, 1, 3).reshape(B, T, -1) @ W


def rows(x: "B T E", W: "E K"):
    B, T, E = x.shape
    return (x.reshape(B * T, E)).reshape(B, T, E) @ W


def flat(x: "B T E", W: "E K"):
    B, T, E = x.shape
    return x.reshape(-1).reshape(B, T, E) @ W


def pairs(x: "B T E", W: "E K"):
    B, T, E = x.shape
    return x.reshape(B, T * E).reshape(B, T, E) @ W


@pytest.mark.parametrize("function", [heads, rows, flat, pairs])
def test_an_axis_cut_and_joined_again_leaves_nothing(function) -> None:
    layer = cg.layer(function)
    derivation = layer.derive()
    assert derivation.verify().ok
    assert str(derivation.record.program.definitions[0].body) == "sum(e, x[b,t,e] * W[e,k])"
    assert "//" not in layer.source("numpy")
    env = sample(layer.with_options().program, 0)
    x, W = (np.asarray(env.arrays[t]) for t in layer.program.inputs)
    np.testing.assert_allclose(layer(x, W), x @ W)
