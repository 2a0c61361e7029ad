"""Faults at places that no line of the derivation has are found in the user's own text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chalkgrad as cg

Array = np.ndarray
DISTANCE = cg.formula("L = sum(i, sqrt(sum(d, (a[i,d] - p[i,d])**2)))")


def distances(a: Array, p: Array) -> tuple[float, tuple[Array, Array]]:
    return float(np.sqrt(((a - p) ** 2).sum(axis=1)).sum()), (a, p)


def judged(backward: Callable[..., Any], layer: Any = DISTANCE) -> dict[str, set[str]]:
    """The causes by argument."""
    found: dict[str, set[str]] = {}
    for fault in cg.check(backward, layer, forward=distances).faults:
        found.setdefault(str(fault.argument), set()).add(fault.cause)
    return found


def right(dout: Any, cache: Any) -> Any:
    a, p = cache
    u = np.sqrt(((a - p) ** 2).sum(axis=1))
    da = (dout / u)[:, None] * a - (dout / u)[:, None] * p
    dp = (dout / u)[:, None] * p - (dout / u)[:, None] * a
    return da, dp


def factor_of_one_term_forgotten(dout: Any, cache: Any) -> Any:
    a, p = cache
    u = np.sqrt(((a - p) ** 2).sum(axis=1))
    da = (dout / u)[:, None] * a - p
    dp = (dout / u)[:, None] * p - (dout / u)[:, None] * a
    return da, dp


def sign_inside_a_root(dout: Any, cache: Any) -> Any:
    a, p = cache
    da = dout * (a - p) / np.sqrt(((a + p) ** 2).sum(axis=1))[:, None]
    dp = dout * (p - a) / np.sqrt(((a - p) ** 2).sum(axis=1))[:, None]
    return da, dp


def test_another_arrangement_is_right() -> None:
    assert cg.check(right, DISTANCE, forward=distances).ok


def test_a_factor_of_one_term() -> None:
    assert judged(factor_of_one_term_forgotten) == {"a": {"missing_factor"}}


def test_a_sign_inside_a_root() -> None:
    assert judged(sign_inside_a_root) == {"a": {"sign"}}


def test_the_report_shows_the_place() -> None:
    said = str(cg.check(factor_of_one_term_forgotten, DISTANCE, forward=distances))
    assert "`p` should be" in " ".join(said.split())


def test_the_variables_of_the_function_stay_its_own() -> None:
    before = factor_of_one_term_forgotten.__code__
    judged(factor_of_one_term_forgotten)
    assert factor_of_one_term_forgotten.__code__ is before
    assert "__watched__" not in globals()


AFFINE = cg.formula("f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]")


def affine(x: Array, W: Array, b: Array) -> Any:
    return x @ W + b, (x, W, b)


def test_a_minus_too_many_is_taken_away_rather_than_doubled() -> None:
    def backward(dout: Any, cache: Any) -> Any:
        x, W, _ = cache
        dx = -(dout @ W.T)
        return dx, x.T @ dout, dout.sum(axis=0)

    (fault,) = cg.check(backward, AFFINE, forward=affine).faults
    assert (fault.cause, fault.yours, fault.fix) == ("sign", "dx = -(dout @ W.T)", "dx = dout @ W.T")


def test_conditions_of_the_flow_are_no_formulas() -> None:
    def backward(dout: Any, cache: Any) -> Any:
        x, W, _ = cache
        if dout.shape[0] > 1:
            return dout @ W.T, 2 * x.T @ dout, dout.sum(axis=0)
        return dout @ W.T, x.T @ dout, dout.sum(axis=0)

    (fault,) = cg.check(backward, AFFINE, forward=affine).faults
    assert (fault.argument, fault.cause) == ("W", "constant_factor")


def test_a_term_too_many() -> None:
    def backward(dout: Any, cache: Any) -> Any:
        x, W, _ = cache
        return dout @ W.T, x.T @ dout + W, dout.sum(axis=0)

    (fault,) = cg.check(backward, AFFINE, forward=affine).faults
    assert (fault.argument, fault.cause) == ("W", "wrong_operand")
    assert "`x.T @ dout + W` should be `x.T @ dout`" in fault.evidence
