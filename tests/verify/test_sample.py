"""Test points: small distinct sizes, inside every domain, away from every kink."""

import numpy as np
import pytest

from chalkgrad.errors import VerificationError
from chalkgrad.expr.nodes import (
    MINUS_ONE,
    Access,
    Add,
    Const,
    Definition,
    Index,
    Indicator,
    Mul,
    Pow,
    Program,
    Range,
    Reduce,
    Sum,
    Tensor,
    as_expr,
)
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.verify.labels import label_count
from chalkgrad.verify.sample import MARGIN, sample
from tests.verify.programs import PROGRAMS, D, K, N, at, b, d, e, f, fn, i, j, k, mask, n, value, x, y

ROOT = Const(as_expr(0.5).value)
out = value("out", N, D)


def program(body, *inputs, parameters=(), indices=(i, d), target=out):
    return Program("p", inputs or (x,), parameters, (Definition(target, indices, body),), (target,))


@pytest.mark.parametrize("of", PROGRAMS, ids=lambda p: p.name)
@pytest.mark.parametrize("seed", range(5))
def test_sizes_are_small_distinct_and_greater_than_one(of, seed):
    env = sample(of, seed)
    sizes = list(env.sizes.values())
    assert len(set(sizes)) == len(sizes) == len(of.ranges())
    assert all(2 <= size <= 7 for size in sizes)
    for tensor in of.tensors():
        assert env.arrays[tensor].shape == tuple(env.sizes[r] for r in tensor.axes)


def test_equal_seeds_give_equal_points_and_others_do_not():
    for of in PROGRAMS:
        first, again, other = sample(of, 3), sample(of, 3), sample(of, 4)
        assert first.sizes == again.sizes
        for tensor, array in first.arrays.items():
            np.testing.assert_array_equal(array, again.arrays[tensor])
        assert any(
            first.arrays[t].shape != other.arrays[t].shape or (first.arrays[t] != other.arrays[t]).any()
            for t in of.inputs
        )


def test_a_fixed_range_keeps_its_size():
    three = Tensor("three", (Range("T", 3),))
    t = Index("t", three.axes[0])
    env = sample(program(at(three, (t,)) * 2, three, indices=(t,), target=value("o", t.range)), 0)
    assert env.arrays[three].shape == (3,)
    assert t.range not in env.sizes


@pytest.mark.parametrize("name", [p.name for p in PRIMITIVES.values() if p.kinks and p.arity == 1])
def test_kinks_of_composed_arguments_are_kept_away_from(name):
    inner = Add((Sum((e,), Mul((at(x, (i, e)), at(x, (i, e))))), Mul((as_expr(-3), at(x, (i, d))))))
    for seed in range(20):
        env = sample(program(fn(name, inner)), seed)
        X = env.arrays[x]
        argument = (X**2).sum(1, keepdims=True) - 3 * X
        assert np.abs(argument).min() >= MARGIN


@pytest.mark.parametrize(
    ("body", "inside"),
    [
        (fn("log", at(x, (i, d))), lambda X: X > 0),
        (fn("log", Add((at(x, (i, d)), as_expr(-1)))), lambda X: X > 1),
        (fn("sqrt", Add((as_expr(1), -(at(x, (i, d)) ** 2)))), lambda X: np.abs(X) < 1),
        (Pow(at(x, (i, d)), ROOT), lambda X: X > MARGIN),
        (Pow(at(x, (i, d)), MINUS_ONE), lambda X: np.abs(X) > MARGIN),
        (Pow(as_expr(2), at(x, (i, d))), np.isfinite),
        (Pow(Sum((e,), at(x, (i, e))), at(x, (i, d))), lambda X: X.sum(1) > MARGIN),
        (Indicator(">", at(x, (i, d)), ROOT), lambda X: np.abs(X - 0.5) > MARGIN),
        (fn("tan", at(x, (i, d))), lambda X: np.abs(X) < np.pi / 2),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_values_are_inside_the_domain(body, inside):
    for seed in range(10):
        env = sample(program(body), seed)
        assert inside(env.arrays[x]).all()
        assert np.isfinite(env.arrays[out]).all()


def test_maxima_have_no_near_ties():
    best = value("best", N)
    of = program(Reduce("max", (d,), fn("relu", at(x, (i, d)))), indices=(i,), target=best)
    for seed in range(20):
        env = sample(of, seed)
        top = np.sort(np.maximum(env.arrays[x], 0), axis=1)[:, -2:]
        assert (top[:, 1] - top[:, 0] >= MARGIN).all()


def test_a_formula_without_a_smooth_point_is_an_error_that_names_the_place():
    never = fn("log", Mul((MINUS_ONE, fn("exp", at(x, (i, d))))))
    with pytest.raises(VerificationError, match=r"no test point of p .*log\(-exp\(x\[i,d\]\)\) is outside"):
        sample(program(never), 0)
    zero = Pow(Add((at(x, (i, d)), -at(x, (i, d)))), MINUS_ONE)
    with pytest.raises(VerificationError, match="divides by nearly 0"):
        sample(program(zero), 0)


def test_a_tie_that_the_formula_itself_makes_is_allowed():
    # |b_j - b_k| is on its kink at j = k whatever is drawn; the convention holds there.
    body = fn("abs", Add((at(b, (j,)), -at(b, (k,)))))
    env = sample(program(body, b, indices=(j, k), target=value("o", K, K)), 0)
    gaps = np.abs(np.subtract.outer(env.arrays[b], env.arrays[b]))[~np.eye(env.sizes[K], dtype=bool)]
    assert gaps.min() >= MARGIN


def test_labels_select_from_their_range():
    gathered = at(f, (i, at(y, (i,))))
    compared = Mul((at(f, (i, k)), Indicator("==", k, at(y, (i,)))))
    scores = Tensor("f", (N, K))
    for body in (gathered, compared):
        seen = set()
        for seed in range(30):
            of = program(
                Sum((k,), body) if body is compared else body,
                f,
                y,
                indices=(i,),
                target=value("o", N),
            )
            env = sample(of, seed)
            labels, classes = env.arrays[y], env.sizes[K]
            assert label_count(y, of, dict(env.sizes)) == classes
            assert labels.dtype == np.int64
            assert labels.min() >= 0
            assert len(set(labels.tolist())) > 1
            # Labels 0 and 1 alone would let y and y^2 pass for each other.
            assert labels.max() == classes - 1 >= 2
            seen |= {(classes, int(v)) for v in labels}
        assert {(c, v) for c in {c for c, _ in seen} for v in range(c)} == seen
    assert scores.axes == f.axes


def test_masks_have_both_values():
    of = program(Mul((at(x, (i, d)), at(mask, (i, d)))), x, mask)
    for seed in range(20):
        drawn = sample(of, seed).arrays[mask]
        assert drawn.dtype == bool
        assert drawn.any()
        assert not drawn.all()


@pytest.mark.parametrize(("default", "kept"), [(0.0, False), (1.0, False), (0.25, True), (1e-5, True)])
def test_parameters_keep_their_default_unless_it_hides_something(default, kept):
    scale = Tensor("scale", (), "float", "parameter")
    of = program(Mul((at(x, (i, d)), at(scale, ()))), parameters=((scale, default),))
    drawn = float(sample(of, 0).arrays[scale])
    assert (drawn == default) == kept
    assert default <= drawn < default + 0.5


def test_a_parameter_that_must_be_zero_stays_zero():
    power = Tensor("power", (), "float", "parameter")
    # log(1 - power) allows a nudge below one, but log(1e-9 - power) does not.
    body = Add((at(x, (i, d)), fn("log", Add((as_expr(0.01), -at(power, ()))))))
    env = sample(program(body, parameters=((power, 0.0),)), 0)
    assert env.arrays[power] == 0.0


def test_axes_grow_to_what_an_affine_index_needs():
    t, q = Index("t", Range("T")), Index("q", Range("Q"))
    signal, kernel = Tensor("signal", (Range("S"),)), Tensor("kernel", (q.range,))
    body = Sum((q,), Mul((Access(signal, (2 * t + q,)), at(kernel, (q,)))))
    for seed in range(10):
        env = sample(program(body, signal, kernel, indices=(t,), target=value("o", t.range)), seed)
        T, Q, S = env.sizes[t.range], env.sizes[q.range], env.sizes[signal.axes[0]]
        assert S >= 2 * (T - 1) + Q
        assert len({T, Q, S}) == 3
        windows = np.lib.stride_tricks.sliding_window_view(env.arrays[signal], Q)[::2][:T]
        expected = windows @ env.arrays[kernel]
        np.testing.assert_allclose(env.arrays[value("o", t.range)], expected, rtol=1e-12)


def test_an_unknown_element_type_is_refused():
    odd = Tensor("odd", (N,), "text")
    with pytest.raises(ValueError, match="element type text"):
        sample(program(at(odd, (n,)), odd, indices=(n,), target=value("o", N)), 0)


@pytest.mark.parametrize("seed", range(8))
def test_a_masked_maximum_keeps_an_entry_in_every_row(seed):
    program = read_formula("mask: N D bool; m[i] = max(d, where(mask[i,d], x[i,d], -inf))")
    env = sample(program, seed)
    assert np.isfinite(env.array(program.outputs[0])).all()
    assert not env.array(program.inputs[0]).all()
