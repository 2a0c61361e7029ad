"""A traced function computes what the function itself computes, or is refused with a reason."""

# The functions under test are written as users write them.
# ruff: noqa: F841, PLC2401, PLW0108, RET504

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalkgrad.frontend.functions import erf, gelu, relu, sigmoid, silu, softplus
from chalkgrad.frontend.numpy_trace import trace
from chalkgrad.layers.forwards import FORWARDS
from tests.frontend.tracing import assert_same, lambda_of, lines

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


def test_vdot_adds_all_products() -> None:
    def product(x: "N D", w: "N D"):
        return np.vdot(x, w)

    assert lines(assert_same(product)) == ["L = sum(i d, x[i,d] * w[i,d])"]


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


POSITIVE = ("batch_norm_eval", "gaussian_nll", "kl_divergence")
"""Layers that take the logarithm or the root of an input."""


@pytest.mark.parametrize("name", [name for name, f in FORWARDS.items() if not f.written])
def test_the_gallery_computes_its_functions(name: str) -> None:
    forward = FORWARDS[name]
    assert_same(forward.function, positive=name in POSITIVE, leading=forward.leading)


@pytest.mark.parametrize("leading", [0, 1, 2, 3])
@pytest.mark.parametrize("name", ["affine", "gelu_tanh", "swiglu", "attention", "dropout"])
def test_leading_axes(name: str, leading: int) -> None:
    program = assert_same(FORWARDS[name].function, leading=leading)
    own = FORWARDS[name].program
    extra = leading - FORWARDS[name].leading
    assert len(program.outputs[0].axes) == len(own.outputs[0].axes) + extra


@pytest.mark.parametrize(
    "options",
    [
        {"class_weight": True},
        {"sample_weight": True, "reduction": "sum"},
        {"class_weight": True, "sample_weight": True, "reduction": "weighted_mean"},
        {"label_smoothing": 0.1, "reduction": "none"},
    ],
    ids=str,
)
def test_optional_inputs(options: dict[str, object]) -> None:
    program = assert_same(FORWARDS["softmax_loss"].function, **options)
    wanted = [name for name, value in options.items() if value is True]
    assert {t.name for t in program.inputs} == {"f", "y", *wanted}


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
