"""The derivations that the project began with, row by row."""

from __future__ import annotations

import pytest

import chalkgrad as cg
from chalkgrad.derivation import Stage
from chalkgrad.errors import DerivationError
from chalkgrad.layers import GALLERY

AFFINE = "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]"


def lines(stages: tuple[Stage, ...]) -> list[str]:
    """Every line as `lhs = rhs`, in reading order."""
    return [f"{stage.lhs} = {step.after}" for stage in stages for step in stage.steps]


def in_order(wanted: list[str], found: list[str]) -> None:
    """Each wanted line stands in the derivation, after the one before it."""
    place = 0
    for line in wanted:
        assert line in found[place:], f"{line}\nis not, in order, among\n" + "\n".join(found)
        place += found[place:].index(line) + 1


def test_weight_rows_in_order() -> None:
    derivation = cg.formula(AFFINE).derive("W")
    in_order(
        [
            "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]",
            "dL/dW[d,j] = sum(i, sum(k, dL/df[i,k] * (d f[i,k] / d W[d,j])))",
            "d f[i,k] / d W[d,j] = x[i,d] * 1(j == k)",
            "sum(k, dL/df[i,k] * (d f[i,k] / d W[d,j])) = x[i,d] * dL/df[i,j]",
            "dL/dW[d,j] = sum(i, x[i,d] * dL/df[i,j])",
        ],
        lines(derivation.stages),
    )
    assert "∂L/∂W = xᵀ ∂L/∂f" in derivation.to_text()


def test_bias_rows_in_order() -> None:
    derivation = cg.formula(AFFINE).derive("b")
    in_order(
        [
            "d f[i,k] / d b[j] = 1(j == k)",
            "sum(k, dL/df[i,k] * (d f[i,k] / d b[j])) = dL/df[i,j]",
            "dL/db[j] = sum(i, dL/df[i,j])",
        ],
        lines(derivation.stages),
    )
    assert "∂L/∂b = (∂L/∂f)ᵀ 1" in derivation.to_text()


def test_every_line_has_a_rule_and_a_reason() -> None:
    for step in cg.formula(AFFINE).derive().steps:
        assert step.rule
        assert step.because


def test_loss_of_one_observation_by_its_scores() -> None:
    text = "p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\nl[i] = -log(p[i,y[i]])\nL = sum(i, l[i])"
    assert str(cg.formula(text).derive("f").result) == "dL/df[i,k] = p[i,k] - 1(k == y[i])"


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_softmax_loss_reaches_p_minus_indicator(reduction: str) -> None:
    head = "1/size(i) * " if reduction == "mean" else ""
    text = f"p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\nL = -{head}sum(i, log(p[i,y[i]]))"
    derivation = cg.formula(text).derive("f")
    expected = "(p[i,k] - 1(k == y[i])) / size(N)" if reduction == "mean" else "p[i,k] - 1(k == y[i])"
    assert str(derivation.result) == f"dL/df[i,k] = {expected}"
    rules = [step.rule for step in derivation.steps]
    assert "re-substitute" in rules
    assert "one-label" in rules
    lemma = next(stage for stage in derivation.stages if stage.kind == "lemma")
    assert (str(lemma.lhs), str(lemma.rhs)) == ("sum(k, 1(k == y[i]))", "1")


CLOSED = {
    "relu": ["dL/dx[i,d] = 1(a[i,d] > 0) * dL/da[i,d]"],
    "tanh": ["dL/dx[i,d] = dL/da[i,d] * (1 - a[i,d]^2)"],
    "sigmoid": ["dL/dx[i,d] = a[i,d] * dL/da[i,d] * (1 - a[i,d])"],
    "softmax": ["dL/df[i,k] = p[i,k] * (dL/dp[i,k] - sum(j, p[i,j] * dL/dp[i,j]))"],
    "softmax_loss": ["dL/df[i,k] = (p[i,k] - 1(k == y[i])) / size(N)"],
    "l2": ["dL/dW[d,k] = lam * W[d,k]"],
    "batch_norm": [
        "dL/dx[i,d] = s[d] * γ[d] * (size(N) * dL/dout[i,d] - sum(n, dL/dout[n,d])"
        " - x̂[i,d] * sum(n, x̂[n,d] * dL/dout[n,d])) / size(N)",
        "dL/dγ[e] = sum(i, x̂[i,e] * dL/dout[i,e])",
        "dL/dβ[e] = sum(i, dL/dout[i,e])",
    ],
}


@pytest.mark.parametrize("name", CLOSED)
def test_closed_form(name: str) -> None:
    assert [str(r) for r in GALLERY[name].derive(form="closed").results] == CLOSED[name]


def test_batch_norm_lemma_is_proved() -> None:
    stages = GALLERY["batch_norm"].derive("x").stages
    lemma = next(s for s in stages if s.kind == "lemma" and str(s.rhs) == "0")
    assert str(lemma.lhs) == "sum(n, x̂[n,d])"
    assert len(lemma.steps) > 2


def test_staged_and_closed_are_both_kept() -> None:
    record = GALLERY["softmax_loss"].derive("f").record
    assert len(record.staged.definitions) > len(record.closed.definitions)
    assert record.chosen is record.closed


def test_unused_input_has_a_stated_zero() -> None:
    derivation = cg.formula("x: N\nz: N\ny[i] = x[i]^2\nL = sum(i, y[i]) + 0 * sum(i, z[i])").derive("z")
    assert str(derivation.result) == "dL/dz[i] = 0"


@pytest.mark.parametrize(
    ("name", "message"),
    [("w", "Did you mean 'W'"), ("q", "has no input 'q'")],
)
def test_unknown_input(name: str, message: str) -> None:
    with pytest.raises(DerivationError, match=message):
        cg.formula(AFFINE).derive(name)


def test_integer_input_has_no_gradient() -> None:
    with pytest.raises(DerivationError, match="holds integers"):
        cg.formula("o[i,d] = W[t[i],d]").derive("t")


def test_unknown_form() -> None:
    with pytest.raises(DerivationError, match="Did you mean 'closed'"):
        cg.formula(AFFINE).derive("W", form="close")
