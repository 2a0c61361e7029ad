"""The grammar: what parses to what, precedence, caps, and a caret for every refusal."""

from __future__ import annotations

import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalkgrad.errors import FormulaError
from chalkgrad.expr.grammar import parse, parse_expression, scalar
from chalkgrad.expr.nodes import Access, Add, Apply, Const, Expr, Indicator, Mul, Pow, Tensor
from chalkgrad.expr.parser import MAX_DEPTH, MAX_NODES
from chalkgrad.expr.syntax import Binder, Condition, Declaration, Derivative, Entry, Equation, Name
from chalkgrad.expr.tokens import MAX_LENGTH
from chalkgrad.primitives import PRIMITIVES

A, B, C = (Access(Tensor(name, ()), ()) for name in "abc")
NAMES: dict[str, Expr] = {"a": A, "b": B, "c": C, "x": A, "y": B}


def minus(e: Expr) -> Expr:
    return Mul((const(-1), e))


def const(value: int | Fraction) -> Const:
    return Const(Fraction(value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1/2", const(Fraction(1, 2))),
        ("0.25", const(Fraction(1, 4))),
        ("2.5e-1", const(Fraction(1, 4))),
        ("-a^2", Mul((const(-1), Pow(A, const(2))))),
        ("(-a)^2", Pow(Mul((const(-1), A)), const(2))),
        ("2^-a", Pow(const(2), Mul((const(-1), A)))),
        ("a^b^c", Pow(A, Pow(B, C))),
        ("a**b", Pow(A, B)),
        ("a - b - c", Add((A, minus(B), minus(C)))),
        ("a - (b - c)", Add((A, minus(Add((B, minus(C))))))),
        ("a * b * c", Mul((A, B, C))),
        ("a / b / c", Mul((A, Pow(B, const(-1)), Pow(C, const(-1))))),
        ("a / (b * c)", Mul((A, Pow(B, const(-1)), Pow(C, const(-1))))),
        ("1 / a", Pow(A, const(-1))),
        ("a / b^2", Mul((A, Pow(B, const(-2))))),
        ("(a + b) / c", Mul((Add((A, B)), Pow(C, const(-1))))),
        ("a / 2", Mul((const(Fraction(1, 2)), A))),
        ("-a * b", Mul((const(-1), A, B))),
        ("a * -b", Mul((A, Mul((const(-1), B))))),
        ("--a", A),
        ("a − b·c", Add((A, Mul((const(-1), B, C))))),
        ("1(a ≤ b)", Indicator("<=", A, B)),
        ("where(a != b, a, c)", Apply("where", (Indicator("!=", A, B), A, C))),
        ("2 * pi", Mul((const(2), Apply("pi", ())))),
    ],
)
def test_scalar_text_becomes_this_tree(text: str, expected: Expr) -> None:
    assert scalar(text, NAMES) is expected


@pytest.mark.parametrize("record", PRIMITIVES.values(), ids=lambda p: p.name)
def test_every_derivative_in_the_table_reads_and_mentions_only_its_arguments(record) -> None:
    names = {name: Access(Tensor(name, ()), ()) for name in (*record.arguments, "y")}
    for text in (*record.derivatives, *filter(None, record.in_value)):
        again = scalar(text, names)
        assert scalar(str(again), names) is scalar(str(scalar(str(again), names)), names)


def test_statements_places_and_continuations() -> None:
    text = "x: N D\nf[i,k] = sum(d, x[i,d] * W[d,k])  # the scores\n   + b[k]\n\n-f[i,k]; a = 1"
    statements = parse(text)
    assert [type(s) for s in statements] == [Declaration, Equation, Equation, Equation]
    first = statements[1]
    assert isinstance(first, Equation)
    assert text[first.start : first.end].startswith("f[i,k]")
    assert text[first.start : first.end].endswith("b[k]")
    assert isinstance(first.left, Entry)
    assert first.left.name == "f"


@pytest.mark.parametrize("text", ["sum(i k, x[i,k])", "sum(i, k, x[i,k])", "Σ(i k, x[i,k])"])
def test_a_binder_takes_several_indices(text: str) -> None:
    tree = parse_expression(text)
    assert isinstance(tree, Binder)
    assert (tree.op, [i.name for i in tree.indices]) == ("sum", ["i", "k"])


def test_derivatives_and_adjoints() -> None:
    claim = parse("d f[i,k] / d W[d,j] = x[i,d] * dL/df[i,j]")[0]
    assert isinstance(claim, Equation)
    assert isinstance(claim.left, Derivative)
    assert isinstance(claim.left.wrt, Entry)
    assert claim.left.wrt.name == "W"
    adjoint = parse_expression("∂L/∂W")
    assert isinstance(adjoint, Name)
    assert (adjoint.name, adjoint.adjoint) == ("W", True)
    # An index called d stays an index.
    assert isinstance(parse_expression("1(d == e)"), Condition)


BAD = [
    "", "   # nothing", "a +", "* a", "a b", "2 a", "(a", "a)", "exp(a", "x[", "x[]", "x[i", "a < b",
    "1(a)", "1(a = b)", "exp(a < b)", "a = b = c", "sum(a)", "sum(i, )", "sum(a + b, a)", "max(a, )",
    "a @ b", "a $ b", "a ! b", "{a}", "1/0", "a/(2 - 1)0", "d f", "d f[i] / g", "d f / d", "1e99999",
    "1" * 80, "a[i;j]", "x: N + D", '"a"', "a.b", "where(a <)", "a = ", "= a", "1()", "a ^", "lambda: 3",
    "__import__('os')",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_every_refusal_has_a_caret(text: str) -> None:
    with pytest.raises(FormulaError) as caught:
        _read(text)
    assert "^" in str(caught.value).splitlines()[2]
    assert caught.value.message.endswith(".")


def _read(text: str) -> None:
    """As statements, and then as scalar text, which refuses what has no value."""
    parse(text)
    scalar(text, NAMES)


LONG = {
    "minuses": "-" * 100_000 + "a",
    "many minuses": "-" * (MAX_LENGTH - 2) + "a",
    "parentheses": "(" * 10_000 + "a" + ")" * 9_000,
    "brackets": "x[" * 9_000,
    "indicators": "1(" * 9_000,
    "powers": "a" + "^a" * 9_000,
    "signed powers": "a" + "^-a" * 6_000,
    "binders": "sum(i," * 3_000,
    "calls": "exp(" * 4_000,
    "derivatives": "d " * 9_000,
    "product": "a" + "*a" * 9_000,
    "terms": "a" + "+a" * 9_000,
    "names": "sum(" + "a " * 9_000,
    "newlines": "\n" * 19_000 + ")",
    "equations": "a=" * 9_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_the_caps_refuse_in_work_linear_in_the_text(text: str) -> None:
    """Calls are counted, not seconds: these do not depend on what else the machine does."""
    calls = 0

    def count(frame: object, event: str, what: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        with pytest.raises(FormulaError, match=r"\^"):
            parse(text)
    finally:
        sys.setprofile(before)
    assert calls < 20 * MAX_LENGTH


def test_what_is_just_inside_the_caps_reads() -> None:
    assert scalar("(" * (MAX_DEPTH - 1) + "a" + ")" * (MAX_DEPTH - 1), NAMES) is A
    wide = scalar("a" + "+b" * (MAX_NODES // 2 - 2), NAMES)
    assert isinstance(wide, Add)
    assert len(wide.terms) == MAX_NODES // 2 - 1


@given(st.text(alphabet="adijkx01(),[]+-*/^=<>! \n:.LWΣ∂²é", max_size=40))
def test_any_text_either_reads_or_is_refused_cleanly(text: str) -> None:
    refused = _refusal(text)
    assert refused is None or 0 <= (-1 if refused.position is None else refused.position) <= len(text)


def _refusal(text: str) -> FormulaError | None:
    try:
        parse(text)
    except FormulaError as refused:
        return refused
    return None
