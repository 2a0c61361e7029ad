"""Formulas as text: ranges by unification, types, names, and a caret under every mistake."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chalkgrad.errors import ChalkgradError, FormulaError, UnsupportedError, VerificationError
from chalkgrad.expr.nodes import Expr, Program
from chalkgrad.expr.ops import alpha_equal
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.verify.environment import Environment, infer_sizes
from chalkgrad.verify.reference import evaluate


def shapes(program: Program) -> str:
    """The inputs with their axes and the types that are not float."""
    return " ".join(
        f"{t!r}".replace(", ", ",") + ("" if t.dtype == "float" else f":{t.dtype}") for t in program.inputs
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]", "x[N,D] W[D,K] b[K]"),
        ("p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))", "f[N,K]"),
        ("L = -1/size(i) * sum(i, log(p[i, y[i]]))", "p[N,K] y[N]:int"),
        ("g[i,k] = p[i,k] - 1(k == y[i])", "p[N,K] y[N]:int"),
        ("L = sum(i k, x[i,k]^2) * lam / 2", "x[N,K] lam[]"),
        # One index letter may run over two ranges in two lines: hidden units here are K, then summed as d.
        ("h[i,k] = tanh(sum(d, x[i,d] * W[d,k])); f[i,k] = sum(d, h[i,d] * V[d,k])", "x[N,D] W[D,K] V[K,K2]"),
        ("L = sum(i j, x[i] * A[i,j] * x[j])", "x[N] A[N,N]"),
        ("a[t] = sum(s, where(s <= t, q[t,s], 0))", "q[T,S]"),
        ("a[t] = sum(s, 1(s <= t) * q[t])", "q[T]"),
        ("o[i,d] = where(m[i,d], x[i,d], 0)", "m[N,D]:bool x[N,D]"),
        ("y[n,f,h,w] = sum(c p q, x[n,c,2*h+p,2*w+q] * F[f,c,p,q])", "x[N,C,H2,W2] F[F2,C,P,Q]"),
        ("x: M E\ny: M int\nf[i] = x[i,y[i]]", "x[M,E] y[M]:int"),
        ("Q[t,d] = q[t,d]; K[s,d] = k[s,d]; a[t,s] = sum(d, Q[t,d] * K[s,d])", "q[T,D] k[S,D]"),
    ],
)
def test_ranges_and_types_come_from_use(text: str, expected: str) -> None:
    assert shapes(read_formula(text)) == expected


def test_names_definitions_and_output() -> None:
    program = read_formula(
        "μ[d] = mean(i, x[i,d])\nx̂[i,d] = x[i,d] - μ[d]  # centred\nsum(i d, x̂[i,d]^2)", "var"
    )
    assert program.name == "var"
    assert [str(d) for d in program.definitions] == [
        "μ[d] = sum(i, x[i,d]) / size(N)",
        "x̂[i,d] = x[i,d] - μ[d]",
        "out = sum(i d, x̂[i,d]^2)",
    ]
    assert [t.name for t in program.outputs] == ["out"]
    assert {d.target.role for d in program.definitions} == {"value"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("maximum(x[i], 0)", "relu(x[i])"),
        ("maximum(0, x[i])", "relu(x[i])"),
        ("maximum(x[i], 2)", "2 + relu(x[i] - 2)"),
        ("minimum(x[i], 2)", "2 - relu(2 - x[i])"),
        ("minimum(0, x[i])", "-relu(-x[i])"),
        ("square(x[i])", "x[i]^2"),
        ("reciprocal(x[i])", "1/x[i]"),
        ("ln(x[i])", "log(x[i])"),
        ("mean(j, z[j])", "sum(j, z[j])/size(j)"),
        ("where(x[i] > 0, 1, 2)", "where(1(x[i] > 0), 1, 2)"),
    ],
)
def test_one_meaning_for_each_way_of_writing(written: str, meant: str) -> None:
    one, other = read_formula(f"f[i] = {written} + x[i]"), read_formula(f"f[i] = ({meant}) + x[i]")
    assert one.inputs == other.inputs
    assert str(one.definitions[0]).replace("(", "").replace(")", "") == (
        str(other.definitions[0]).replace("(", "").replace(")", "")
    )


MISTAKES = {
    "f[i] = exq(x[i])": ("There is no function 'exq'", "exq", "Did you mean 'exp'"),
    "f[i,k] = softmax(x[i,k])": ("There is no function 'softmax'", "softmax", "exp(f[i,k]) / sum(j"),
    "f[i] = exp(x[i], 2)": ("takes 1 argument", "exp", "2 are given"),
    "x: N D\nW: N K\nf[i,k] = sum(d, x[i,d] * W[d,k])": ("runs over D", "W[d,k]", "because of this use"),
    "f[i,k] = x[i]": ("No input has an axis over the index k", "k", "declare one"),
    "f[i] = x[i,d]": ("The index d in x[i,d] is not bound", "d", "sum(d, ...)"),
    "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[d]": ("The index d in b[d] is not bound", "d", "i, k"),
    "x[i,k]": ("The index i in x[i,k] is not bound", "i", "none"),
    "f[i] = sum(i, x[i])": ("bound already", "i", ""),
    "f[i,i] = x[i]": ("bound already", "i", ""),
    "L = sum(i i, x[i])": ("bound already", "i", ""),
    "f[i] = x[i] + x[i,i]": ("has one index and is used with 2", "x[i,i]", "first written as x[i]"),
    "f[i] = x[i] * x": ("has one index and is used with no index", "x", ""),
    "f[i] = x[i]\nf[i] = x[i]": ("defined twice", "f[i]", ""),
    "x[i] = z[i]\nz[i] = x[i]": ("used before the line that defines it", "z[i]", ""),
    "x = x + 1": ("used before the line", "x", ""),
    "f[i] = x[i]\nx[i] = z[i]": ("used before the line", "x[i]", ""),
    "f[i] = x(i)\n": ("There is no function 'x'", "x", ""),
    "f[i] = x[i] * x(2)": ("x is not a function", "x(2)", "square brackets"),
    "f[i] = x[i] $ 2": ("no meaning", "$", ""),
    "f[i] = (x[i]": ("never closed", "(", ""),
    "f[i] = x[i])": ("never opened", ")", ""),
    "f[i] = x[i]/0": ("divides by zero", "0", ""),
    "2 * x = y": ("left side of '='", "2 * x", ""),
    "f[i+1] = x[i]": ("one letter", "i+1", ""),
    "x[i] * 2\nL = 3": ("Only the last line", "x[i] * 2", ""),
    "L = dL/df[i]": ("cannot contain the derivative", "dL/df[i]", "layer.derive"),
    "L = d f[i] / d x[i]": ("cannot contain a derivative", "d f[i] / d x[i]", "layer.derive"),
    "L = size(q) * x": ("no index or range called q", "q", ""),
    "t[i] = y[i]\nf[i] = p[i,t[i]]": ("only an integer input", "t[i]", ""),
    "f[i] = x[i, j + 1]": ("is not bound", "j", ""),
    "f[i,j] = x[i, j/2]": ("cannot be a quotient", "j/2", ""),
    "f[i] = x[i, exp(i)]": ("An index is a letter", "exp(i)", ""),
    "L = sum(x, x[x])": ("x is an index here", "x[x]", ""),
    "x[i]: N": ("Expected", ":", ""),
    "x: N D\nf[i] = x[i]": ("has 2 indices and is used with one index", "x[i]", "Its axes are N, D."),
    "f = x * sum(i, x[i])": ("has no index and is used with one index", "x[i]", "first written as x."),
    "f[i] = x[i] * w[-1]": ("count from 0", "-1", "w[size(N)-1]"),
    "f[i] = x[i] * W[i,-2]": ("count from 0", "-2", "W[size(N)-1]"),
    "f[i] = inv(n m, A[n,m])[-1,i]": ("count from 0", "-1", ""),
    "f[i] = x[1.5*i]": ("whole number, and 1.5*i", "1.5*i", ""),
    "f[i] = x[2*i + 1/2]": ("An index cannot be a quotient", "1/2", ""),
    "f[i] = x[i] * w[0.5]": ("whole number", "0.5", ""),
    "f[i] = min(x[i], w[i])": ("min needs its index first", "x", "smaller of two is minimum(a, b)"),
    "f[i] = max(x[i], w[i])": ("max needs its index first", "x", "larger of two is maximum(a, b)"),
    "f[i] = inv(n m, A[n,m])[i]": ("the two indices of the entry", "inv(n m, A[n,m])[i]", ""),
    "f = det(n m, A[n,m])[0,0]": ("come no indices", "det(n m, A[n,m])[0,0]", ""),
    "L = -log(x[t]) + sum(i, x[i])": ("The index t in x[t] is not bound", "t", "t: int"),
    "x: N D": ("only declarations", "x", ""),
}  # fmt: skip


@pytest.mark.parametrize("text", MISTAKES)
def test_every_mistake_is_named_and_pointed_at(text: str) -> None:
    message, pointed, hint = MISTAKES[text]
    with pytest.raises((FormulaError, UnsupportedError)) as caught:
        read_formula(text)
    error, shown = caught.value, str(caught.value)
    assert message in shown
    assert hint in shown
    assert "^" in shown
    assert error.source == text
    assert error.position is not None
    assert text[error.position : error.position + max(len(pointed), 1)] == pointed


def test_a_contradiction_points_at_both_uses() -> None:
    with pytest.raises(FormulaError) as caught:
        read_formula("x: N D\nW: N K\nf[i,k] = sum(d, x[i,d] * W[d,k])")
    carets = [line for line in str(caught.value).splitlines() if set(line.strip()) == {"^"}]
    line = "    f[i,k] = sum(d, x[i,d] * W[d,k])"
    assert [mark.index("^") for mark in carets] == [line.index("W[d,k]"), line.index("x[i,d]")]


# --- what is printed reads back ----------------------------------------------------------------------

LEAVES = st.sampled_from(
    ["x[i,k]", "x[i,j]", "b[k]", "c[i]", "lam", "2", "1/2", "0.3", "size(i)", "1(j == k)", "1(k == y[i])"]
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda p: f"({p[0]}) + {p[1]}"),
        pairs.map(lambda p: f"{p[0]} - ({p[1]})"),
        pairs.map(lambda p: f"({p[0]}) * ({p[1]})"),
        pairs.map(lambda p: f"({p[0]}) / (1 + exp({p[1]}))"),
        inner.map(lambda e: f"-({e})"),
        inner.map(lambda e: f"({e})^2"),
        inner.map(lambda e: f"1 / ({e} + 7)"),
        inner.map(lambda e: f"tanh({e})"),
        inner.map(lambda e: f"maximum({e}, 0)"),
        inner.map(lambda e: f"sum(m, ({e}) * z[m])"),
        inner.map(lambda e: f"max(m, ({e}) - z[m])"),
        inner.map(lambda e: f"where({e} > 0, {e}, 1)"),
    )


FORMULAS = st.recursive(LEAVES, _grown, max_leaves=8)


@given(FORMULAS)
def test_what_is_printed_reads_back(body: str) -> None:
    # A binder may not reuse the letter of the one around it: such draws are rewritten.
    text = f"f[i,k,j] = ({_distinct_binders(body)}) * x[i,k] * x[i,j] + c[i] + y[i]"
    first = read_formula(text)
    second = read_formula(str(first.definitions[0]))
    third = read_formula(str(second.definitions[0]))
    assert alpha_equal(_body(second), _body(third))
    assert {repr(t) for t in first.inputs} == {repr(t) for t in second.inputs}
    values = _values(first)
    assume(np.isfinite(values).all())
    np.testing.assert_allclose(_values(second), values, rtol=1e-9, atol=1e-9)


def test_a_minus_that_leads_a_product_is_bracketed() -> None:
    first = read_formula("y[i] = (-x[i]) * x[i] * z[i]").definitions[0]
    assert str(first) == "y[i] = (-x[i]) * x[i] * z[i]"
    assert alpha_equal(read_formula(str(first)).definitions[0].body, first.body)


def _distinct_binders(body: str) -> str:
    """Each m(...) binder with a letter of its own: the body is grown inside out, so a counter does."""
    while "(m, " in body:
        start = body.rindex("(m, ")
        depth, end = 0, start
        while end == start or depth > 0:
            depth += (body[end] == "(") - (body[end] == ")")
            end += 1
        letter = f"m{body.count('(m, ')}"
        inside = body[start:end].replace("(m, ", f"({letter}, ").replace("z[m]", f"z[{letter}]")
        body = body[:start] + inside + body[end:]
    return body


def _values(program: Program) -> np.ndarray:
    rng = np.random.default_rng(0)
    sizes = {"N": 2, "K": 3}
    arrays = {}
    for tensor in sorted(program.inputs, key=lambda t: t.name):
        shape = tuple(sizes.get(axis.name, 4) for axis in tensor.axes)
        whole = tensor.dtype == "int"
        arrays[tensor] = rng.integers(0, 3, shape) if whole else rng.normal(size=shape)
    with np.errstate(all="ignore"):
        env = Environment(infer_sizes(arrays, {}), arrays)
        definition = program.definitions[0]
        try:
            return evaluate(definition.body, definition.indices, env)
        except VerificationError:  # infinity minus infinity
            return np.array(np.nan)


def _body(program: Program) -> Expr:
    return program.definitions[0].body


@given(st.text(alphabet="xyWijkd01(),[]+-*/^=<> \n:sum", max_size=40))
def test_any_text_is_a_program_or_one_of_our_errors(text: str) -> None:
    program, refused = _read(text)
    if refused is None:
        assert program is not None
        assert program.definitions
    else:
        assert refused.position is not None


def _read(text: str) -> tuple[Program | None, ChalkgradError | None]:
    try:
        return read_formula(text), None
    except ChalkgradError as refused:
        return None, refused
