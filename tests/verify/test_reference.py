"""The reference evaluator against NumPy, and its refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalkgrad.errors import ShapeError, UnsupportedError, VerificationError
from chalkgrad.expr.nodes import (
    MINUS_ONE,
    Access,
    Apply,
    Const,
    Definition,
    Index,
    Indicator,
    Mul,
    Partial,
    Pow,
    Program,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
    as_expr,
)
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.magnitude import evaluate_closely
from chalkgrad.verify.reference import BRANCHES, COMPARE, evaluate, holomorphic, run
from tests.verify.programs import (
    AFFINE,
    BATCH_NORM,
    SOFTMAX_LOSS,
    D,
    K,
    N,
    W,
    at,
    b,
    d,
    e,
    f,
    fn,
    i,
    j,
    k,
    n,
    x,
    y,
)

SIZES = {N: 3, D: 4, K: 5}
RNG = np.random.default_rng(0)
ARRAYS = {
    x: RNG.normal(size=(3, 4)),
    W: RNG.normal(size=(4, 5)),
    b: RNG.normal(size=5),
    f: RNG.normal(size=(3, 5)),
    y: np.array([4, 0, 2]),
}
ENV = Environment(SIZES, ARRAYS, {d_.target: d_ for d_ in AFFINE.definitions})
X, WW, B, F = ARRAYS[x], ARRAYS[W], ARRAYS[b], ARRAYS[f]


# --- against NumPy ---------------------------------------------------------------------------------

CASES = [
    ("ij,jk->ik", Sum((d,), at(x, (i, d)) * at(W, (d, k))), (i, k), np.einsum("ij,jk->ik", X, WW)),
    ("order of axes", at(x, (i, d)), (d, i), X.T),
    ("an index that is not read", at(b, (k,)), (i, k), np.tile(B, (3, 1))),
    ("all summed", Sum((i, d), at(x, (i, d))), (), X.sum()),
    ("nested sums", Sum((i,), Sum((d,), at(x, (i, d))) ** 2), (), (X.sum(1) ** 2).sum()),
    ("sum of a constant", Sum((i, d), as_expr(1)), (), 12.0),
    ("shadowed index", Sum((i,), at(x, (i, d)) * Sum((i,), at(x, (i, d)))), (d,), X.sum(0) ** 2),
    ("same range twice", at(b, (j,)) * at(b, (k,)), (j, k), np.outer(B, B)),
    ("indicator", Indicator("==", j, k), (j, k), np.eye(5)),
    ("triangle", Indicator("<=", j, k), (j, k), np.triu(np.ones((5, 5)))),
    ("gather", at(f, (i, at(y, (i,)))), (i,), F[np.arange(3), ARRAYS[y]]),
    ("one-hot", Indicator("==", k, at(y, (i,))), (i, k), np.eye(5)[ARRAYS[y]]),
    ("affine index", Sum((n,), at(b, (n + 2,))), (), B[2:].sum()),
    ("constant index", at(b, (as_expr(3),)), (), B[3]),
    ("size", at(x, (i, d)) * Pow(Size(N), MINUS_ONE), (i, d), X / 3),
    ("index value", i * 10 + d, (i, d), np.arange(3)[:, None] * 10.0 + np.arange(4)),
    ("max", Reduce("max", (d,), at(x, (i, d))), (i,), X.max(1)),
    ("min of two indices", Reduce("min", (i, d), at(x, (i, d))), (), X.min()),
    ("prod", Reduce("prod", (d,), at(x, (i, d))), (i,), X.prod(1)),
    ("max of a constant body", Reduce("max", (d,), at(b, (k,))), (k,), B),
    ("negative power", at(x, (i, d)) ** -2, (i, d), X**-2.0),
    ("root", fn("exp", at(x, (i, d))) ** Const(as_expr(0.5).value), (i, d), np.exp(X / 2)),
    ("where", fn("where", Indicator(">", at(x, (i, d)), as_expr(0)), at(x, (i, d)), as_expr(7)), (i, d),
     np.where(X > 0, X, 7)),
    ("maximum", fn("maximum", at(x, (i, d)), as_expr(0.1)), (i, d), np.maximum(X, 0.1)),
    ("pi", Apply("pi", ()), (), np.pi),
]  # fmt: skip


@pytest.mark.parametrize(("expr", "indices", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_agrees_with_numpy(expr, indices, expected):
    found = evaluate(expr, indices, ENV)
    assert found.shape == tuple(SIZES[index.range] for index in indices)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-14)


AXES = {letter: Range(letter.upper() * 2) for letter in "abcde"}


@given(st.data())
def test_any_contraction_is_einsums(data):
    sizes = {of: data.draw(st.integers(1, 4), label=of.name) for of in AXES.values()}
    operands = data.draw(st.lists(st.text("abcde", max_size=3), min_size=1, max_size=3))
    letters = sorted(set("".join(operands)))
    kept = data.draw(st.permutations(letters).map(lambda p: p[: len(p) // 2]))
    index = {letter: Index(letter, AXES[letter]) for letter in letters}
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    tensors = [Tensor(f"t{n}", tuple(AXES[c] for c in word)) for n, word in enumerate(operands)]
    arrays = {t: rng.normal(size=[sizes[r] for r in t.axes]) for t in tensors}
    body = Mul(tuple(Access(t, tuple(index[c] for c in w)) for t, w in zip(tensors, operands, strict=True)))
    summed = tuple(index[c] for c in letters if c not in kept)
    found = evaluate(Sum(summed, body), tuple(index[c] for c in kept), Environment(sizes, arrays))
    expected = np.einsum(f"{','.join(operands)}->{''.join(kept)}", *arrays.values())
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("op", COMPARE)
@given(left=st.integers(0, 3), right=st.integers(0, 3))
def test_comparisons(op, left, right):
    expected = {"==": left == right, "!=": left != right, "<": left < right, "<=": left <= right}
    expected |= {">": left > right, ">=": left >= right}
    assert evaluate(Indicator(op, as_expr(left), as_expr(right)), (), ENV) == float(expected[op])


@given(base=st.floats(-3, 3).filter(lambda v: abs(v) > 0.1), power=st.integers(-6, 6))
def test_whole_powers_of_either_sign(base, power):
    assert evaluate(Pow(as_expr(base), as_expr(power)), (), ENV) == pytest.approx(base**power, rel=1e-13)


# --- guards ----------------------------------------------------------------------------------------


def test_an_indicator_shields_what_lies_outside():
    padded = Mul((at(b, (k - 1,)), Indicator(">=", k - 1, as_expr(0))))
    np.testing.assert_array_equal(evaluate(padded, (k,), ENV), [0, *B[:-1]])
    chosen = fn("where", Indicator(">=", k, as_expr(1)), at(b, (k - 1,)), as_expr(9))
    np.testing.assert_array_equal(evaluate(chosen, (k,), ENV), [9, *B[:-1]])


def test_reading_outside_is_an_error():
    with pytest.raises(VerificationError, match=r"b\[k - 1\] reads outside|reads outside of b"):
        evaluate(at(b, (k - 1,)), (k,), ENV)
    with pytest.raises(VerificationError, match=r"shape \(5,\), indices 1\.\.5"):
        evaluate(at(b, (k + 1,)), (k,), ENV)
    short = Mul((at(b, (k - 2,)), Indicator(">=", k - 1, as_expr(0))))
    with pytest.raises(VerificationError, match="reads outside"):
        evaluate(short, (k,), ENV)


@pytest.mark.parametrize(
    ("expr", "indices", "message"),
    [
        (at(Tensor("ghost", (N,)), (i,)), (i,), "ghost.N., which has no value"),
        (at(x, (i, d)), (i,), "index d over D is not bound"),
        (Sum((Index("q", Range("Q")),), as_expr(1)), (), "range Q has no size"),
        (at(x, (i,)), (i,), "has 1 indices, but"),
        (at(b, (k * Const(as_expr(0.5).value),)), (k,), "not a whole number"),
        (fn("log", at(x, (i, d))), (i, d), "is not a number at i=0, d="),
        (Partial(at(b, (k,)), Access(y, (i,))), (i, k), "not a float tensor"),
        (Partial(at(Tensor("g", (N,), role="value"), (i,)), at(b, (k,))), (i, k), "g.N., which has no def"),
    ],
)
def test_what_is_refused(expr, indices, message):
    with pytest.raises(VerificationError, match=message):
        evaluate(expr, indices, ENV)


def test_unknown_functions_are_refused_by_name():
    with pytest.raises(UnsupportedError, match="wobble is not in the table"):
        evaluate(fn("wobble", at(b, (k,))), (k,), ENV)
    with pytest.raises(UnsupportedError, match="no reduction called median"):
        evaluate(Reduce("median", (k,), at(b, (k,))), (), ENV)


# --- derivatives -----------------------------------------------------------------------------------


def test_partial_of_a_value_unfolds_its_definition():
    found = evaluate(Partial(at(f, (i, k)), at(W, (d, j))), (i, k, d, j), ENV)
    np.testing.assert_allclose(found, np.einsum("id,kj->ikdj", X, np.eye(5)), atol=1e-14)
    other = evaluate(Partial(at(f, (n, j)), at(x, (i, e))), (n, j, i, e), ENV)
    np.testing.assert_allclose(other, np.einsum("ej,ni->njie", WW, np.eye(3)), atol=1e-14)


def test_partial_of_a_value_by_itself_is_an_indicator():
    found = evaluate(Partial(at(f, (i, k)), at(f, (n, j))), (i, k, n, j), ENV)
    np.testing.assert_array_equal(found, np.einsum("in,kj->iknj", np.eye(3), np.eye(5)))


def test_partial_holds_other_values_fixed():
    # Only one level is unfolded: exp(f) depends on W through f, which is another tensor.
    found = evaluate(Partial(fn("exp", at(f, (i, k))), at(W, (d, j))), (i, k, d, j), ENV)
    assert not found.any()


def test_partial_inside_a_sum():
    chain = Sum((i, k), Mul((at(f, (i, k)), Partial(at(f, (i, k)), at(b, (j,))))))
    np.testing.assert_allclose(evaluate(chain, (j,), ENV), F.sum(0), rtol=1e-14)


UNARY = [p for p in PRIMITIVES.values() if p.arity == 1]


@pytest.mark.parametrize("primitive", UNARY, ids=lambda p: p.name)
def test_partial_of_every_function_of_one_argument(primitive):
    low, high = primitive.domain
    points = np.random.default_rng(1).uniform(low, high, size=5)
    points = points[np.abs(points) > 0.01]
    t, of = Tensor("t", (Range("T"),)), Index("t", Range("T"))
    env = Environment({of.range: len(points)}, {t: points})
    found = evaluate_closely(Partial(fn(primitive.name, at(t, (of,))), at(t, (of,))), (of,), env)
    wide = 1e-6
    rough = (primitive.reference(points + wide) - primitive.reference(points - wide)) / (2 * wide)
    np.testing.assert_allclose(found.value, rough, rtol=1e-7, atol=1e-7)
    exact = primitive.holomorphic or primitive.name in BRANCHES
    assert found.method == ("complex step" if exact else "Richardson")
    assert holomorphic(fn(primitive.name, at(t, (of,)))) == exact


def test_kinks_follow_the_convention_of_the_table():
    t = Tensor("t", ())
    env = Environment({}, {t: np.array(0.0)})
    for name, expected in (("relu", 0.0), ("abs", 0.0), ("sign", 0.0)):
        assert evaluate(Partial(fn(name, at(t, ())), at(t, ())), (), env) == expected
    for name in ("maximum", "minimum"):
        assert evaluate(Partial(fn(name, at(t, ()), as_expr(0)), at(t, ())), (), env) == 0.5


def test_magnitude_is_of_what_cancelled():
    centred = at(b, (k,)) - Sum((j,), at(b, (j,))) * Pow(Size(K), MINUS_ONE)
    found = evaluate_closely(Sum((k,), centred), (), ENV)
    assert abs(found.value) < 1e-14
    assert found.magnitude == pytest.approx(2 * np.abs(B).sum())
    assert found.method == "exact"


# --- programs --------------------------------------------------------------------------------------


def test_run_affine_and_softmax_loss():
    values = run(AFFINE, {x: X, W: WW, b: B})
    np.testing.assert_allclose(values[f], X @ WW + B, rtol=1e-14)
    scores, labels = RNG.normal(size=(6, 4)), RNG.integers(4, size=6)
    values = run(SOFTMAX_LOSS, dict(zip(SOFTMAX_LOSS.inputs, (scores, labels), strict=True)))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    assert values[SOFTMAX_LOSS.outputs[0]] == pytest.approx(-np.log(p[np.arange(6), labels]).mean())


def test_run_takes_parameters_from_the_caller_or_their_defaults():
    data = RNG.normal(size=(6, 3))
    ((eps, _),) = BATCH_NORM.parameters
    (out,) = BATCH_NORM.outputs
    for given_, value in (({}, 1e-5), ({eps: 0.5}, 0.5)):
        expected = (data - data.mean(0)) / np.sqrt(data.var(0) + value)
        np.testing.assert_allclose(run(BATCH_NORM, {x: data}, given_)[out], expected, rtol=1e-13)


def test_run_makes_integers_and_booleans():
    whole = Tensor("whole", (N,), "int", "value")
    truth = Tensor("truth", (N,), "bool", "value")
    program = Program(
        "p",
        (y,),
        (),
        (
            Definition(whole, (i,), at(y, (i,)) + 1),
            Definition(truth, (i,), Indicator(">", at(whole, (i,)), as_expr(2))),
        ),
        (truth,),
    )
    values = run(program, {y: np.array([0, 1, 2])})
    assert values[whole].dtype == np.int64
    assert values[truth].tolist() == [False, False, True]


def test_run_refuses_shapes_that_contradict():
    with pytest.raises(ShapeError, match="has no value"):
        run(AFFINE, {x: X, W: WW})
    with pytest.raises(ShapeError, match="axis D has size 3, elsewhere 4"):
        run(AFFINE, {x: X, W: WW[:3], b: B})
    with pytest.raises(ShapeError, match="2 axes, but its array has 1"):
        run(AFFINE, {x: X[0], W: WW, b: B})
    fixed = Tensor("t", (Range("T", 3),))
    with pytest.raises(ShapeError, match="axis T=3 has size 2, elsewhere 3"):
        run(Program("p", (fixed,), (), (), ()), {fixed: np.zeros(2)})
