"""What a report says should stand in the user's text is right when it stands there, in their words."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.diagnose.advice import split
from chalkgrad.diagnose.applied import applied
from chalkgrad.diagnose.rewritten import LEFT_OUT
from chalkgrad.layers import GALLERY

Array = np.ndarray
EPS = 1e-6


def line_twice(dout: Array, cache: Any) -> Any:
    x, W, _b = cache
    scale = 2.0
    if dout.shape[0] > 0:
        dW = scale * x.T @ dout
    return dout @ W.T, dW, dout.sum(axis=0)


CHANGES = [
    (("dW = scale * x.T @ dout", "dW = x.T @ dout"), (1.0, 1.0)),
    (("dW = scale * x.T @ dout", "half = scale / 2\ndW = half * x.T @ dout"), (1.0, 1.0)),
    (("if dout.shape[0] > 0:", "if dout.shape[1] > 0:"), (1.0, 2.0)),
    (("dout @ W.T", "half = 0.5\nhalf * dout @ W.T"), (0.5, 2.0)),
    (("scale = 2.0", LEFT_OUT), None),
]


@pytest.mark.parametrize(("change", "times"), CHANGES)
def test_a_change_of_a_line_is_made_as_a_reader_would_make_it(change: Any, times: Any) -> None:
    x, W, dout = np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4))
    (made,) = applied(line_twice, [change])
    if times is None:
        with pytest.raises(NameError):
            made(dout, (x, W, None))
        return
    dx, dW, _ = made(dout, (x, W, None))
    assert np.allclose(dx, times[0] * dout @ W.T)
    assert np.allclose(dW, times[1] * x.T @ dout)


def test_what_no_line_of_the_text_is_changes_nothing() -> None:
    assert not list(applied(line_twice, [("dW = 3", "dW = 4")]))
    assert not list(applied(line_twice, [("scale = 2.0", "scale = = 1")]))


def test_lines_of_one_slip_are_changed_one_by_one() -> None:
    assert split([("a = 1\nb = 1", "a = 2\nb = 2")]) == [("a = 1", "a = 2"), ("b = 1", "b = 2")]
    assert split([("a = b", "b = 2\na = b")]) == [("a = b", "b = 2\na = b")]


def own_s(dout: Array, cache: Any) -> Any:
    x, W, V = cache
    a = x @ W
    b = x @ V
    s = 1 / (1 + np.exp(-a))
    da = dout * b * s * (1 - s)
    db = dout * a * s
    return da @ W.T + db @ V.T, x.T @ da, x.T @ db


def test_a_name_that_the_text_has_for_something_else_is_not_taken() -> None:
    faults = cg.check(own_s, GALLERY["swiglu"]).faults
    lines = [f.fix for f in faults if f.yours.startswith("da = ")]
    assert lines
    for line in lines:
        assert not re.search(r"^s = ", line, re.MULTILINE)
        compile(line, "<advice>", "exec")


def guarded(f: Array, y: Array) -> Any:
    e = np.exp(f - f.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y] + 1e-7).mean(), (p, y)


def guarded_backward(dout: float, cache: Any) -> Any:
    p, y = cache
    df = p.copy()
    df[np.arange(len(y)), y] -= 1
    return df * dout / len(y)


def guarded_logs(x: Array) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return np.log(p + 1e-7), p


def guarded_logs_backward(dout: Array, cache: Array) -> Array:
    return dout - cache * dout.sum(axis=1, keepdims=True)


def guarded_sum(dout: float, cache: Any) -> Any:
    return guarded_backward(dout, cache) * len(cache[1])


def test_a_constant_that_guards_a_logarithm_is_noted_and_hides_no_fault() -> None:
    assert cg.check(guarded_backward, GALLERY["softmax_loss"], forward=guarded).ok
    report = cg.check(guarded_logs_backward, GALLERY["log_softmax"], forward=guarded_logs)
    assert report.ok, str(report)
    assert "judged without your 1e-07" in report.notes[0]
    (fault,) = cg.check(guarded_sum, GALLERY["softmax_loss"], forward=guarded).faults
    assert (fault.argument, fault.cause) == ("f", "constant_factor")
    assert fault.fix == "return guarded_backward(dout, cache)"
    assert 1e-7 in guarded.__code__.co_consts  # the function is left as it was


def rms(x: Array, gamma: Array) -> Any:
    r = 1 / np.sqrt((x**2).mean(axis=1, keepdims=True) + EPS)
    return x * r * gamma, (x, gamma, r)


def rms_backward(dout: Array, cache: Any) -> Any:
    x, gamma, r = cache
    g = dout * gamma
    return r * (g - x * r * r * (g * x).mean(axis=1, keepdims=True)), (dout * x * r).sum(axis=0)


def test_an_epsilon_of_the_module_is_ones_own() -> None:
    report = cg.check(rms_backward, GALLERY["rms_norm"], forward=rms)
    assert report.ok
    assert report.notes == ("judged with your eps = 1e-06; the layer's is 1e-05",)
    assert EPS == 1e-6


def large_constant(dout: Array, cache: Any) -> Any:
    x, W, _b = cache
    return dout @ W.T, x.T @ dout + 1e-3 * W, dout.sum(axis=0)


def test_a_weight_decay_is_no_guard() -> None:
    assert {f.argument for f in cg.check(large_constant, GALLERY["affine"]).faults} == {"W"}


TORCH = """
import torch

class Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        a = torch.tanh(x)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, grad):
        (a,) = ctx.saved_tensors
        dx = grad * (1 - a)
        return dx

class Rms(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, g):
        r = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        ctx.save_for_backward(x, g, r)
        return x * r * g

    @staticmethod
    def backward(ctx, grad):
        x, g, r = ctx.saved_tensors
        h = grad * g
        return r * (h - x * r * r * (h * x).mean(-1, keepdim=True)), (grad * x * r).sum(0)
"""


@pytest.fixture
def in_torch(tmp_path: Path) -> Callable[[str], Any]:
    pytest.importorskip("torch")
    path = tmp_path / "functions.py"
    path.write_text(TORCH, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "functions_of_a_test"}
    sys.modules.pop("functions_of_a_test", None)
    exec(compile(TORCH, str(path), "exec"), names)
    return names.__getitem__


def test_code_of_pytorch_is_answered_in_pytorch(in_torch: Callable[[str], Any]) -> None:
    (fault,) = cg.check(in_torch("Tanh"), GALLERY["tanh"]).faults
    assert (fault.yours, fault.fix) == ("dx = grad * (1 - a)", "dx = grad * (1 - a ** 2)")


def test_an_epsilon_of_a_torch_function_is_ones_own(in_torch: Callable[[str], Any]) -> None:
    report = cg.check(in_torch("Rms"), GALLERY["rms_norm"])
    assert report.ok, str(report)
    assert report.notes == ("judged with your eps = 1e-06; the layer's is 1e-05",)


def two_numbers(dout: Array, cache: Any) -> Any:
    x, W, _b = cache
    dx = 0.5 * dout @ W.T * 0.5
    return dx, x.T @ dout, dout.sum(axis=0)


def test_a_number_that_a_line_has_twice_is_quoted_with_what_is_around_it() -> None:
    (fault,) = cg.check(two_numbers, GALLERY["affine"]).faults
    quotes = re.findall(r"`([^`]+)` should be `([^`]+)`", fault.evidence)
    assert all(one != "0.5" for one, _ in quotes)
