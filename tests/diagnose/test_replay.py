"""Statements run again in part give what the whole gives; what may not be cut is not cut."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.diagnose.replay import RETURNED, Replay, Step, alike, straight
from chalkgrad.layers import GALLERY


def replayed(text: str, target: str, changed: int, **begun: Any) -> tuple[Any, Any, int]:
    """The value after a slice, after everything, and how many statements were run for it."""
    body = ast.parse(text).body
    replay = Replay([Step.of(s, s) for s in body], {}, {"np": np}, [begun])
    part = replay.slice(frozenset({changed}), target)
    assert part is not None
    names: dict[str, Any] = {"np": np, **begun}
    exec(text, names)
    return replay.value(part, target, 0), names[target], part.work


X = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("changed", range(4))
def test_a_slice_gives_what_the_whole_gives(changed: int) -> None:
    text = "a = x * 2\nb = a + 1\nc = b * b\nd = c - a"
    one, other, _ = replayed(text, "d", changed, x=X)
    assert alike(one, other)


def test_statements_that_the_change_does_not_reach_are_left_out() -> None:
    text = "a = x * 2\nb = x + 1\nc = np.exp(x)\nd = a + b"
    _, _, all_work = replayed(text, "d", 0, x=X)
    part = Replay([Step.of(s, s) for s in ast.parse(text).body], {}, {"np": np}, [{"x": X}])
    assert part.slice(frozenset({2}), "d") is None
    assert all_work == 4 + 2  # x * 2 and a + b


@pytest.mark.parametrize(
    "text",
    [
        "d = x.copy()\nd[0] = 5\nd *= 2\ne = d + 1",
        "d = np.zeros(3)\nfor i in range(2):\n    d = d + x[i]\ne = d * 2",
        "d = np.zeros(3)\nfor i in range(2):\n    d += x[i]\ne = d * 2",
        "d = np.zeros((2, 3))\nnp.add.at(d, [0, 0], x[0])\ne = d - 1",
    ],
)
def test_work_in_place_is_repeated_from_a_copy(text: str) -> None:
    count = len(ast.parse(text).body)
    for changed in range(count):
        for _ in range(2):  # the first time must leave nothing behind
            one, other, _ = replayed(text, "e", changed, x=X.copy())
            assert alike(one, other)


def test_what_is_returned_is_a_value_like_others() -> None:
    body = ast.parse("a = x * 2\nb = a + 1").body
    end = ast.parse(f"{RETURNED} = b").body[0]
    step = Step.of(end, end)
    replay = Replay([Step.of(s, s) for s in body], {"": step, "=x": step}, {}, [{"x": X}])
    part = replay.slice(frozenset({0}), "=x")
    assert part is not None
    assert alike(replay.value(part, "=x", 0), X * 2 + 1)


def test_only_statements_that_follow_each_other_are_cut() -> None:
    assert straight(ast.parse("def f(x):\n    a = x\n    return a").body[0].body)  # type: ignore[attr-defined]
    early = "def f(x):\n    if x:\n        return 1\n    return 2"
    assert not straight(ast.parse(early).body[0].body)  # type: ignore[attr-defined]


# --- what that finds ---------------------------------------------------------------------------------


def causes(backward: Callable[..., Any], layer: str, forward: Callable[..., Any]) -> set[str]:
    return {f.cause for f in cg.check(backward, GALLERY[layer], forward=forward).faults}


def least_squares(A: Any, x: Any, b: Any) -> Any:
    r = A @ x - b
    return 0.5 * (r**2).sum(), (A, x, r)


def test_a_factor_with_a_new_axis() -> None:
    """Without it the gradient has another shape, and says nothing of a sum."""
    layer = cg.formula("L = 1/2 * sum(n, (sum(d, A[n,d] * x[d]) - b[n])**2)")

    def backward(dL: Any, cache: Any) -> Any:
        A, x, r = cache
        dr = dL * r
        return dL * x, A.T @ dr, -dr

    found = cg.check(backward, layer, forward=least_squares)
    assert {(f.argument, f.cause) for f in found.faults} == {("A", "missing_factor")}


def affine(x: Any, W: Any, b: Any) -> Any:
    return x @ W + b, (x, W, b)


def test_the_last_round_of_a_loop_alone() -> None:
    def backward(dout: Any, cache: Any) -> Any:
        x, W, b = cache
        dx, dW, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(b)
        for i in range(len(x)):
            dx[i] = W @ dout[i]
            dW += np.outer(x[i], dout[i])
            db = dout[i]
        return dx, dW, db

    assert causes(backward, "affine", affine) == {"missing_sum"}


def pool(x: Any) -> Any:
    out = x.max(axis=(2, 3))
    return out, (x, out)


def test_a_mean_over_axes_is_no_constant() -> None:
    def backward(dout: Any, cache: Any) -> Any:
        x, out = cache
        top = x == out[:, :, None, None]
        return (dout / top.mean(axis=(2, 3)))[:, :, None, None] * top

    assert causes(backward, "global_max_pool", pool) == {"mean_for_sum"}


def hinge(f: Any, y: Any) -> Any:
    rows = np.arange(len(y))
    m = np.maximum(0, f - f[rows, y][:, None] + 1.0)
    m[rows, y] = 0
    return m.sum() / len(y), (m, y)


def test_a_text_that_raises_is_mended() -> None:
    """Nothing can be subtracted from a mask; times the gradient from above it is numbers."""

    def backward(dL: Any, cache: Any) -> Any:
        m, y = cache
        share = dL / len(y)  # noqa: F841 (that it is forgotten is the fault)
        df = m > 0
        df[np.arange(len(y)), y] -= df.sum(axis=1)
        return df

    found = cg.check(backward, GALLERY["svm_loss"], forward=hinge)
    assert [(f.argument, f.cause) for f in found.faults] == [("f", "missing_factor")]
    assert "`m > 0` should be `share * (m > 0)`" in " ".join(str(found).split())


def test_two_faults_of_which_one_stands_in_no_line_of_the_derivation() -> None:
    def forward(x: Any) -> Any:
        e = np.exp(-x)
        return x / (1 + e), (x, e)

    def backward(dout: Any, cache: Any) -> Any:
        _, e = cache
        s = 1 / (1 + e)
        return -(dout * s * (1 + s * (1 - s)))

    assert causes(backward, "silu", forward) >= {"sign"}


def test_a_wrong_operand_in_a_gradient_that_is_transposed_besides() -> None:
    def forward(x: Any) -> Any:
        e = np.exp(-x)
        return x / (1 + e), (x, e)

    def backward(dout: Any, cache: Any) -> Any:
        x, e = cache  # noqa: RUF059 (taking e for it is the fault)
        s = 1 / (1 + e)
        return (dout * s * (1 + e * (1 - s))).T

    assert causes(backward, "silu", forward) == {"transpose", "wrong_operand"}


def test_the_same_is_found_however_slow_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is counted: no clock decides what is tried."""
    import time

    def backward(dout: Any, cache: Any) -> Any:
        _, e = cache
        s = 1 / (1 + e)
        return dout * s * (1 + (1 - s))

    def forward(x: Any) -> Any:
        e = np.exp(-x)
        return x / (1 + e), (x, e)

    quick = causes(backward, "silu", forward)
    clock = iter(range(10**9))
    monkeypatch.setattr(time, "thread_time", lambda: 1e6 * next(clock))
    assert causes(backward, "silu", forward) == quick == {"missing_factor"}


def test_what_is_given_is_not_followed() -> None:
    """A variable that is right needs none of its statements changed, unless it is changed in place later."""
    body = ast.parse("a = x * 2\nb = a + 1\nc = b * a\nd = c.copy()\nd[0] = b[0]").body
    replay = Replay([Step.of(s, s) for s in body], {}, {"np": np}, [{"x": X}])
    assert replay.needed("c") == {0, 1, 2}
    assert replay.needed("c", frozenset({"a"})) == {1, 2}
    assert replay.needed("c", frozenset({"a", "b"})) == {2}
    assert replay.needed("d", frozenset({"d"})) == {0, 1, 2, 3, 4}
