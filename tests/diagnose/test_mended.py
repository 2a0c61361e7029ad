"""Faults at places that no line of the derivation has are found in the user's own text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import chalkgrad as cg
from chalkgrad.layers import GALLERY

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


def sums_over_the_batch(dout: Any, cache: Any) -> Any:
    x, gamma, _beta = cache
    D = x.shape[1]
    s = 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    xh = (x - x.mean(1, keepdims=True)) * s
    g = dout * gamma
    dx = s / D * (D * g - g.sum(0) - xh * (g * xh).sum(0))
    return dx, (dout * xh).sum(0), dout.sum(0)


def test_a_slip_made_twice_is_told_once_and_mended_at_both_places() -> None:
    (fault,) = cg.check(sums_over_the_batch, GALLERY["layer_norm"]).faults
    assert (fault.argument, fault.cause) == ("x", "extra_sum")
    assert "the sums over D are taken over N" in fault.evidence
    assert fault.fix.count("sum(axis=1, keepdims=True)") == 2


def sign_of_one_of_two(dout: Any, cache: Any) -> Any:
    x, z = cache
    diff = x[:, None] - z[None]
    g = (dout / np.sqrt((diff**2).sum(-1)))[..., None] * diff
    return g.sum(1), g.sum(0)


def test_what_would_spoil_a_right_gradient_is_no_fix() -> None:
    (fault,) = cg.check(sign_of_one_of_two, GALLERY["pairwise_distances"]).faults
    assert (fault.argument, fault.cause) == ("z", "sign")
    assert fault.fix == "return (g.sum(1), -g.sum(0))"


def scale_forgotten(dout: Any, cache: Any) -> Any:
    q, k, v = cache
    e = np.exp(q @ k.T / np.sqrt(q.shape[1]))
    p = e / e.sum(1, keepdims=True)
    dp = dout @ v.T
    da = p * (dp - (dp * p).sum(1, keepdims=True))
    return da @ k, da.T @ q, p.T @ dout


def test_one_slip_behind_two_gradients_is_one_cause() -> None:
    faults = cg.check(scale_forgotten, GALLERY["attention"]).faults
    assert {(f.argument, f.cause) for f in faults} == {("q", "missing_factor"), ("k", "missing_factor")}


def overwritten(dout: Any, cache: Any) -> Any:
    W, t = cache
    dW = np.zeros_like(W)
    dW[t] += dout
    return dW


def test_rows_that_are_stored_where_they_add() -> None:
    report = cg.check(overwritten, GALLERY["embedding"])
    (fault,) = report.faults
    assert fault.cause == "missing_sum"
    assert "np.add.at(dW, t, dout)" in fault.fix
    assert "t = [1, 1, 0]" in report.example.replace("\n", " ")


def windows(dout: Any, cache: Any) -> Any:
    x, w, _b = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for t in range(dout.shape[2]):
        here = x[:, :, t : t + w.shape[2]]
        dw += np.einsum("nf,ncl->fcl", dout[:, :, t], here)
        dx[:, :, t : t + w.shape[2]] = np.einsum("nf,fcl->ncl", dout[:, :, t], w)
    return dx, dw, dout.sum((0, 2))


def test_windows_that_overwrite_each_other() -> None:
    (fault,) = cg.check(windows, GALLERY["conv1d"]).faults
    assert (fault.argument, fault.cause) == ("x", "missing_sum")
    assert "`=` should be `+=`" in fault.evidence
    assert "] += " in fault.fix


def norm_forward(x: Any, gamma: Any, beta: Any) -> Any:
    c = x - x.mean(0)
    s = 1 / np.sqrt((c**2).mean(0) + 1e-8)
    return gamma * c * s + beta, (c * s, s, gamma)


def norm_backward(dout: Any, cache: Any) -> Any:
    xh, s, gamma = cache
    N = len(xh)
    dgamma, dbeta = (dout * xh).sum(0), dout.sum(0)
    return gamma * s / N * (N * dout - dbeta - xh * dgamma), dgamma, dbeta


def norm_alone(dout: Any, cache: Any) -> Any:
    x, gamma, _beta = cache
    c = x - x.mean(0)
    s = 1 / np.sqrt((c**2).mean(0) + 1e-8)
    return norm_backward(dout, (c * s, s, gamma))


def test_a_pair_that_agrees_on_its_own_epsilon_is_right() -> None:
    report = cg.check(norm_backward, GALLERY["batch_norm"], forward=norm_forward)
    assert report.ok
    assert report.notes == ("judged with your eps = 1e-08; the layer's is 1e-05",)


def test_an_epsilon_of_its_own_without_a_forward_is_a_fault_of_its_own() -> None:
    faults = cg.check(norm_alone, GALLERY["batch_norm"]).faults
    assert {(f.argument, f.cause) for f in faults} == {("x", "wrong_operand"), ("γ", "wrong_operand")}
    assert all("eps is 1e-08" in f.evidence and "ε" in f.expected for f in faults)
