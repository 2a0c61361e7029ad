"""A traced function computes what the function itself computes, or is refused with a reason."""

# The functions under test are written as users write them.
# ruff: noqa: F841, PLC2401, PLW0108, RET504

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalkgrad.errors import ChalkgradError, ShapeError, UnsupportedError
from chalkgrad.expr.nodes import Program
from chalkgrad.frontend.functions import erf, gelu, relu, sigmoid, silu, softplus
from chalkgrad.frontend.numpy_trace import trace
from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.verify.reference import run

# Small, distinct and greater than one, so that a transpose or a wrong axis changes the shape.
SIZES = {"N": 5, "D": 3, "K": 4, "H": 2, "T": 6, "S": 7, "E": 2, "V": 8}


def arguments(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """An array for each input; integers are labels below every size."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in program.inputs:
        shape = tuple(r.size or SIZES[r.name] for r in tensor.axes)
        if tensor.dtype == "int":
            found[tensor.name] = rng.integers(0, 2, shape)
        elif tensor.dtype == "bool":
            found[tensor.name] = rng.random(shape) < 0.5
        else:
            found[tensor.name] = rng.uniform(0.4, 1.9, shape) * rng.choice([-1.0, 1.0], shape)
    return found


def assert_same(function: Callable[..., Any], *, positive: bool = False, **statics: Any) -> Program:
    """The program and the function agree on random arrays, shapes included."""
    program = trace(function, statics=statics)
    given_arrays = arguments(program)
    if positive:
        given_arrays = {k: np.abs(v) if v.dtype == float else v for k, v in given_arrays.items()}
    computed = run(program, {t: given_arrays[t.name] for t in program.inputs})
    expected = function(**given_arrays, **statics)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(expected) == len(program.outputs)
    for output, value in zip(program.outputs, expected, strict=True):
        assert computed[output].shape == np.shape(value)
        np.testing.assert_allclose(computed[output], value, rtol=1e-12, atol=1e-12)
        assert {"f": "float", "i": "int", "b": "bool"}[np.asarray(value).dtype.kind] == output.dtype
    return program


def lines(program: Program) -> list[str]:
    return [str(d) for d in program.definitions]


# --- names and formulas ----------------------------------------------------------------------------


def test_affine_reads_as_at_the_blackboard() -> None:
    def affine(x: "N D", W: "D K", b: "K"):
        return x @ W + b

    assert lines(assert_same(affine)) == ["out[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]"]


def test_local_names_become_definitions_and_the_rest_is_written_out() -> None:
    def loss(f: "N K", y: "N int"):
        N = f.shape[0]
        e = np.exp(f)
        z = e.sum(axis=1)
        p = e / z[:, None]
        L = -np.log(p[np.arange(N), y]).mean()
        return L

    assert lines(assert_same(loss)) == [
        "e[i,k] = exp(f[i,k])",
        "z[i] = sum(k, e[i,k])",
        "p[i,k] = e[i,k] / z[i]",
        "L = -sum(i, log(p[i,y[i]])) / size(N)",
    ]


def test_a_shared_value_gets_a_name_that_says_what_it_is() -> None:
    def softmax(f: "N K"):
        return np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)

    assert lines(assert_same(softmax)) == [
        "e[i,k] = exp(f[i,k])",
        "out[i,k] = e[i,k] / sum(j, e[i,j])",
    ]


def test_greek_names_and_a_symbolic_parameter_are_kept() -> None:
    def norm(x: "N D", γ: "D", *, eps=1e-5):
        μ = x.mean(axis=0)
        v = x.var(axis=0)
        return γ * (x - μ) / np.sqrt(v + eps)

    program = assert_same(norm)
    assert [(t.name, t.role, value) for t, value in program.parameters] == [("eps", "parameter", 1e-5)]
    assert "v[d] = sum(i, t[i,d]^2) / size(N)" in lines(program)
    assert "t[i,d] = x[i,d] - μ[d]" in lines(program)  # the mean inside var is the user's own μ


def test_a_rebound_argument_keeps_the_arguments_name_for_the_input() -> None:
    def shifted(x: "N D"):
        x = x + 1
        x = x * x
        return x

    program = assert_same(shifted)
    assert program.outputs[0].name == "x2"


def test_values_that_reach_no_output_are_left_out() -> None:
    def f(x: "N D"):
        unused = np.exp(x)
        return 2 * x

    assert lines(trace(f)) == ["out[i,d] = 2 * x[i,d]"]


def test_index_letters_stay_clear_of_one_letter_arrays() -> None:
    def f(d: "N D", k: "D K"):
        return d @ k

    assert lines(assert_same(f)) == ["out[i,j] = sum(e, d[i,e] * k[e,j])"]


def test_several_outputs_in_order() -> None:
    def step(x: "N D", h: "N H", W: "D H"):
        state = np.tanh(x @ W + h)
        return state.sum(axis=1), state

    program = assert_same(step)
    assert [o.name for o in program.outputs] == ["out", "state"]


def test_an_output_that_is_an_input_or_a_transpose_is_a_value_of_its_own() -> None:
    def f(x: "N D", W: "D K"):
        return x, (x @ W).T

    assert [str(o) for o in assert_same(f).outputs] == ["out[N, D]", "out2[K, N]"]


# --- NumPy's functions -----------------------------------------------------------------------------

UNARY = [
    np.exp, np.expm1, np.log, np.log1p, np.sqrt, np.tanh, np.sin, np.cos, np.tan, np.sinh, np.cosh, np.arctan,
    np.abs, np.absolute, np.fabs, np.sign, np.square, np.reciprocal, np.negative, np.positive, np.exp2,
    np.log2, np.log10, sigmoid, softplus, silu, relu, gelu, erf,
]  # fmt: skip


@pytest.mark.parametrize("function", UNARY, ids=lambda f: f.__name__)
def test_elementwise_functions(function: Callable[[Any], Any]) -> None:
    def f(x: "N D"):
        return function(x)

    assert_same(f, positive=True)


REDUCTIONS = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod, "var": np.var,
    "std": np.std,
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (-1, 0)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name: str, axis: Any, keepdims: bool) -> None:
    def as_function(x: "N D K"):
        return (
            x
            - REDUCTIONS[name](x, axis=axis, keepdims=True)
            + (0 if keepdims else REDUCTIONS[name](x, axis=axis, keepdims=False).sum())
        )

    def as_method(x: "N D K"):
        return (getattr(x, name)(axis=axis, keepdims=keepdims) * 2).sum()

    assert_same(as_function)
    assert_same(as_method)


def test_variance_with_degrees_of_freedom() -> None:
    assert_same(lambda_of("lambda x: x.var(axis=0, ddof=1)", "N D"))
    assert_same(lambda_of("lambda x: np.std(x, axis=(0, 1), ddof=1)", "N D"))


def lambda_of(text: str, *axes: str) -> Callable[..., Any]:
    """A function from an expression, its arguments annotated with the axes."""
    made = eval(text, {"np": np, "math": math})
    names = made.__code__.co_varnames[: made.__code__.co_argcount]
    made.__annotations__ = dict(zip(names, axes, strict=True))
    made.__name__ = "made"
    return made


EXPRESSIONS = [
    # operators, reflected ones too
    ("lambda x: (1 + x - 2) * 3 / 4 - (5 - x) / x + 2 / x", "N D"),
    ("lambda x: -x + +x**2 - 2**x + abs(x)**1.5 + abs(x)**x", "N D"),
    ("lambda x, s: x * s + s / x", "N D", ""),
    ("lambda x: (x > 0) * x - (x <= 1) * (0.5 < x) + (x != x) + (x == x)", "N D"),
    ("lambda x: ((x > 0) & ~(x > 1) | (x < -1)) * x", "N D"),
    ("lambda x: np.logical_and(x > 0, x < 1) + np.logical_or(x > 1, x)", "N D"),
    ("lambda x: np.logical_not(x > 0).sum(axis=0)", "N D"),
    ("lambda m, x: m * x + (1 - m.astype(float)) * x.mean() + m.sum()", "N D bool", "N D"),
    ("lambda y: y * 2 + y.sum()", "N int"),
    ("lambda y: y / 3 + y**2", "N int"),
    ("lambda m: m.mean(axis=0)", "N D bool"),
    # choices
    ("lambda x: np.maximum(x, 0) + np.maximum(1, x) + np.minimum(x, -1) + np.minimum(0, x)", "N D"),
    ("lambda x, b: np.maximum(x, b) * np.minimum(x, b)", "N D", "D"),
    ("lambda x: np.where(x > 0, x, 0.1 * x) + np.where(x, 1, 2.5)", "N D"),
    ("lambda x: np.clip(x, -0.5, 0.5) + x.clip(0) + x.clip(max=1)", "N D"),
    # products
    ("lambda x, W: x @ W", "N D", "D K"),
    ("lambda v, W: v @ W", "D", "D K"),
    ("lambda x, v: x @ v", "N D", "D"),
    ("lambda v, w: v @ w", "D", "D"),
    ("lambda x, W: x @ W", "T N D", "T D K"),
    ("lambda x, W: x @ W", "T N D", "D K"),
    ("lambda x, W: x @ W", "N D", "T S D K"),
    ("lambda x, W: x.dot(W) + np.dot(x, W)", "T N D", "D K"),
    ("lambda x, W: np.dot(x, W)", "N D", "T D K"),
    ("lambda x: np.dot(x, 2) + np.dot(3, x)", "N D"),
    ("lambda x, W: np.inner(x, W)", "N D", "K D"),
    ("lambda v, w: np.outer(v, w)", "N", "D"),
    ("lambda A: np.trace(A) + A.trace()", "D D"),
    ("lambda A: np.diagonal(A) + A.diagonal() + np.diag(A)", "D D"),
    ("lambda v: np.diag(v) @ v", "D"),
    ("lambda x, W, z: np.einsum('nd, dke, ne -> nk', x, W, z)", "N D", "D K E", "N E"),
    ("lambda x, W: np.einsum('nd,dk', x, W) + np.einsum('nk->kn', np.matmul(x, W))", "N D", "D K"),
    ("lambda A: np.einsum('ii', A) * np.einsum('ii->i', A)", "D D"),
    ("lambda q, k: q @ k.T / np.sqrt(q.shape[1]) + 1 / math.sqrt(k.shape[0])", "T D", "S D"),
    ("lambda q, k: q @ k.transpose(0, 2, 1)", "N T D", "N S D"),
    ("lambda x: np.linalg.norm(x) + np.linalg.norm(x, axis=1, keepdims=True).sum()", "N D"),
    # shapes
    ("lambda x: x.sum() / x.shape[0] + x.mean() * x.size + x.shape[0] * x.shape[1] - len(x) + x.ndim", "N D"),
    ("lambda x: x[:, None] * x[None, :, :] + x[..., None, :]", "N N"),
    ("lambda x, v: x * v[:, np.newaxis] + np.expand_dims(v, 1)", "N D", "N"),
    ("lambda x, v: x - v.reshape(-1, 1) * v.reshape(v.shape[0], 1)", "N D", "N"),
    ("lambda x: x.sum(axis=1, keepdims=True).squeeze() + np.squeeze(x.max(1, keepdims=True), 1)", "N D"),
    ("lambda x: np.swapaxes(x, 0, 2) + x.swapaxes(0, -1) + np.transpose(x, (2, 1, 0)) + x.T", "N D K"),
    ("lambda x: x[0] + x[-1] + x[2, :]", "N D"),
    ("lambda x: x[:, 1] * x[..., -2]", "N D"),
    ("lambda x: np.ones_like(x) * x + np.zeros_like(x) + np.full_like(x, 2.5)", "N D"),
    ("lambda x: x * np.ones(x.shape) + np.zeros((x.shape[0], 1)) + np.full(x.shape, 3)", "N D"),
    ("lambda x: x + np.arange(x.shape[1]) / x.shape[1]", "N D"),
    ("lambda x: x @ np.eye(x.shape[1]) + x @ np.identity(x.shape[1])", "N D"),
    ("lambda A: np.tril(A) + np.triu(A, 1) @ np.tril(np.ones(A.shape))", "T T"),
    ("lambda x: np.asarray(x) * np.copy(x).astype(float)", "N D"),
    # gathers
    ("lambda f, y: f[np.arange(f.shape[0]), y]", "N K", "N int"),
    ("lambda f, y: f[np.arange(len(y)), y].sum() + f[y].sum()", "N K", "N int"),
    ("lambda f, y: np.take_along_axis(f, y[:, None], axis=1)[:, 0]", "N K", "N int"),
    ("lambda f, y: f - np.eye(f.shape[1])[y]", "N K", "N int"),
    ("lambda f, y: f * (np.arange(f.shape[1]) == y[:, None])", "N K", "N int"),
    ("lambda W, t: W[t]", "V D", "N T int"),
    ("lambda W, t: W[:, t]", "D V", "N T int"),
    ("lambda A, t: A[t, :, 0]", "V D K", "N int"),
    ("lambda A, t: A[:, t, 1]", "D V K", "N int"),
    ("lambda A, t: A[0, :, t]", "D K V", "N int"),
    ("lambda A, t, u: A[t[:, None], u]", "V D K", "N int", "T int"),
]  # fmt: skip


@pytest.mark.parametrize("case", EXPRESSIONS, ids=lambda case: case[0].removeprefix("lambda "))
def test_expressions(case: tuple[str, ...]) -> None:
    assert_same(lambda_of(*case))


@pytest.mark.parametrize("name", FORWARDS)
def test_the_gallery_computes_its_functions(name: str) -> None:
    assert_same(FORWARDS[name].function, positive=name == "batch_norm_eval")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_static_argument_chooses_the_formula(reduction: str) -> None:
    program = assert_same(FORWARDS["softmax_loss"].function, reduction=reduction)
    assert ("size(N)" in str(program.definitions[-1])) == (reduction == "mean")


def test_axes_may_have_fixed_sizes() -> None:
    def f(x: "N K=3", s: "N 1", W: "K=3 2"):
        return (x * s) @ W

    program = assert_same(f)
    assert [r.size for r in program.outputs[0].axes] == [None, 2]


def test_helpers_of_the_module_see_symbolic_sizes() -> None:
    def f(x: "N K", y: "N int"):
        return helper(x, y).mean()

    assert_same(f)


def helper(x, y):
    return x[np.arange(len(x)), y]


def test_numpy_in_a_closure_and_postponed_annotations() -> None:
    source = """
from __future__ import annotations
def make(numpy):
    from numpy import arange
    def f(x: "N K", y: 'N int', b: K):
        return x[numpy.arange(x.shape[0]), y].sum() + b * arange(len(b))
    return f
"""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    assert_same(namespace["make"](np))


def test_a_long_loop_without_names_stays_shallow() -> None:
    def f(x: "N D", W: "D D"):
        for _ in range(300):
            x = np.tanh(x @ W)
        return x

    program = assert_same(f)
    assert 10 < len(program.definitions) < 300


def test_comparing_a_size_with_itself_decides_an_if() -> None:
    def f(x: "N D", z: "N D"):
        assert x.shape == z.shape
        return x * z if x.shape[0] == z.shape[0] else x

    assert_same(f)


def test_in_place_operators_rebind_fresh_values() -> None:
    def f(x: "N D", b: "D"):
        a = x * 2
        a += b
        a **= 2
        return a

    assert lines(assert_same(f)) == ["a[i,d] = (x[i,d] * 2 + b[d])^2"]


def test_tracing_in_threads_does_not_mix_names() -> None:
    found: dict[int, list[str]] = {}

    def work(number: int) -> None:
        def f(x: "N D"):
            a = np.exp(x) * number
            return a * a

        found[number] = lines(trace(f))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [f"a[i,d] = exp(x[i,d]) * {n}", "out[i,d] = a[i,d] * a[i,d]"] for n in range(2, 8)}


# --- random compositions ---------------------------------------------------------------------------

STEPS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / (2 + np.tanh(b)),
    "tanh": lambda a, b: np.tanh(a),
    "square": lambda a, b: a**2,
    "gate": lambda a, b: np.where(a > b, a, 0.3 * b),
    "maximum": lambda a, b: np.maximum(a, b),
    "centre": lambda a, b: a - a.mean(axis=0, keepdims=True),
    "scale": lambda a, b: a / (1 + np.abs(a).max(axis=1, keepdims=True)),
    "gram": lambda a, b: np.tanh(a @ b.T) @ b,
    "columns": lambda a, b: a * b.sum(axis=0),
    "rows": lambda a, b: a + b.min(axis=1)[:, None] / a.shape[1],
    "flip": lambda a, b: np.einsum("nd,md->nm", a, b) @ a / a.shape[0],
    "softmax": lambda a, b: np.exp(np.tanh(a)) / np.exp(np.tanh(a)).sum(axis=-1, keepdims=True),
}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=7,
    )
)
def test_random_compositions(steps: list[tuple[str, int, int]]) -> None:
    def composed(x: "N D", z: "N D"):
        values = [x, z]
        for name, first, second in steps:
            values.append(STEPS[name](values[first % len(values)], values[second % len(values)]))
        return values[-1]

    assert_same(composed)


# --- refusals --------------------------------------------------------------------------------------


def refuse(text: str, *axes: str, kind: type[ChalkgradError] = UnsupportedError) -> ChalkgradError:
    with pytest.raises(kind) as caught:
        trace(lambda_of(text, *axes))
    return caught.value


REFUSED = [
    ("lambda x: np.logaddexp(x, x)", "logaddexp", "np.log(np.exp(a) + np.exp(b))"),
    ("lambda x: np.cumsum(x)", "cumsum", "np.tril"),
    ("lambda x: np.concatenate([x, x])", "concatenate", "two terms"),
    ("lambda x: np.arctanh(x)", "arctanh", "Supported"),
    ("lambda x: x if x.sum() > 0 else -x", "values cannot be traced", "np.where"),
    ("lambda x: x if x.shape[0] > 3 else -x", "Sizes are symbols", "keyword"),
    ("lambda x: float(x.sum()) * x", "float()", "Leave it out"),
    ("lambda x: sum(row for row in x)", "loop over an array", "x.sum(axis=0)"),
    ("lambda x: [x[i] for i in range(x.shape[0])][0]", "Python integer", "np.arange"),
    ("lambda x: x.__setitem__(0, 1)", "Assignment to a part", "np.where"),
    ("lambda x: x.tolist()", ".tolist", ""),
    ("lambda x: x.sun()", ".sun", "Did you mean 'sum'"),
    ("lambda x: x[x > 0]", "boolean mask", "np.where(mask"),
    ("lambda x: x[:, 1:]", "slice with bounds", "Whole axes"),
    ("lambda x: x[x]", "integer arrays", "N int"),
    ("lambda x: x.astype(int)", "Rounding", "N int"),
    ("lambda x: x.reshape(-1)", "joins or splits", "einsum"),
    ("lambda x: x * np.random.rand(3)", "random", "argument"),
    ("lambda x: x + np.ones(3)", "shape (3,)", "np.eye(K)"),
    ("lambda x: x + 'a'", "str", ""),
    ("lambda x: x * float('nan')", "nan", ""),
    ("lambda x: x / 0", "divides by the constant 0", ""),
    ("lambda x: np.add(x, 1, out=x)", "changes the argument x in place", "x = x + ..."),
    ("lambda x: np.sum(x, where=x > 0)", "where=", ""),
    ("lambda x: np.where(x > 0)", "list of places", "np.where(condition, a, b)"),
    ("lambda x: np.add.outer(x, x)", "add.outer", ""),
    ("lambda x: -(x > 0)", "negate conditions", "~a"),
    ("lambda x: (x > 0) - (x < 1)", "subtract conditions", "astype"),
    ("lambda x: np.linalg.norm(x, ord=1)", "ord=1", ""),
    ("lambda x: np.einsum('...d->...', x)", "ellipsis", "Name every axis"),
    ("lambda x: np.arange(x.size)", "no name here", "N, D = x.shape"),
    ("lambda x: x & x", "conditions only", ""),
    ("lambda x: None", "returns nothing", "return out"),
    ("lambda x: {'out': x}", "returns a dict", "return out"),
    ("lambda x: 3.0", "returns a float", "return out"),
    ("lambda x: ()", "empty tuple", "return out"),
    ("lambda x: np.ones(x.shape)", "does not depend on any argument", "annotated arguments"),
    ("lambda x: x.sum(axis=1, keepdims=True)", "axis of length one", "keepdims"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0].removeprefix("lambda x: "))
def test_refusals_name_the_thing_and_say_what_to_do(case: tuple[str, str, str]) -> None:
    text, what, hint = case
    message = str(refuse(text, "N D"))
    assert what in message
    assert hint in message


MISFITS = [
    ("lambda x, b: x + b", ("N D", "N"), ("x", "b", "D", "N", "v[:, None]")),
    ("lambda x, W: x @ W", ("N D", "K D"), ("x", "W", "D", "K", ".T")),
    ("lambda x, z: x * z", ("N D", "D N"), ("x", "z", ".T")),
    ("lambda x: x.sum(axis=2)", ("N D",), ("no axis 2",)),
    ("lambda x: x.sum(axis=(0, 0))", ("N D",), ("twice",)),
    ("lambda x: x[0, 0, 0]", ("N D",), ("2 axes",)),
    ("lambda x: np.einsum('ij,jk->ik', x, x)", ("N D",), ("N", "D")),
    ("lambda x: np.einsum('i->i', x)", ("N D",), ("one letter per axis",)),
    ("lambda x: np.einsum('ij->ik', x)", ("N D",), ("letters after ->",)),
    ("lambda x: x[5]", ("K=3",), ("outside an axis of size 3",)),
    ("lambda f, y: f[np.arange(f.shape[1]), y]", ("N K", "N int"), ("line up",)),
    ("lambda f, y: f[np.arange(f.shape[1]), y]", ("N K", "K int"), ("np.arange over K", "over N")),
    ("lambda x, s: x @ s", ("N D", ""), ("one axis or more",)),
]


@pytest.mark.parametrize("case", MISFITS, ids=lambda case: case[0].removeprefix("lambda "))
def test_shape_errors_name_both_axes(case: tuple[str, tuple[str, ...], tuple[str, ...]]) -> None:
    text, axes, wanted = case
    message = str(refuse(text, *axes, kind=ShapeError))
    for word in wanted:
        assert word in message


def test_errors_point_at_the_expression() -> None:
    def f(x: "N D", b: "N"):
        μ = x * 2
        return np.exp(μ) + (μ * b)

    with pytest.raises(ShapeError) as caught:
        trace(f)
    shown = str(caught.value).splitlines()
    assert "return np.exp(μ) + (μ * b)" in shown[1]
    assert shown[1][shown[2].index("^") : shown[2].rindex("^") + 1] == "μ * b"


def test_an_old_value_changed_in_place_is_not_used_again() -> None:
    def f(x: "N D"):
        a = x * 2
        b = a
        a += 1
        return a * b

    with pytest.raises(UnsupportedError, match="changed in place"):
        trace(f)


def test_an_in_place_result_of_other_axes_does_not_fit() -> None:
    def f(x: "N D", b: "D"):
        a = b * 2
        a += x
        return a

    with pytest.raises(ShapeError, match="replaces"):
        trace(f)


def test_declarations_are_checked() -> None:
    def no_axes(x):
        return x

    def bad_axes(x: "N D!"):
        return x

    def star(*x: "N"):
        return x

    def list_default(x: "N", weights=[1.0]):  # noqa: B006  (the default is what is refused)
        return x

    def no_arrays(p=0.5):
        return p

    for function, word in [
        (no_axes, "not declared"), (bad_axes, "not the name of an axis"), (star, "*x"),
        (list_default, "default of weights"), (no_arrays, "no array argument"), (np.exp, "written with def"),
    ]:  # fmt: skip
        with pytest.raises(UnsupportedError) as caught:
            trace(function)
        assert word in str(caught.value)


def test_an_unknown_static_argument_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no argument reductoin"):
        trace(FORWARDS["softmax_loss"].function, statics={"reductoin": "sum"})
