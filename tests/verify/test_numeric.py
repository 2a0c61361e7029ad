"""CS231n's gradient-check helpers."""

import numpy as np
import pytest

from chalkgrad.errors import ShapeError
from chalkgrad.verify.numeric import (
    eval_numerical_gradient,
    eval_numerical_gradient_array,
    grad_check_sparse,
    rel_error,
)


@pytest.fixture
def rng():
    return np.random.default_rng(231)


def softmax_loss(scores, y):
    shifted = scores - scores.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    d = p.copy()
    d[rows, y] -= 1
    return -np.log(p[rows, y]).mean(), d / len(y)


def test_softmax_loss_as_in_the_assignment(rng):
    # The assignment expects a loss near 2.3 and an error near 1e-8 for small random scores.
    x, y = 0.001 * rng.normal(size=(50, 10)), rng.integers(10, size=50)
    loss, dx = softmax_loss(x, y)
    assert loss == pytest.approx(np.log(10), abs=1e-3)
    assert rel_error(dx, eval_numerical_gradient(lambda x: softmax_loss(x, y)[0], x)) < 1e-7


def test_affine_backward_as_in_the_assignment(rng):
    x, w, b = rng.normal(size=(10, 2, 3)), rng.normal(size=(6, 5)), rng.normal(size=5)
    dout = rng.normal(size=(10, 5))

    def forward(x, w, b):
        return x.reshape(len(x), -1) @ w + b

    dx = (dout @ w.T).reshape(x.shape)
    dw = x.reshape(10, -1).T @ dout
    assert rel_error(dx, eval_numerical_gradient_array(lambda x: forward(x, w, b), x, dout)) < 1e-8
    assert rel_error(dw, eval_numerical_gradient_array(lambda w: forward(x, w, b), w, dout)) < 1e-8
    assert rel_error(dout.sum(0), eval_numerical_gradient_array(lambda b: forward(x, w, b), b, dout)) < 1e-8


def test_a_wrong_backward_is_seen(rng):
    x, dout = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    numeric = eval_numerical_gradient_array(np.tanh, x, dout)
    assert rel_error(dout * (1 - np.tanh(x) ** 2), numeric) < 1e-8
    assert rel_error(dout * (1 - np.tanh(x)), numeric) > 0.1


def test_an_unsummed_bias_gradient_does_not_broadcast():
    with pytest.raises(ShapeError, match=r"different shapes: \(4, 3\) and \(3,\)"):
        rel_error(np.ones((4, 3)), np.ones(3))


@pytest.mark.parametrize(
    ("a", "n", "expected"),
    [
        ([0.0, 1.0], [0.0, 1.0], 0.0),
        ([1.0], [-1.0], 2.0),
        ([3.0], [2.0], 1 / 3),
        ([0.0], [1e-300], 1.0),
        ([np.nan], [1.0], np.inf),
        ([np.inf], [np.inf], 0.0),
        ([np.inf], [1.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_relative_error(a, n, expected):
    assert rel_error(a, n) == pytest.approx(expected)


def test_the_argument_is_put_back_even_after_an_error(rng):
    x = rng.normal(size=(2, 2))
    before = x.copy()

    def fails(_):
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        eval_numerical_gradient(fails, x)
    np.testing.assert_array_equal(x, before)
    eval_numerical_gradient(lambda x: float(x.sum()), x)
    np.testing.assert_array_equal(x, before)


def test_float32_uses_the_step_really_taken():
    x = np.array([1.0, 7.0], np.float32)
    numeric = eval_numerical_gradient(lambda x: float(x.astype(float).sum()), x, h=1e-3)
    assert rel_error(np.ones(2), numeric) < 1e-12


def test_grad_check_sparse_is_seeded_and_catches_a_sign(rng):
    x = rng.normal(size=(5, 4))
    loss = lambda x: float((x**2).sum())  # noqa: E731
    checks = grad_check_sparse(loss, x, 2 * x, num_checks=6, seed=3)
    assert checks == grad_check_sparse(loss, x, 2 * x, num_checks=6, seed=3)
    assert len({c.place for c in checks}) == 6
    assert max(c.relative_error for c in checks) < 1e-7
    wrong = grad_check_sparse(loss, x, -2 * x, num_checks=6, seed=3)
    assert min(c.relative_error for c in wrong) > 1.9
    assert str(wrong[0]).startswith("numerical: ")
    assert len(grad_check_sparse(loss, x, 2 * x, num_checks=100)) == x.size


def test_what_is_refused():
    with pytest.raises(ShapeError, match="float array, and received int64"):
        eval_numerical_gradient(lambda x: 0.0, np.arange(3, dtype=np.int64))
    with pytest.raises(ShapeError, match=r"array of the shape \(3,\)"):
        eval_numerical_gradient(lambda x: x, np.ones(3))
    with pytest.raises(ShapeError, match="upstream gradient"):
        eval_numerical_gradient_array(lambda x: x, np.ones(3), np.ones(2))
    with pytest.raises(ShapeError, match="the gradient has the shape"):
        grad_check_sparse(lambda x: 0.0, np.ones(3), np.ones(2))
