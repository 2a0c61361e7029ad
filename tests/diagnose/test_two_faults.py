"""Two faults in one gradient, and texts in which a likely change would only hide the fault."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY

Array = np.ndarray
NORMED = cg.formula("W[d,k] = V[d,k] * g[k] / sqrt(sum(e, V[e,k]**2))")


def judged(backward: Callable[..., Any], layer: Any, forward: Callable[..., Any]) -> dict[str, list[str]]:
    """The causes by argument."""
    found: dict[str, list[str]] = {}
    for fault in cg.check(backward, layer, forward=forward).faults:
        found.setdefault(str(fault.argument), []).append(fault.cause)
    return found


def normed(V: Array, g: Array) -> Any:
    n = np.sqrt((V**2).sum(axis=0))
    W = g / n * V
    return W, (V, g, n, W)


def divisor_without_its_square(dW: Array, cache: Any) -> Any:
    V, g, n, W = cache
    dV = g / n * dW - (W * dW).sum(axis=0) / n * V
    return dV, (V * dW).sum(axis=0) / n


def test_the_square_of_a_divisor() -> None:
    (fault,) = cg.check(divisor_without_its_square, NORMED, forward=normed).faults
    assert (fault.argument, fault.cause) == ("V", "missing_factor")
    assert fault.fix == "dV = g / n * dW - (W * dW).sum(axis=0) / n ** 2 * V"


def relu(x: Array) -> Any:
    return np.maximum(x, 0), x


def summed_and_masked_by_dout(dout: Array, x: Array) -> Any:
    dx = dout * (dout > 0)
    return dx.sum(axis=0)


def summed_and_unmasked(dout: Array, x: Array) -> Any:
    dx = 2 * dout * (x > 0)
    return dx.sum(axis=0)


@pytest.mark.parametrize(
    ("backward", "causes"),
    [
        (summed_and_masked_by_dout, {"wrong_operand", "extra_sum"}),
        (summed_and_unmasked, {"constant_factor", "extra_sum"}),
    ],
)
def test_a_gradient_of_the_wrong_shape_with_another_fault(backward: Any, causes: set[str]) -> None:
    faults = cg.check(backward, GALLERY["relu"], forward=relu).faults
    assert {f.cause for f in faults} == causes
    assert any("has the shape" in f.evidence for f in faults)


def gelu(x: Array) -> Any:
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), (x, t)


def summed_without_a_path(dout: Array, cache: Any) -> Any:
    x, t = cache
    dt = 0.5 * x * dout
    dx = np.sqrt(2 / np.pi) * dt * (1 - t**2) * (1 + 0.134145 * x**2)
    return dx.sum(axis=0)


def test_a_sum_over_a_gradient_that_lacks_a_term() -> None:
    (causes,) = judged(summed_without_a_path, GALLERY["gelu_tanh"], gelu).values()
    assert causes[0] == "extra_sum"
    assert set(causes[1:]) <= {"missing_term", "missing_path"}
    assert len(causes) == 2


def log_softmax(f: Array) -> Any:
    z = f - f.max(axis=1, keepdims=True)
    out = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return out, np.exp(out)


def factor_twice_and_doubled(dout: Array, p: Array) -> Any:
    df = dout - p * dout.sum(axis=1, keepdims=True) * dout.sum(axis=1, keepdims=True)
    return 2 * df


def test_a_factor_that_stands_twice_is_the_slip() -> None:
    """Replacing it by the probabilities, which sum to 1, would give the same numbers."""
    found = judged(factor_twice_and_doubled, GALLERY["log_softmax"], log_softmax)
    assert found == {"f": ["extra_factor", "constant_factor"]}


def silu(x: Array) -> Any:
    s = 1 / (1 + np.exp(-x))
    return x * s, (x, x * s)


def term_and_argument(dout: Array, cache: Any) -> Any:
    a = cache[1]
    s = 1 / (1 + np.exp(-a))
    return dout * (s + a * -s)


def test_a_change_that_leaves_all_of_the_text_unread_is_no_explanation() -> None:
    """To return dout, and to forget all factors, would give the same numbers."""
    (causes,) = judged(term_and_argument, GALLERY["silu"], silu).values()
    assert "preactivation" in causes
    assert set(causes) & {"missing_term", "missing_path", "missing_factor"}


def instance_norm(x: Array, gamma: Array, beta: Array) -> Any:
    c = x - x.mean(axis=(2, 3), keepdims=True)
    s = 1 / np.sqrt((c**2).mean(axis=(2, 3)) + 1e-5)
    xhat = c * s[:, :, None, None]
    return gamma[:, None, None] * xhat + beta[:, None, None], (gamma, s, xhat)


def shared_fault_and_own(dout: Array, cache: Any) -> Any:
    gamma, s, xhat = cache
    n = dout.shape[2] * dout.shape[3]
    t1 = (xhat * dout).sum(axis=(2, 3))
    t2 = dout
    inner = dout - (t2 / n)[:, :, None, None] - (t1 / n)[:, :, None, None] * xhat
    dx = (s * gamma * gamma)[:, :, None, None] * inner
    return dx, t1.sum(axis=0), t2.sum(axis=0)


def test_what_is_wrong_with_another_gradient_spoils_this_one_as_well() -> None:
    found = judged(shared_fault_and_own, GALLERY["instance_norm"], instance_norm)
    assert found == {"x": ["missing_sum", "extra_factor"], "β": ["missing_sum"]}


def softmax_loss(f: Array, y: Array) -> Any:
    e = np.exp(f - f.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean(), (p, y)


def entries_overwritten(dout: float, cache: Any) -> Any:
    p, y = cache
    N = p.shape[0]
    df = p.copy()
    df[np.arange(N), y] = -1
    return df * dout / N


def test_entries_that_are_set_where_something_is_to_be_added() -> None:
    (fault,) = cg.check(entries_overwritten, GALLERY["softmax_loss"], forward=softmax_loss).faults
    assert fault.cause == "missing_term"
    assert (fault.yours, fault.fix) == (
        "df[np.arange(N), y] = -1", "df[np.arange(N), y] = df[np.arange(N), y] - 1"
    )  # fmt: skip


def batch_norm(x: Array, gamma: Array, beta: Array, eps: float = 1e-5) -> Any:
    xc = x - x.mean(axis=0)
    sd = np.sqrt((xc**2).mean(axis=0) + eps)
    return gamma * xc / sd + beta, (x, gamma, xc, sd, xc / sd)


def far_off(dout: Array, cache: Any) -> Any:
    x, gamma, xc, sd, xhat = cache
    N = x.shape[0]
    dgamma = (dout * xhat).sum(axis=0)
    dbeta = dout.sum(axis=0)
    dxhat = dout * np.tanh(gamma) + 0.3 * x**3
    dvar = -0.5 * (dxhat * xc).sum(axis=0) / sd**2
    dmu = -(dxhat / sd).sum(axis=0)
    dx = dxhat / sd + 2 * xc * dvar / N + dmu / N
    return dx, dgamma, dbeta


def test_where_no_cause_explains_it_the_lines_are_named() -> None:
    first, second = cg.check(far_off, GALLERY["batch_norm"], forward=batch_norm).faults
    assert (first.argument, first.cause) == ("x", "unknown")
    assert "dxhat is not ∂L/∂x̂" in first.evidence
    assert first.expected.startswith("∂L/∂x̂")
    assert re.match(r"in line \d+, `xc` is not what it should be", second.evidence)
    assert not second.yours  # with that line alone dx would still be wrong


def cast_after_numpy(dout: Array, x: Array) -> Any:
    mask = np.ones_like(x > 0, dtype=bool).astype(x.dtype)
    return 2 * dout * mask


def test_a_method_of_what_numpy_computes_is_looked_into() -> None:
    faults = cg.check(cast_after_numpy, GALLERY["relu"], forward=relu).faults
    assert {f.cause for f in faults} == {"constant_factor", "missing_mask"}


def doubled(dout: Array, x: Array) -> Any:
    dx = 2 * dout * (x > 0)
    return (dx,)


def test_a_number_that_has_to_be_1_is_left_out_of_the_fix() -> None:
    (fault,) = cg.check(doubled, GALLERY["relu"], forward=relu).faults
    assert (fault.yours, fault.fix) == ("dx = 2 * dout * (x > 0)", "dx = dout * (x > 0)")
