"""Parentheses, fractions and names: the same reading in every format."""

from __future__ import annotations

import re
from fractions import Fraction
from xml.etree import ElementTree as ET

import pytest
from hand_derived import D, K, N, W, b, d, f, i, j, k, x, y
from hypothesis import given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from chalkgrad.expr.matrix import (
    Diag,
    Elementwise,
    Hadamard,
    Identity,
    Inverse,
    Matrix,
    Named,
    Ones,
    Plus,
    Product,
    Scalar,
    Scaled,
    Transpose,
)
from chalkgrad.expr.names import parse_name
from chalkgrad.expr.nodes import (
    HALF,
    MINUS_ONE,
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Partial,
    Pow,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import walk
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.render.math_latex import escape, math_latex
from chalkgrad.render.math_ml import math_ml
from chalkgrad.render.math_text import display_width, math_piece, math_text, wrap

x_id, W_dj, b_k = Access(x, (i, d)), Access(W, (d, j)), Access(b, (k,))
f_ik, y_i = Access(f, (i, k)), Access(y, (i,))
g = Access(f.adjoint, (i, k))
delta = Indicator("==", j, k)


def fn(name: str, *args: Expr) -> Apply:
    return Apply(name, args)


PRECEDENCE = [
    (-(x_id + W_dj), "−(x_id + W_dj)", r"-(x_{id} + W_{dj})"),
    (x_id / (W_dj * b_k), "x_id / (W_dj b_k)", r"\frac{x_{id}}{W_{dj} b_{k}}"),
    ((x_id * W_dj) ** 2, "(x_id W_dj)²", r"(x_{id} W_{dj})^{2}"),
    ((-x_id) ** 2, "(−x_id)²", r"(-x_{id})^{2}"),
    (fn("exp", x_id) ** 2, "exp(x_id)²", r"\exp(x_{id})^{2}"),
    (x_id - (W_dj - b_k), "x_id − (W_dj − b_k)", r"x_{id} - (W_{dj} - b_{k})"),
    (1 / Sum((i,), x_id), "1/(Σ_i x_id)", r"\frac{1}{\sum_{i} x_{id}}"),
    (Sum((i,), x_id) * W_dj, "(Σ_i x_id) W_dj", r"\left( \sum_{i} x_{id} \right) W_{dj}"),
    (W_dj * Sum((i,), x_id), "W_dj Σ_i x_id", r"W_{dj} \sum_{i} x_{id}"),
    (Sum((i,), x_id) + b_k, "Σ_i x_id + b_k", r"\sum_{i} x_{id} + b_{k}"),
    (Sum((i,), x_id + b_k), "Σ_i (x_id + b_k)", r"\sum_{i} (x_{id} + b_{k})"),
    (Sum((i,), -x_id), "Σ_i (−x_id)", r"\sum_{i} (-x_{id})"),
    (-Sum((i,), x_id), "−Σ_i x_id", r"-\sum_{i} x_{id}"),
    (Reduce("max", (k,), f_ik) - b_k, "(max_k f_ik) − b_k", r"\left( \max_{k} f_{ik} \right) - b_{k}"),
    (f_ik - Reduce("max", (k,), f_ik), "f_ik − max_k f_ik", r"f_{ik} - \max_{k} f_{ik}"),
    (x_id * (W_dj * (b_k + 1)), "x_id W_dj (b_k + 1)", r"x_{id} W_{dj} (b_{k} + 1)"),
    (x_id * (-W_dj), "x_id (−W_dj)", r"x_{id} (-W_{dj})"),
    ((-x_id) * W_dj, "−x_id W_dj", "-x_{id} W_{dj}"),
    (Const(Fraction(2)) * 3, "2 · 3", r"2 \cdot 3"),
    (g**2, "(∂L/∂f_ik)²", r"\left( \frac{\partial L}{\partial f_{ik}} \right)^{2}"),
    (g * x_id / Size(N), "(x_id / N) ∂L/∂f_ik", r"\frac{x_{id}}{N} \frac{\partial L}{\partial f_{ik}}"),
    (x_id * delta * g, "x_id · 1(j = k) · ∂L/∂f_ik",
     r"x_{id} \thinspace \mathbf{1}(j = k) \thinspace \frac{\partial L}{\partial f_{ik}}"),
    (fn("log", f_ik) * x_id, "log(f_ik) x_id", r"\log(f_{ik}) x_{id}"),
    (x_id * fn("log", f_ik), "x_id log f_ik", r"x_{id} \log f_{ik}"),
    (1 / fn("log", f_ik), "1/log(f_ik)", r"\frac{1}{\log(f_{ik})}"),
    (x_id ** b_k, "x_id^(b_k)", "x_{id}^{b_{k}}"),
    (x_id ** (b_k + 1), "x_id^(b_k + 1)", "x_{id}^{b_{k} + 1}"),
    (Access(Tensor("mask", (N, D)), (i, d)) * x_id, "mask_id x_id", r"\mathit{mask}_{id} \thinspace x_{id}"),
    (x_id**-1, "1/x_id", r"\frac{1}{x_{id}}"),
    ((x_id + b_k) ** Fraction(-1, 2), "1/√(x_id + b_k)", r"\frac{1}{\sqrt{x_{id} + b_{k}}}"),
    (HALF * x_id**2, "x_id² / 2", r"\frac{x_{id}^{2}}{2}"),
    (Const(Fraction(-3, 4)) * x_id, "−3 x_id / 4", r"-\frac{3 x_{id}}{4}"),
    (Const(Fraction(44715, 10**6)) * x_id, "0.044715 x_id", "0.044715 x_{id}"),
    (Sum((i,), g * Partial(f_ik, W_dj)), "Σ_i ∂L/∂f_ik · ∂f_ik/∂W_dj",
     r"\sum_{i} \frac{\partial L}{\partial f_{ik}} \thinspace \frac{\partial f_{ik}}{\partial W_{dj}}"),
    (Partial(x_id + b_k, W_dj), "∂/∂W_dj (x_id + b_k)", r"\frac{\partial}{\partial W_{dj}}(x_{id} + b_{k})"),
    (fn("sigmoid", f_ik) * (1 - fn("sigmoid", f_ik)), "σ(f_ik) (1 − σ(f_ik))",
     r"\sigma(f_{ik}) (1 - \sigma(f_{ik}))"),
    (fn("maximum", x_id, b_k), "max(x_id, b_k)", r"\max(x_{id},\thinspace b_{k})"),
    (fn("abs", x_id + 1), "|x_id + 1|", r"\left|x_{id} + 1\right|"),
    (Access(Tensor("p", (N, K)), (i, y_i)), "p[i, y_i]", r"p_{i,\thinspace y_{i}}"),
    (Access(Tensor("x", (N,)), (2 * i + 3,)), "x[2 i + 3]", "x_{2 i + 3}"),
    (Const(float("-inf")), "−∞", r"-\infty"),
    (Opaque("inv", (d, j), W_dj, (i, k)), "(W⁻¹)_ik", "(W^{-1})_{i k}"),
    (Opaque("logdet", (d, j), W_dj + x_id, ()), "log(|det (W_dj + x_id)_dj|)",
     r"\log(\left|\operatorname{det}((W_{dj} + x_{id})_{d j})\right|)"),
    (Mul(()), "1", "1"),
    (Add(()), "0", "0"),
]  # fmt: skip


@pytest.mark.parametrize(("e", "text", "latex"), PRECEDENCE, ids=[t for _, t, _ in PRECEDENCE])
def test_an_expression_reads_the_same_in_text_and_latex(e: Expr, text: str, latex: str) -> None:
    assert math_text(e) == text
    assert math_latex(e) == latex


@pytest.mark.parametrize("e", [e for e, _, _ in PRECEDENCE], ids=[t for _, t, _ in PRECEDENCE])
def test_mathml_is_well_formed_and_keeps_every_letter(e: Expr) -> None:
    tree = ET.fromstring("<all>" + math_ml(e) + "</all>")
    letters = "".join(tree.itertext())
    for word in re.findall(r"[A-Za-z]+", math_text(e)):
        assert all(letters.count(c) >= 1 for c in word)
    arity = {"mfrac": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2}
    for node in tree.iter():
        assert len(node) == arity.get(node.tag, len(node))


X, G, ones = Named(x), Named(f.adjoint), Ones()
MATRICES = [
    (Product((Transpose(X), G)), "xᵀ ∂L/∂f", r"x^{\top} \frac{\partial L}{\partial f}"),
    (Product((Transpose(G), ones)), "(∂L/∂f)ᵀ 1",
     r"\left( \frac{\partial L}{\partial f} \right)^{\top} \mathbf{1}"),
    (Transpose(Product((X, Named(W)))), "(x W)ᵀ", r"(x W)^{\top}"),
    (Hadamard((X, Plus((G, X)))), "x ∘ (∂L/∂f + x)",
     r"x \circ  \left( \frac{\partial L}{\partial f} + x \right)"),
    (Hadamard((Product((X, X)), X)), "(x x) ∘ x", r"(x x) \circ  x"),
    (Product((Hadamard((X, X)), X)), "(x ∘ x) x", r"(x \circ  x) x"),
    (Scaled(1 / Size(N), Plus((X, Scaled(MINUS_ONE, X)))), "(1/N) (x − x)", r"\frac{1}{N} (x - x)"),
    (Scaled(MINUS_ONE, Plus((X, X))), "−(x + x)", "-(x + x)"),
    (Scaled(Const(Fraction(-2)), X), "−2 x", "-2 x"),
    (Plus((X, Scaled(Const(Fraction(-2)), X))), "x − 2 x", "x - 2 x"),
    (Diag(X), "diag(x)", r"\operatorname{diag}(x)"),
    (Identity(), "I", "I"),
    (Inverse(X), "x⁻¹", "x^{-1}"),
    (Transpose(Inverse(X)), "x⁻ᵀ", r"x^{-\top}"),
    (Elementwise("> 0", (X,)), "1(x > 0)", r"\mathbf{1}(x > 0)"),
    (Elementwise("tanh", (X,)), "tanh(x)", r"\tanh(x)"),
    (Scalar(Size(D)), "D", "D"),
]  # fmt: skip


@pytest.mark.parametrize(("m", "text", "latex"), MATRICES, ids=[t for _, t, _ in MATRICES])
def test_matrix_notation(m: Matrix, text: str, latex: str) -> None:
    assert math_text(m) == text
    assert ET.fromstring("<all>" + math_ml(m) + "</all>").find("math") is not None
    assert re.sub(" +", " ", math_latex(m)) == re.sub(" +", " ", latex)


def test_the_tables_above_show_every_node() -> None:
    shown = {type(node) for e, _, _ in PRECEDENCE for node in walk(e)}
    assert {t.__name__ for t in shown} == {t.__name__ for t in Expr.__subclasses__()}
    matrices = {type(m).__name__ for m, _, _ in MATRICES} | {"Named", "Ones"}
    assert matrices == {t.__name__ for t in Matrix.__subclasses__()}


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_every_primitive_is_written_with_its_arguments(name: str) -> None:
    e = Apply(name, (x_id, b_k, W_dj)[: PRIMITIVES[name].arity])
    for part in ("x_id", "b_k", "W_dj")[: PRIMITIVES[name].arity]:
        assert part in math_text(e)
        assert part[0] + "_{" + part[2:] + "}" in math_latex(e)
    assert balanced(math_latex(e))
    assert balanced(math_latex(e * e))


@pytest.mark.parametrize(
    ("name", "text", "latex"),
    [
        ("mu", "μ", r"\mu"), ("xhat", "x̂", r"\hat{x}"), ("x_hat", "x̂", r"\hat{x}"), ("W1", "W1", "W^{(1)}"),
        ("scores", "scores", r"\mathit{scores}"), ("W_out", "W_out", r"W^{\mathrm{out}}"),
        ("mu_hat", "μ̂", r"\hat{\mu}"), ("that", "that", r"\mathit{that}"), ("x′", "x′", "x'"),
        ("λ", "λ", r"\lambda"),
        ("lambda_", "λ", r"\lambda"), ("x_hat_1", "x̂_1", r"\hat{x}^{(1)}"), ("é", "é", r"\mathit{\text{é}}"),
    ],
)  # fmt: skip
def test_names(name: str, text: str, latex: str) -> None:
    scalar = Access(Tensor(name, ()), ())
    assert parse_name(name).text == text
    assert math_latex(scalar) == latex


def test_a_tagged_name_may_be_squared() -> None:
    assert math_latex(Access(Tensor("W1", (N, D)), (i, d)) ** 2) == "{W^{(1)}_{id}}^{2}"


def test_a_name_with_an_underscore_takes_brackets() -> None:
    assert math_text(Access(Tensor("W_out", (N, D)), (i, d))) == "W_out[i, d]"


def test_text_outside_mathematics_is_escaped() -> None:
    assert escape("50% of {a} & b_long #1 $") == r"50\% of \{a\} \& b\_long \#1 \$"
    assert escape("Σ_k p_ik′ ≤ 1") == r"$\textstyle\sum_{k}$ $p_{ik'}$ $\leq$ 1"
    assert escape("中") == "[U+4E2D]"
    assert escape("a\\b") == r"a\textbackslash{}b"


def test_combining_marks_take_no_column() -> None:
    assert display_width("x̂_ik") == 4
    assert display_width("中") == 2


def test_a_long_sum_is_broken_before_its_terms() -> None:
    terms = Add(tuple(Access(Tensor(f"scores{n}", (N, K)), (i, k)) * x_id for n in range(8)))
    rows = wrap(math_piece(terms), 40)
    assert len(rows) > 3
    assert all(display_width(row) <= 40 for row in rows)
    assert all(row.startswith("+ ") for row in rows[1:])
    assert " ".join(rows) == math_text(terms)


ATOMS = st.sampled_from(
    [x_id, W_dj, b_k, f_ik, g, Size(N), delta, Const(Fraction(2)), Const(Fraction(-1)), HALF]
)


def grown(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(Add), pairs.map(Mul),
        st.tuples(inner, inner, inner).map(Mul),
        inner.map(lambda e: -e),
        st.tuples(inner, st.sampled_from([-2, -1, 2, Fraction(1, 2)])).map(lambda t: t[0] ** t[1]),
        st.tuples(st.sampled_from(["exp", "log", "sqrt", "relu", "abs"]), inner).map(lambda t: fn(*t)),
        inner.map(lambda e: Sum((i,), e)),
        inner.map(lambda e: Reduce("max", (k,), e)),
        inner.map(lambda e: Partial(e, W_dj)),
    )  # fmt: skip


def balanced(latex: str) -> bool:
    depth = 0
    for c in re.sub(r"\\[{}]", "", latex):
        depth += (c == "{") - (c == "}")
        if depth < 0:
            return False
    return depth == 0 and latex.count(r"\left") == latex.count(r"\right")


@settings(max_examples=150, deadline=None)
@given(st.recursive(ATOMS, grown, max_leaves=12), st.integers(20, 60))
def test_any_expression_is_balanced_and_wraps_without_loss(e: Expr, width: int) -> None:
    text = math_text(e)
    assert text.count("(") == text.count(")")
    assert balanced(math_latex(e))
    for element in math_ml(e).split("</math>")[:-1]:
        ET.fromstring(element.strip() + "</math>")
    assert "".join(wrap(math_piece(e), width)).replace(" ", "") == text.replace(" ", "")


def _value(text: str) -> complex:
    """The value of written text, by Python's own reading of + − · / and parentheses."""
    python = text.replace("−", "-").replace(" · ", "*").replace("²", "**2")
    python = re.sub(r"x_id", "1.3", re.sub(r"b_k", "0.7", re.sub(r"W_dj", "2.1", python)))
    python = re.sub(r"(?<=[\d)]) (?=[\d(])", "*", python)
    return complex(eval(python))


def _evaluate(e: Expr) -> complex:
    match e:
        case Const(value):
            return complex(value)
        case Access(tensor, _):
            return {"x": 1.3, "b": 0.7, "W": 2.1}[tensor.name]
        case Add(terms):
            return sum(map(_evaluate, terms))
        case Mul(factors):
            product = 1.0 + 0j
            for factor in factors:
                product *= _evaluate(factor)
            return product
        case Pow(base, exponent):
            return _evaluate(base) ** _evaluate(exponent).real
    raise AssertionError(e)


NUMBERS = st.sampled_from([x_id, b_k, W_dj, Const(Fraction(2)), Const(Fraction(3, 2)), MINUS_ONE])


def _arithmetic(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    pairs = st.tuples(inner, inner)
    powers = st.tuples(inner, st.sampled_from([-1, 2])).filter(lambda t: abs(_evaluate(t[0])) > 1e-3)
    return st.one_of(
        pairs.map(Add), pairs.map(lambda t: t[0] - t[1]), pairs.map(Mul), powers.map(lambda t: t[0] ** t[1])
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(NUMBERS, _arithmetic, max_leaves=8))
def test_arithmetic_text_means_what_the_expression_means(e: Expr) -> None:
    value = _evaluate(e)
    assert abs(_value(math_text(e)) - value) <= 1e-9 * max(1.0, abs(value))


def test_indices_of_several_letters_take_brackets() -> None:
    row = Index("row", N)
    assert math_text(Access(x, (row, d))) == "x[row, d]"


ALIKE = [
    ("mu", "μ"),
    ("lambda", "λ"),
    ("lam", "lambda"),
    ("eps", "epsilon"),
    ("xhat", "x_hat"),
    ("W1", "W_1"),
]


@pytest.mark.parametrize("pair", ALIKE)
def test_different_names_look_different(pair: tuple[str, str]) -> None:
    """In every format: exchanging the two changes what is shown of a formula that reads both."""
    first, second = pair
    text = "y[i] = {0} * x[i]^2 + {1} * x[i]"
    one = cg.formula(text.format(first, second)).derive("x")
    other = cg.formula(text.format(second, first)).derive("x")
    assert first in one.to_text()
    for shown in (cg.Derivation.to_text, cg.Derivation.to_latex, cg.Derivation.to_html):
        assert shown(one).count("\n") == shown(other).count("\n")
        assert shown(one) != shown(other)


def test_a_lone_name_is_drawn() -> None:
    assert "2 μ x_i" in cg.formula("y[i] = mu * x[i]^2").derive("x").to_text()
    assert r"\mu" in cg.formula("y[i] = mu * x[i]^2").derive("x").to_latex()
