"""A change of the text, or of a line, that is dismissed unread is never one that makes a gradient right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.diagnose.blocks import measured
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.mended import Mender
from chalkgrad.diagnose.points import several
from chalkgrad.diagnose.trial import run
from chalkgrad.diff import derive
from chalkgrad.layers import GALLERY

Array = np.ndarray


def batch_norm_mean_forgotten(dout: Array, x: Array, gamma: Array, beta: Array) -> tuple[Array, Array, Array]:
    n = x.shape[0]
    centred = x - x.mean(axis=0)
    std = np.sqrt((centred**2).mean(axis=0) + 1e-5)
    xhat = centred / std
    dxhat = dout * gamma
    inner = n * dxhat - xhat * (dxhat * xhat).sum(axis=0)
    dx = inner / (n * std)
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)


def affine_sum_and_factor(dout: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
    dx = dout @ W.T
    doubled = 2 * dout
    dW = x.T @ doubled
    db = doubled.sum(axis=0)
    return dx, dW, db


def in_place(dout: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
    dx = dout @ W.T
    dx += x
    dW = x.T @ dx @ W.T if x.shape == dx.shape and W.shape[0] == W.shape[1] else x.T @ dout
    db = dout.sum(axis=0)
    db -= 2 * db
    return dx, dW, db


def spatial_batch_norm_sum_forgotten(
    dout: Array, x: Array, gamma: Array, beta: Array
) -> tuple[Array, Array, Array]:
    n = x.shape[0] * x.shape[2] * x.shape[3]
    centred = x - x.mean(axis=(0, 2, 3), keepdims=True)
    std = np.sqrt((centred**2).mean(axis=(0, 2, 3), keepdims=True) + 1e-5)
    xhat = centred / std
    g = dout * gamma[:, None, None]
    mean = g.sum(axis=(0, 2, 3), keepdims=True) / n
    dx = (g - mean - xhat * (g * xhat).mean(axis=(2, 3), keepdims=True)) / std
    dgamma = (dout * xhat).sum(axis=(0, 2, 3))
    dbeta = 2 * dout.sum(axis=(0, 2, 3))
    return dx, dgamma, dbeta


def summed_away(dout: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
    scaled = 2 * dout
    dx = scaled @ W.T
    dW = (x.T @ scaled).sum(axis=0)
    db = scaled.sum(axis=0)
    return dx.sum(axis=1), dW, db / 2


CASES = [
    ("batch_norm", batch_norm_mean_forgotten),
    ("spatial_batch_norm", spatial_batch_norm_sum_forgotten),
    ("affine", affine_sum_and_factor),
    ("affine", in_place),
]


def mender_of(layer: str, backward: Callable[..., Any]) -> Mender:
    derived = derive(GALLERY[layer].program, given=True)
    caller = Caller(backward, derived, None, {})
    form = next(f for f in caller.forms() if not run(caller, f, several(derived, 1, 0), None).error)
    trial = run(caller, form, several(derived, 2, 0), None)
    assert not trial.error, trial.error
    return Mender(derived, caller, trial)


@pytest.mark.parametrize(("layer", "backward"), [*CASES, ("affine", summed_away)])
def test_what_is_dismissed_does_not_make_a_gradient_right(layer: str, backward: Callable[..., Any]) -> None:
    mender = mender_of(layer, backward)
    dismissed = 0
    assert mender.rerun is not None
    for tensor in mender.derived.wrt:
        target = f"={tensor.name}"
        if mender.right(target, {}):
            continue
        towards = mender.reach.towards(target, {})
        every = list(mender.candidates(target, {}, everywhere=True))
        mender.rerun.at = 1  # as after a change that is right at the first point only
        kept = [r for r in towards.left(every) if towards.may_mend(r)]
        assert len(kept) < len(every) / 2
        for repair in every:
            if not any(repair is k for k in kept):
                dismissed += 1
                assert not mender.right(target, {repair.place: repair}), repair
    assert dismissed > 50


@pytest.mark.parametrize(("layer", "backward"), CASES)
def test_what_a_change_makes_of_a_gradient_is_read_off_as_it_is(
    layer: str, backward: Callable[..., Any]
) -> None:
    mender = mender_of(layer, backward)
    tensor = next(t for t in mender.derived.wrt if not mender.right(f"={t.name}", {}))
    target = f"={tensor.name}"
    towards, shape = mender.reach.towards(target, {}), mender.true(target, 0).shape
    directions = np.random.default_rng(1).normal(size=(*shape, 2))
    told = 0
    for repair in mender.candidates(target, {}):
        along, value = towards.along(repair, directions), towards.value(repair)
        run = mender.value(target, 0, {repair.place: repair})
        if along is None or run is None or not np.isfinite(run).all():
            continue
        told += 1
        assert value is not None
        size = max(np.abs(run).max(initial=0.0), np.abs(towards.value(repair)).max(initial=0.0), 1.0)
        np.testing.assert_allclose(value, run, rtol=0, atol=1e-9 * size)
        np.testing.assert_allclose(along, run.ravel() @ directions.reshape(-1, 2), rtol=0, atol=1e-8 * size)
    assert told > 50


@pytest.mark.parametrize("seed", range(6))
def test_slopes_are_those_of_each_entry_by_itself(seed: int) -> None:
    """Elementwise, summed along some axes, turned, and all mixed: with distinct and with equal sizes."""
    rng = np.random.default_rng(seed)
    shape = (3, 2, 4) if seed % 2 else (3, 3, 3)
    weights, matrix = rng.normal(size=shape), rng.normal(size=(shape[2], shape[2]))
    functions: list[Callable[[Array], Array]] = [
        lambda v: weights * v + 1.0,
        lambda v: v - v.mean(axis=2, keepdims=True),
        lambda v: (weights * v).sum(axis=(0, 2)),
        lambda v: (v @ matrix).transpose(1, 2, 0),
        lambda v: weights * v.sum() + np.cumsum(v, axis=0),
        lambda v: v[::-1] * weights,
    ]
    here = rng.normal(size=shape)
    for function in functions:
        base = function(here)
        found = measured(function, here, base)
        assert found is not None
        for entry in range(here.size):
            change = np.zeros(here.size)
            change[entry] = 1.0
            change = change.reshape(shape)
            np.testing.assert_allclose(found.moves(change), function(here + change) - base, atol=1e-12)
        direction = rng.normal(size=base.shape)
        change = rng.normal(size=shape)
        moved = float((found.moves(change) * direction).sum())
        assert np.isclose((found.back(direction) * change).sum(), moved)


def test_what_is_no_linear_function_has_no_slopes() -> None:
    here = np.random.default_rng(0).normal(size=(3, 4))
    assert measured(np.square, here, np.square(here)) is None
    assert measured(lambda v: v if v.max() < 1e9 else None, here, here) is not None
    assert measured(lambda v: None, here, here) is None


def raises_in_one_line(dout: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
    dx = dout @ W.T
    dW = x.T @ dout
    db = np.stack([dout.sum(axis=0), dout])[0]
    return dx, dW, db


def test_the_line_that_raises_is_the_one_that_is_changed() -> None:
    report = cg.check(raises_in_one_line, GALLERY["affine"])
    assert [f.argument for f in report.faults] == ["b"]
    assert "dout.sum(axis=0)" in str(report)


def wrong_before_it_raises(dout: Array, x: Array, W: Array, b: Array) -> tuple[Array, Array, Array]:
    dx = -dout @ W.T
    dW = x.T @ dout
    db = np.stack([dout.sum(axis=0), dout])[0]
    return dx, dW, db


def test_a_wrong_gradient_is_not_why_it_raises() -> None:
    report = cg.check(wrong_before_it_raises, GALLERY["affine"])
    raising = [f for f in report.faults if "it raises" in f.evidence]
    assert [f.argument for f in raising] == ["b"]


def test_a_variable_that_is_one_adjoints_own_is_no_other_ones() -> None:
    """`da` is the gradient of a, though `a` is also a usual name of an input x."""
    layer = cg.formula("a[n,k] = sum(d, x[n,d] * W[d,k]); y[n,k] = tanh(a[n,k])")

    def backward(dy: Array, x: Array, W: Array) -> tuple[Array, Array]:
        y = np.tanh(x @ W)
        da = dy * (1 - y)
        dx = da @ W.T
        dW = x.T @ da
        return dx, dW

    report = cg.check(backward, layer)
    assert [(f.cause, f.yours) for f in report.faults][:1] == [("missing_factor", "da = dy * (1 - y)")]
