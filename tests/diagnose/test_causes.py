"""Natural mistakes in whole backwards: the cause, and the fix in the names that the student gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY

BATCH_NORM = """
import numpy as np

def batchnorm_backward(dout, x, gamma, beta, eps=1e-5):
    N = x.shape[0]
    xc = x - x.mean(axis=0)
    var = (xc ** 2).mean(axis=0)
    inv = 1 / np.sqrt(var + eps)
    xhat = xc * inv
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    dxhat = dout * gamma
    dvar = (dxhat * xc * -0.5 * (var + eps) ** -1.5).sum(axis=0)
    dmu = (-dxhat * inv).sum(axis=0)
    dx = dxhat * inv + dvar * 2 * xc / N + dmu / N
    return dx, dgamma, dbeta
"""

SOFTMAX = """
import numpy as np

def softmax_backward(dout, f):
    e = np.exp(f - f.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p * (dout - (dout * p).sum(axis=1, keepdims=True))
"""

LAYER_NORM = """
import numpy as np

def layernorm_backward(dout, x, gamma, beta, eps=1e-5):
    N, D = x.shape
    xc = x - x.mean(axis=1, keepdims=True)
    inv = 1 / np.sqrt((xc ** 2).mean(axis=1, keepdims=True) + eps)
    xhat = xc * inv
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    g = dout * gamma
    dx = inv / D * (D * g - g.sum(axis=1, keepdims=True) - xhat * (g * xhat).sum(axis=1, keepdims=True))
    return dx, dgamma, dbeta
"""


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str], Any]:
    """A backward written to a file, so that its source can be read, as that of homework can."""

    def make(text: str) -> Any:
        path = tmp_path / "homework.py"
        path.write_text(text, "utf-8")
        names: dict[str, Any] = {}
        exec(compile(text, str(path), "exec"), names)
        return next(v for k, v in names.items() if k.endswith("_backward"))

    return make


def faults(backward: Any, layer: str) -> set[tuple[str | None, str]]:
    return {(f.argument, f.cause) for f in cg.check(backward, GALLERY[layer]).faults}


@pytest.mark.parametrize(
    ("text", "layer"), [(BATCH_NORM, "batch_norm"), (SOFTMAX, "softmax"), (LAYER_NORM, "layer_norm")]
)
def test_the_right_ones_are_right(text: str, layer: str, made: Callable[[str], Any]) -> None:
    assert faults(made(text), layer) == set()


SLIPS = [
    (BATCH_NORM, "dvar * 2 * xc / N", "dvar * xc / N", {("x", "constant_factor")}),
    (BATCH_NORM, "+ dmu / N", "+ dmu", {("x", "sum_for_mean")}),
    (BATCH_NORM, "+ dmu / N", "", {("x", "missing_path")}),
    (BATCH_NORM, "+ dvar * 2 * xc / N", "", {("x", "missing_path")}),
    (BATCH_NORM, "* -0.5 *", "* 0.5 *", {("x", "sign")}),
    (BATCH_NORM, "dxhat = dout * gamma", "dxhat = dout", {("x", "missing_factor")}),
    (BATCH_NORM, "2 * xc / N", "2 * x / N", {("x", "wrong_operand")}),
    (BATCH_NORM, "-1.5).sum(axis=0)", "-1.5).mean(axis=0)", {("x", "mean_for_sum")}),
    (BATCH_NORM, "-1.5).sum(axis=0)", "-1.5)", {("x", "missing_sum")}),
    (BATCH_NORM, " + dvar * 2 * xc / N + dmu / N", "", {("x", "statistics_constant")}),
    (BATCH_NORM, "dbeta = dout.sum(axis=0)", "dbeta = dout.sum()", {("β", "extra_sum")}),
    (SOFTMAX, "(dout - (dout * p).sum(axis=1, keepdims=True))", "(1 - p) * dout", {("f", "diagonal_only")}),
    (SOFTMAX, "(dout * p).sum(axis=1, keepdims=True)", "(dout * p).sum(axis=0)", {("f", "extra_sum")}),
    (SOFTMAX, "(dout * p).sum(axis=1, keepdims=True)", "(dout * p).sum()", {("f", "extra_sum")}),
    (LAYER_NORM, "g.sum(axis=1, keepdims=True) -", "g.sum(axis=0) -", {("x", "extra_sum")}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "right", "wrong", "expected"), SLIPS)
def test_one_slip_has_one_cause(
    text: str, right: str, wrong: str, expected: set[tuple[str, str]], made: Callable[[str], Any]
) -> None:
    layer = {BATCH_NORM: "batch_norm", SOFTMAX: "softmax", LAYER_NORM: "layer_norm"}[text]
    assert right in text
    assert faults(made(text.replace(right, wrong, 1)), layer) == expected


def test_two_wrong_lines_of_one_gradient_are_two_faults(made: Callable[[str], Any]) -> None:
    text = BATCH_NORM.replace("* -0.5 *", "* 0.5 *").replace("+ dmu / N", "+ dmu")
    diagnosis = cg.check(made(text), GALLERY["batch_norm"])
    assert [(f.argument, f.cause) for f in diagnosis.faults] == [("x", "sign"), ("x", "sum_for_mean")]
    assert len({f.evidence for f in diagnosis.faults}) == 2


def test_the_fix_is_in_the_users_own_names(made: Callable[[str], Any]) -> None:
    (fault,) = cg.check(made(BATCH_NORM.replace("+ dmu / N", "")), GALLERY["batch_norm"]).faults
    assert fault.evidence.startswith("the path x → μ → out")
    assert fault.yours == "dx = dxhat * inv + dvar * 2 * xc / N"
    assert fault.fix == "dx = dxhat * inv + dvar * 2 * xc / N + dmu / N"
    (fault,) = cg.check(lambda up, inp, wts, off: (up @ wts.T, inp.T @ up, up), GALLERY["affine"]).faults
    assert (fault.yours, fault.fix) == ("", "db = up.sum(axis=0)")


def test_every_fault_says_what_to_do_and_every_report_fits(made: Callable[[str], Any]) -> None:
    for text, right, wrong, _ in SLIPS:
        layer = {BATCH_NORM: "batch_norm", SOFTMAX: "softmax", LAYER_NORM: "layer_norm"}[text]
        diagnosis = cg.check(made(text.replace(right, wrong, 1)), GALLERY[layer])
        assert all(f.fix and f.expected for f in diagnosis.faults)
        assert max(map(len, str(diagnosis).splitlines())) <= 80
        assert f"chalkgrad derive {layer} -o {layer}.html" in str(diagnosis)


def keyword_only(dout: Any, *, x: Any, W: Any, b: Any) -> Any:
    return dout @ W.T, x.T @ dout, dout.sum(0)


def anything(dout: Any, **given: Any) -> Any:
    return keyword_only(dout, **given)


def upstream_last(x: Any, W: Any, b: Any, dout: Any) -> Any:
    return keyword_only(dout, x=x, W=W, b=b)


@pytest.mark.parametrize("backward", [keyword_only, anything, upstream_last])
def test_arguments_by_name(backward: Callable[..., Any]) -> None:
    assert cg.check(backward, GALLERY["affine"]).ok
    halved = cg.check(lambda x, W, b, dout: (dout @ W.T, x.T @ dout / 2, dout.sum(0)), GALLERY["affine"])
    assert [(f.argument, f.cause) for f in halved.faults] == [("W", "constant_factor")]


def test_another_subgradient_at_a_kink_is_a_note() -> None:
    diagnosis = cg.check(lambda dout, x: dout * (x >= 0), GALLERY["relu"])
    assert diagnosis.ok
    assert any("subgradient" in note for note in diagnosis.notes)


def test_a_variance_as_a_difference_of_squares_loses_digits_in_single_precision() -> None:
    def backward(dout: Any, x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
        mu = x.mean(0)
        inv = 1 / ((x * x).mean(0) - mu * mu + eps) ** 0.5
        xhat = (x - mu) * inv
        dgamma, dbeta = (dout * xhat).sum(0), dout.sum(0)
        return inv * gamma * (dout - dbeta / len(x) - xhat * dgamma / len(x)), dgamma, dbeta

    found = cg.check(backward, GALLERY["batch_norm"])
    assert {f.cause for f in found.faults} == {"precision"}


def test_a_profiler_that_runs_is_left_alone() -> None:
    import cProfile

    profile = cProfile.Profile()
    profile.enable()
    try:
        diagnosis = cg.check(lambda dout, x: dout, GALLERY["relu"])
    finally:
        profile.disable()
    assert [f.cause for f in diagnosis.faults] == ["missing_mask"]


@pytest.mark.parametrize(
    ("line", "place"), [("db = dout[0]", "first"), ("db = dout[-1]", "last"), ("db = dout[1]", "")]
)
def test_one_observation_for_the_sum_over_all(made: Callable[[str], Any], line: str, place: str) -> None:
    backward = made(
        "def affine_backward(dout, x, W, b):\n"
        "    dW = x.T @ dout\n"
        f"    {line}\n"
        "    return dout @ W.T, dW, db\n"
    )
    report = cg.check(backward, GALLERY["affine"])
    (fault,) = report.faults
    assert fault.cause == "missing_sum"
    assert f"only the {place} term" in str(report) or not place
    assert "db = dout.sum(axis=0)" in str(report)
