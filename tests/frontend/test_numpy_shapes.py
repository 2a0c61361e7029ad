"""Slices, padding, windows, joined and reshaped axes: traced and compared with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from chalkgrad.errors import ShapeError
from chalkgrad.frontend.numpy_trace import trace
from tests.frontend.tracing import assert_same, lambda_of, lines

window = np.lib.stride_tricks.sliding_window_view

EXPRESSIONS = [
    ("lambda x: x[1:]", "N D"),
    ("lambda x: x[:-1] - x[1:]", "N D"),
    ("lambda x: x[:, ::2]", "N K"),
    ("lambda x: x[1::2]", "T D"),
    ("lambda x: x[1:-1, 1:3]", "N K"),
    ("lambda x: x[::-1]", "N D"),
    ("lambda x: x[::-2]", "N D"),
    ("lambda x: x[..., 1:2]* x", "N K"),
    ("lambda x: x[: x.shape[0] // 2]", "T D"),
    ("lambda x, y: x[1:, 0] * y[:-1]", "N D", "N"),
    ("lambda x, t: x[1:][t]", "N D", "T int"),
    ("lambda x, t: x[t, 1:]", "N K", "T int"),
    ("lambda x: np.pad(x, 1)", "N D"),
    ("lambda x: np.pad(x, ((0, 0), (2, 1)))", "N D"),
    ("lambda x: np.pad(x, (1, 0))", "N"),
    ("lambda x: np.concatenate((x, 2 * x))", "N D"),
    ("lambda x, y, z: np.concatenate((x, y, z), axis=1)", "N D", "N K", "N H"),
    ("lambda x, y: np.concatenate((x, y[:, None]), axis=-1)", "N D", "N"),
    ("lambda x: np.stack((x, x**2))", "N D"),
    ("lambda x, y, z: np.stack((x, y, z), axis=1)", "N D", "N D", "N D"),
    ("lambda x: np.split(x, 2)[1] * np.split(x, 2)[0]", "T D"),
    ("lambda x: np.split(x, [1, 3], axis=1)[1]", "N K"),
    ("lambda x: np.exp(x).reshape(-1)", "N D"),
    ("lambda x: x.reshape(x.shape[0], -1)", "N D K"),
    ("lambda x: x.reshape(x.shape[0], x.shape[1] * x.shape[2])", "N D K"),
    ("lambda x: x.reshape(x.shape[0], x.shape[1] // 2, 2)", "N K"),
    ("lambda x: x.reshape(x.shape[0], 2, x.shape[1] // 2)", "N K"),
    ("lambda x: x.reshape(x.shape[0], 2, -1).sum(axis=1)", "N K"),
    ("lambda x: x.reshape(x.shape[0], -1).reshape(x.shape)", "N D K"),
    ("lambda x: x.ravel() * x.flatten()", "N D"),
    ("lambda x, W: x.reshape(x.shape[0], -1) @ W.reshape(-1, W.shape[2])", "N D K", "D K H"),
    ("lambda x: window(x, 2, axis=1).max(axis=-1)", "N K"),
    ("lambda x, w: np.einsum('nchwrs,fcrs->nfhw', window(x, (w.shape[2], w.shape[3]), (2, 3)), w)",
     "N C T S", "H C D E"),
    ("lambda x: window(x, 2, axis=0)[::2].mean(axis=-1)", "T D"),
    ("lambda x: np.cumsum(x, axis=1)", "N D"),
    ("lambda x: np.cumsum(x)", "N"),
    ("lambda x: np.diff(x, axis=0)", "N D"),
    ("lambda x: np.diff(x, n=2)", "N K"),
    ("lambda x: np.flip(x, 1)", "N D"),
    ("lambda x: np.moveaxis(x, 0, -1)", "N D K"),
    ("lambda x: np.logaddexp(x, 2 * x)", "N D"),
    ("lambda x: x * (np.arange(x.shape[0]) % 2)[:, None]", "N D"),
    ("lambda x: x * np.ones((x.shape[0], 2 * x.shape[1]))[:, ::2]", "N D"),
    ("lambda A: np.linalg.inv(A)", "D D"),
    ("lambda A: np.linalg.det(A) * np.linalg.slogdet(A)[1]", "D D"),
    ("lambda A: np.linalg.slogdet(A).logabsdet * np.linalg.slogdet(A).sign", "D D"),
    ("lambda x: np.linalg.norm(x, ord=1, axis=1)", "N D"),
    ("lambda x: np.linalg.norm(x, ord=np.inf, axis=0)", "N D"),
    ("lambda x: np.linalg.norm(x, ord=3, axis=1) + np.linalg.norm(x, 2.5, axis=1)", "N D"),
    ("lambda x, y: np.take(x, y, axis=1)", "N K", "M int"),
    ("lambda x, y: np.take(x, y)", "K", "M int"),
    ("lambda x, W: np.einsum('...d,dk->...k', x, W) + np.einsum('...d,dk', x, W)", "T N D", "D K"),
    ("lambda x, z: np.einsum('b...,...->b...', x, z)", "T N D", "N D"),
    ("lambda x: x[:, x.shape[1] // 2 :]", "N 6"),
    ("lambda x, y: np.hstack([x, 2 * y])", "N D", "N K"),
    ("lambda x, y: np.hstack([x, 2 * y])", "N", "M"),
    ("lambda x, y: np.vstack([x, 2 * y])", "N D", "M D"),
    ("lambda x, y: np.vstack([x, 2 * y])", "N", "N"),
    ("lambda A, b: np.linalg.solve(A, b)", "D D", "D K"),
    ("lambda x: np.log(np.exp(x).sum(axis=1))", "N D"),
    ("lambda x: np.log(np.exp(x - x.max(axis=1, keepdims=True)).sum(axis=1)) + x.max(axis=1)", "N D"),
]  # fmt: skip


@pytest.mark.parametrize("case", EXPRESSIONS, ids=lambda case: case[0].removeprefix("lambda "))
def test_expressions(case: tuple[str, ...]) -> None:
    assert_same(lambda_of(*case))


REFUSED = [
    ("lambda x: np.concatenate([x, x[0]])", "equally many axes"),
    ("lambda x: x[:, 1:1]", "would have the size"),
    ("lambda x: x.reshape(3, 5)", "cannot get the sizes"),
    ("lambda x: x.reshape(x.shape[1], x.shape[0] + 1)", "cannot get the sizes"),
    ("lambda x: x.reshape(-1, -1)", "can be -1"),
    ("lambda x: np.pad(x, ((1, 1), (1, 1), (1, 1)))", "has 2 axes"),
    ("lambda x: window(x, 2)", "do not fit"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0].removeprefix("lambda "))
def test_what_does_not_fit_is_refused(case: tuple[str, str]) -> None:
    with pytest.raises(ShapeError, match=case[1]):
        trace(lambda_of(case[0], "N D"))


def test_a_slice_is_an_affine_index() -> None:
    def shifted(x: "N D"):
        return x[1:] - x[:-1]

    program = assert_same(shifted)
    assert lines(program)[0].endswith("x[i+1,d] - x[i+0,d]")
    ((of, size),) = program.sizes
    assert str(size) == "size(N) - 1"
    assert program.outputs[0].axes[0] is of


def test_equal_sizes_are_one_range() -> None:
    def both(x: "N D", y: "N D"):
        return x[1:] * y[:-1]

    assert len(assert_same(both).sizes) == 1


def test_constants_stay_exact() -> None:
    def scaled(x: "N D"):
        return x * np.sqrt(2 / np.pi) - np.log(2) + 1 / np.sqrt(2 * np.pi) * x**2

    program = assert_same(scaled)
    written = lines(program)[0]
    assert "sqrt(2 / pi)" in written
    assert "log(2)" in written
    assert "0.79" not in written
