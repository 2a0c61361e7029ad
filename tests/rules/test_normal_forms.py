"""Normal forms: same value, stable under repetition, independent of the order of writing."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalkgrad.expr.nodes import Access, Add, Apply, Expr, Index, Indicator, Mul, Size, Sum
from chalkgrad.expr.ops import canonical, children, rebuild
from chalkgrad.rules.contraction import contract_all
from chalkgrad.rules.factoring import undistribute
from chalkgrad.rules.polynomial import collect, expand, tidy, to_expr
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.reference import evaluate
from tests.emit.expressions import D, K, N, arrays, eps, expressions, y

i, k = Index("i", N), Index("k", K)
SCOPE = (i, k)
SIZES = {N: 3, D: 2, K: 4}


def environment(seed: int) -> Environment:
    return Environment(SIZES, {**arrays(SIZES, seed), eps: np.asarray(0.25)})


def shuffled(e: Expr, rng: random.Random) -> Expr:
    """The same expression with its terms, factors and summed indices written in another order."""
    kids = [shuffled(kid, rng) for kid in children(e)]
    if isinstance(e, Add | Mul):
        rng.shuffle(kids)
    new = rebuild(e, tuple(kids)) if kids else e
    if isinstance(new, Sum):
        order = list(new.indices)
        rng.shuffle(order)
        return Sum(tuple(order), new.body)
    return new


def multiplied_out(e: Expr) -> Expr:
    return to_expr(collect(contract_all(expand(e))[0]))


def factored(e: Expr) -> Expr:
    return undistribute(multiplied_out(e))


def agree(a: Expr, b: Expr, seed: int = 0) -> bool:
    env = environment(seed)
    left, right = evaluate(a, SCOPE, env), evaluate(b, SCOPE, env)
    return bool(np.allclose(left, right, rtol=1e-8, atol=1e-8 * (1 + np.abs(left).max())))


@settings(max_examples=150, deadline=None)
@given(expressions(SCOPE, 3), st.sampled_from([tidy, multiplied_out, factored]))
def test_normal_forms_keep_the_value(e: Expr, form) -> None:
    assert agree(e, form(e)), f"{e}\n{form(e)}"


SAME = Indicator("==", k, Access(y, (i,)))
DECIDED_INSIDE = Mul((Size(D), Apply("tanh", (SAME,)), SAME))
"""Under 1(k = y_i) the function's argument is 1: one pass has to see it."""


@settings(max_examples=150, deadline=None)
@given(expressions(SCOPE, 3), st.sampled_from([tidy, multiplied_out]))
@example(DECIDED_INSIDE, multiplied_out)
def test_normal_forms_are_idempotent(e: Expr, form) -> None:
    once = form(e)
    assert canonical(form(once)) is canonical(once), f"{once}\n{form(once)}"


@settings(max_examples=150, deadline=None)
@given(expressions(SCOPE, 3), st.integers(0, 99), st.sampled_from([tidy, multiplied_out]))
def test_normal_forms_do_not_depend_on_the_order_of_writing(e: Expr, seed: int, form) -> None:
    other = shuffled(e, random.Random(seed))
    assert canonical(form(other)) is canonical(form(e)), f"{form(e)}\n{form(other)}"


@settings(max_examples=100, deadline=None)
@given(expressions(SCOPE, 2), expressions(SCOPE, 2), st.sampled_from([tidy, multiplied_out, factored]))
def test_equal_sums_multiplied_keep_indices_of_their_own(e: Expr, other: Expr, form) -> None:
    """Equal expressions are multiplied out once, so what they sum over has to be told apart in a product."""
    for product in (Mul((e, e)), Mul((e, Add((e, other)), e))):
        assert agree(product, form(product)), f"{product}\n{form(product)}"


def test_the_square_of_a_sum_sums_over_two_indices() -> None:
    d = Index("d", D)
    total = Sum((d,), Access(next(t for t in arrays(SIZES, 0) if t.axes == (N, D)), (i, d)))
    (square,) = expand(Mul((total, total)))
    assert len(set(square.bound)) == 2
