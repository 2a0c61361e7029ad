"""The derivation checker: the transcription and its slip, each kind of wrong line, and no false alarm."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalkgrad.diagnose.chalk import check_chalk
from chalkgrad.diagnose.report import CAUSES
from chalkgrad.errors import FormulaError

EXAMPLES = Path(__file__).parents[2] / "examples"

FORWARD = """
f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]
h[i,k] = tanh(f[i,k])
p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))
l[i] = -log(p[i,y[i]])
L = mean(i, l[i])
"""


def check(claim: str, forward: str = FORWARD):
    return check_chalk(forward + claim)


def test_the_transcription_stops_at_the_slip_and_says_what_it_should_be() -> None:
    text = (EXAMPLES / "cs231n_affine.chalk").read_text("utf-8")
    report = check_chalk(text, "cs231n_affine.chalk")
    assert not report.ok
    false = report.false
    assert false is not None
    assert text.splitlines()[false.line - 1] == "d f[i,k] / d W[d,j] = x[j,d] * 1(j == k)"
    assert false.should_be == "d f[i,k] / d W[d,j] = x[i,d] * 1(j == k)"
    for part in ("the index j runs over the classes K", "from W[d,j]", "first axis of x", "observations N"):
        assert part in false.explanation
    before = [line.status for line in report.lines if line.line < false.line]
    after = [line.status for line in report.lines if line.line > false.line]
    assert before == ["definition"] * 4 + ["ok"]
    assert after == ["not checked"] * 7
    shown = str(report)
    assert max(map(len, shown.splitlines())) <= 80
    assert f"✗ {false.line}  d f[i,k] / d W[d,j] = x[j,d] * 1(j == k)" in shown
    assert f"Line {false.line} is false; 1 claim holds before it, 7 after it not checked." in shown


def test_the_corrected_transcription_passes_and_differs_in_one_claim() -> None:
    slip = (EXAMPLES / "cs231n_affine.chalk").read_text("utf-8").splitlines()
    right = (EXAMPLES / "cs231n_affine_corrected.chalk").read_text("utf-8").splitlines()
    report = check_chalk("\n".join(right))
    assert report.ok
    assert [line.status for line in report.lines].count("ok") == 9
    assert max(line.error or 0.0 for line in report.lines) < 1e-12
    assert "All 9 claims hold" in str(report)
    changed = [(a, b) for a, b in zip(slip, right, strict=True) if a != b and not a.startswith("#")]
    assert len(changed) == 1


RIGHT = [
    "dL/df[i,k] = (p[i,k] - 1(k == y[i])) / size(i)",
    "∂L/∂W[d,j] = Σ(i, x[i,d] * ∂L/∂f[i,j])",
    "dL/dx[i,d] = sum(k, dL/df[i,k] * W[d,k])",
    "d L / d b[j] = sum(i, dL/df[i,j])",
    "d p[i,k] / d f[i,j] = p[i,k] * (1(j == k) - p[i,j])",
    "d p[i,k] / d f[i,k] = p[i,k] * (1 - p[i,k])",
    "d h[i,k] / d f[i,j] = (1 - h[i,k]^2) * 1(j == k)",
    "d h[i,k] / d f[n,j] = (1 - h[i,k]^2) * 1(j == k) * 1(i == n)",
    "d exp(f[i,k]) / d f[i,j] = exp(f[i,j]) * 1(j == k)",
    "sum(k, p[i,k]) = 1",
    "sum(k, dL/df[i,k]) = 0",
    "dL/dL = 1",
    "df[i,k]/dW[d,j] = x[i,d] * 1(j == k)",
    "dl[i]/dW[d,j] = dl[i]/df[i,j] * x[i,d]",
    "dL/dW[d,j] = sum(i k, dL/df[i,k] * df[i,k]/dW[d,j])",
    "∂p[i,k]/∂f[i,j] = p[i,k] * (1(j == k) - p[i,j])",
    "d x[i,d] / d b[k] = 0",
    "dL/dp[i,k] = -1(k == y[i]) / (size(N) * p[i,k])",
    "d l[i] / d W[d,j] = sum(k, d l[i] / d f[i,k] * d f[i,k] / d W[d,j])",
    "p[i,k] = exp(f[i,k] - b[k]) * exp(b[k]) / sum(j, exp(f[i,j]))",
]


@pytest.mark.parametrize("claim", RIGHT)
def test_right_lines_are_not_accused(claim: str) -> None:
    report = check(claim)
    assert report.ok, str(report)
    assert [line.status for line in report.lines].count("ok") == 1


WRONG = {
    "dL/df[i,k] = p[i,k] - 1(k == y[i])": ("N times too large", "(p[i,k] - 1(k == y[i])) / size(N)"),
    "dL/df[i,k] = (1(k == y[i]) - p[i,k]) / size(i)": ("sign", "(p[i,k] - 1(k == y[i])) / size(i)"),
    "d l[i] / d f[i,k] = 1(k == y[i]) - p[i,k]": ("sign", "p[i,k] - 1(k == y[i])"),
    "d l[i] / d f[i,k] = p[i,k] + 1(k == y[i])": ("sign of 1(k == y[i])", "p[i,k] - 1(k == y[i])"),
    "d l[i] / d f[i,k] = 2 * (p[i,k] - 1(k == y[i]))": (
        "the factor 2 is too many",
        "p[i,k] - 1(k == y[i])",
    ),
    "dL/db[j] = dL/df[i,j]": ("the sum over the observations N is missing", "sum(i, dL/df[i,j])"),
    "dL/db[j] = sum(j, dL/df[i,j])": (
        "the sum runs over j where it should run over the observations N",
        "sum(i, dL/df[i,j])",
    ),
    "dL/db[j] = sum(i, dL/df[i,j]) / size(i)": ("division by size(i) is too many", "sum(i, dL/df[i,j])"),
    "dL/db[j] = mean(i, dL/df[i,j])": ("a mean stands where the sum belongs", "sum(i, dL/df[i,j])"),
    "dL/dW[d,j] = sum(i, x[d,i] * dL/df[i,j])": ("first axis of x", "sum(i, x[i,d] * dL/df[i,j])"),
    "dL/dW[d,j] = sum(i, x[j,d] * dL/df[j,i])": ("first axis of x", "sum(i, x[i,d] * dL/df[i,j])"),
    "dL/dx[i,d] = sum(k, dL/df[i,k] * W[k,d])": ("first axis of W", "sum(k, dL/df[i,k] * W[d,k])"),
    "d f[i,k] / d b[j] = 1": ("the indicator 1(j == k) is missing", "1(j == k)"),
    "d f[i,k] / d W[d,j] = x[i,d]": ("the indicator 1(j == k) is missing", "x[i,d] * 1(j == k)"),
    "d f[i,k] / d W[d,j] = x[i,d] * 1(j != k)": ("comparison != should be ==", "x[i,d] * 1(j == k)"),
    "d p[i,k] / d f[i,j] = p[i,k] * (1(j == k) + p[i,j])": (
        "sign of p[i,j]",
        "p[i,k] * (1(j == k) - p[i,j])",
    ),
    "d h[i,k] / d f[i,j] = (1 - f[i,k]^2) * 1(j == k)": (
        "f stands where h belongs",
        "(1 - h[i,k]^2) * 1(j == k)",
    ),
    "d h[i,k] / d f[i,j] = (1 - h[i,k]) * 1(j == k)": ("should be squared", "(1 - h[i,k]^2) * 1(j == k)"),
    "d h[i,k] / d f[i,j] = h[i,k] * (1 - h[i,k]^2) * 1(j == k)": (
        "h[i,k] is too many",
        "(1 - h[i,k]^2) * 1(j == k)",
    ),
}


@pytest.mark.parametrize("claim", WRONG)
def test_a_wrong_line_is_explained_and_its_correction_holds(claim: str) -> None:
    why, right = WRONG[claim]
    false = check(claim).false
    assert false is not None
    assert why in false.explanation
    assert false.should_be == f"{claim.partition(' = ')[0]} = {right}"
    assert check(false.should_be).ok


DERIVED_INSTEAD = {
    "d l[i] / d f[i,k] = p[i,k]": ("the term 1(k == y[i]) is missing", "p[i,k] - 1(k == y[i])"),
    "d l[i] / d f[i,k] = sin(p[i,k]) + b[k]": ("it claims", "p[i,k] - 1(k == y[i])"),
    "dL/df[i,k] = (p[i,k] - 1(k == y[i])) / size(k)": ("it claims", "(p[i,k] - 1(k == y[i])) / size(N)"),
    "dL/dW[d,j] = sum(k, x[i,d] * dL/df[i,k])": ("still depends on i", "sum(i, x[i,d] * dL/df[i,j])"),
    "dL/dL = 0": ("it claims 0", "1"),
    "d f[i,k] / d f[n,j] = 1(i == n)": ("the indicator 1(j == k) is missing", "1(i == n) * 1(j == k)"),
    "d f[i,k] / d f[n,j] = 3": ("it claims 3", "1(n == i) * 1(j == k)"),
    "dL/df[i,k] = 1 / (b[k] - b[k])": ("it claims inf", "(p[i,k] - 1(k == y[i])) / size(N)"),
    "dL/dW[a,c] = 0": ("it claims 0", "sum(i, x[i,a] * dL/df[i,c])"),
    "dL/db[d] = sum(i, x[i,d])": ("second axis of x", "sum(i, dL/df[i,d])"),
    "d f[i,k] / d W[d,j] = x[i,d] * 1(j == d)": ("the index d runs over", "x[i,d] * 1(j == k)"),
    "d exp(f[i,k]) / d f[i,j] = f[i,k]": ("it claims", "exp(f[i,j]) * 1(j == k)"),
}


@pytest.mark.parametrize("claim", DERIVED_INSTEAD)
def test_where_no_small_change_helps_the_engine_says_what_it_should_be(claim: str) -> None:
    why, right = DERIVED_INSTEAD[claim]
    false = check(claim).false
    assert false is not None
    assert why in false.explanation
    assert false.should_be == f"{claim.partition(' = ')[0]} = {right}"
    assert check(false.should_be).ok


def test_an_unexplained_line_states_its_worst_element() -> None:
    false = check("sum(i, p[i,k]) = 1").false
    assert false is not None
    assert false.should_be == ""
    assert "it claims" in false.explanation
    assert "the true value is" in false.explanation


def test_a_wrong_index_of_the_left_side_is_found_too() -> None:
    false = check("d f[i,k] / d W[i,j] = x[i,d] * 1(j == k)").false
    assert false is not None
    assert false.should_be == "d f[i,k] / d W[d,j] = x[i,d] * 1(j == k)"


def test_an_upstream_gradient_stands_in_for_a_loss() -> None:
    affine = "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]\n"
    assert check_chalk(affine + "dL/dW[d,j] = sum(i, x[i,d] * dL/df[i,j])").ok
    false = check_chalk(affine + "dL/db[j] = mean(i, dL/df[i,j])").false
    assert false is not None
    assert "sum(i, dL/df[i,j])" in false.should_be


def test_kinks_and_constants_without_a_complex_step() -> None:
    text = "h[i] = maximum(x[i], 0)\ng[i] = gelu(x[i])\nL = sum(i, h[i] * g[i])\n"
    assert check_chalk(text + "dL/dx[i] = 1(x[i] > 0) * g[i] + h[i] * d g[i] / d x[i]").ok
    assert not check_chalk(text + "dL/dx[i] = 1(x[i] > 0) * g[i]").ok


UNREADABLE = {
    "dL/dz[i] = 1": ("neither defined nor an input", "dL/dz[i]"),
    "d f[i] / d b[j] = 1": ("2 indices", "f[i]"),
    "dL/db[j] = sum(i, sum(i, f[i,j]))": ("Nothing says what the index i", "i"),
    "dL/dW[d] = 1": ("Its axes are D, K", "dL/dW[d]"),
    "dL/db[j] = sum(i, dL/df[i,j]": ("never closed", "("),
    "dL/db[j] = expp(b[j])": ("no function 'expp'", "expp"),
    "d L / d y[i] = 1": ("whole numbers", "d L / d y[i] = 1"),
    "d dL/df[i,k] / d b[j] = 1": ("derivative of a derivative", "d dL/df[i,k] / d b[j] = 1"),
    "dW[d,j] = sum(i, x[i,d] * g[i,j])": ("would be a new value here", "dW[d,j]"),
    "g[i] = dL/df[i,k]": ("cannot contain the derivative", "dL/df[i,k]"),
    "1(a == c) = 1": ("Nothing says", "a"),
}


@pytest.mark.parametrize("claim", UNREADABLE)
def test_what_cannot_be_read_says_the_line_and_the_place(claim: str) -> None:
    message, pointed = UNREADABLE[claim]
    with pytest.raises((FormulaError, TypeError)) as caught:
        check(claim)
    error = caught.value
    assert message in str(error)
    assert error.source is not None
    assert error.source[error.position :].startswith(pointed)
    assert "line 7: " in str(error)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "x: N D", "dL/dx[i] = 1"])
def test_a_text_without_a_forward_pass_is_refused(text: str) -> None:
    with pytest.raises(FormulaError):
        check_chalk(text)


def test_definitions_alone_are_nothing_to_check() -> None:
    report = check_chalk(FORWARD)
    assert report.ok
    assert "no claims to check" in str(report)


@pytest.mark.parametrize(
    ("claim", "cause"),
    [
        ("dL/dW[d,j] = x[i,d] * dL/df[i,j]", "missing_sum"),
        ("dL/dW[d,j] = x[0,d] * dL/df[0,j]", "missing_sum"),
        ("dL/db[j] = dL/df[0,j]", "missing_sum"),
        ("dL/dW[d,j] = mean(i, x[i,d] * dL/df[i,j])", "mean_for_sum"),
        ("dL/df[i,k] = p[i,k] - 1(k == y[i])", "sum_for_mean"),
        ("dL/dx[i,d] = sum(k, dL/df[i,k] * W[k,d])", "transpose"),
        ("dL/db[j] = -sum(i, dL/df[i,j])", "sign"),
        ("dL/db[j] = 2 * sum(i, dL/df[i,j])", "constant_factor"),
        ("dL/df[i,k] = p[i,k] / size(i)", "missing_term"),
        ("dL/db[j] = sum(i, dL/df[i,j] * x[i,j])", "wrong_operand"),
        ("d f[i,k] / d W[d,j] = x[i,d]", "missing_mask"),
        ("d p[i,k] / d f[i,j] = p[i,k] * (1 - p[i,j])", "missing_mask"),
        ("d h[i,k] / d f[i,j] = (1 - f[i,k]^2) * 1(j == k)", "preactivation"),
        ("dL/dW[d,j] = sum(i, x[i,d] * dL/df[i,j] * b[j])", "extra_factor"),
        ("d h[i,k] / d f[i,j] = (1 - h[i,k]) * 1(j == k)", "missing_factor"),
        ("dL/df[i,k] = 3.7 * p[i,k]^3", "unknown"),
    ],
)
def test_a_false_line_has_one_of_the_causes_that_code_has(claim: str, cause: str) -> None:
    false = check(claim).false
    assert false is not None
    assert false.cause == cause, false
    assert cause in CAUSES


NORM = """
mu[d] = mean(i, x[i,d])
v[d] = mean(i, (x[i,d] - mu[d])^2)
xh[i,d] = (x[i,d] - mu[d]) / sqrt(v[d] + eps)
out[i,d] = g[d] * xh[i,d] + b[d]
L = sum(i d, out[i,d] * u[i,d])
"""


@pytest.mark.parametrize(
    ("claim", "cause", "right"),
    [
        (
            "dL/dx[i,d] = dL/dxh[i,d]/sqrt(v[d]+eps) + dL/dv[d] * 2 * (x[i,d] - mu[d]) + dL/dmu[d]/size(i)",
            "sum_for_mean",
            "dL/dv[d] * 2 * (x[i,d] - mu[d]) / size(N)",
        ),
        (
            "dL/dx[i,d] = dL/dxh[i,d]/sqrt(v[d]+eps) + dL/dv[d]*(x[i,d]-mu[d])/size(i) + dL/dmu[d]/size(i)",
            "constant_factor",
            "(x[i,d]-mu[d])/size(i) * 2",
        ),
        ("dL/dxh[i,d] = dL/dout[i,d]", "missing_factor", "dL/dout[i,d] * g[d]"),
    ],
)
def test_what_one_term_lacks_is_put_in(claim: str, cause: str, right: str) -> None:
    false = check_chalk(f"{NORM}\n{claim}").false
    assert false is not None
    assert false.cause == cause
    assert right in false.should_be


def test_lines_that_only_pass_an_error_on_are_marked() -> None:
    report = check(
        "dL/df[i,k] = (p[i,k] + 1(k == y[i])) / size(i)\n"
        "dL/dW[d,j] = sum(i, x[i,d] * (p[i,j] + 1(j == y[i]))) / size(i)\n"
        "dL/dW[d,j] = sum(i, x[i,d] * dL/df[i,j])\n"
        "dL/db[j] = sum(i, p[i,j] + 1(j == y[i])) / size(i)\n"
        "dL/db[j] = 2 * sum(i, p[i,j] + 1(j == y[i])) / size(i)"
    )
    claims = [line for line in report.lines if line.status != "definition"]
    assert [line.status for line in claims] == [
        "false",
        "inherited",
        "not checked",
        "inherited",
        "not checked",
    ]
    assert {line.follows for line in claims if line.status == "inherited"} == {claims[0].line}
    assert f"inherits the error of line {claims[0].line}" in str(report)
    assert max(map(len, str(report).splitlines())) <= 80


def test_the_same_slip_again_is_inherited() -> None:
    text = (EXAMPLES / "cs231n_affine.chalk").read_text("utf-8")
    report = check_chalk(text + "\ndL/dW[d,j] = sum(i, x[j,d] * dL/df[i,j])")
    assert report.false is not None
    assert report.false.cause == "wrong_operand"
    assert report.lines[-1].status == "inherited"
    assert report.lines[-1].follows == report.false.line


def test_a_claim_that_holds_on_the_diagonal_alone_is_told_so() -> None:
    softmax = "s[i] = sum(k, exp(z[i,k]))\np[i,k] = exp(z[i,k]) / s[i]\n"
    report = check_chalk(softmax + "d p[i,k] / d z[i,j] = p[i,k] * (1 - p[i,k])\n", "softmax.chalk")
    assert report.false is not None
    assert report.false.cause == "diagonal_only"
    assert report.false.should_be.endswith("p[i,j] * (1(j == k) - p[i,k])")
