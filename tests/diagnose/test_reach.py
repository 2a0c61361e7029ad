"""A change of the text, or of a line, that is dismissed unread is never one that makes a gradient right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
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


CASES = [
    ("batch_norm", batch_norm_mean_forgotten),
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


@pytest.mark.parametrize(("layer", "backward"), CASES)
def test_what_is_dismissed_does_not_make_a_gradient_right(layer: str, backward: Callable[..., Any]) -> None:
    mender = mender_of(layer, backward)
    dismissed = 0
    for tensor in mender.derived.wrt:
        target = f"={tensor.name}"
        if mender.right(target, {}):
            continue
        towards = mender.reach.towards(target, {})
        for repair in mender.candidates(target, {}, everywhere=True):
            if not towards.may_mend(repair):
                dismissed += 1
                assert not mender.right(target, {repair.place: repair}), repair
    assert dismissed > 50


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
