"""Every matrix form that a result shows is the result: both are evaluated at random points."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from chalkgrad.diff import derive
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
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.render.math_text import math_text
from chalkgrad.verify.reference import evaluate
from chalkgrad.verify.steps import Judge
from tests.layers.variants import LABELS, layer

COMPARE = {
    ">": np.greater, "<": np.less, ">=": np.greater_equal, "<=": np.less_equal, "==": np.equal,
    "!=": np.not_equal,
}  # fmt: skip

Shape = tuple[int | None, int | None]


class Values:
    """Matrix expressions as two-dimensional arrays, by definition and without any cleverness."""

    def __init__(self, env) -> None:
        self.env = env

    def shape(self, m: Matrix) -> Shape:
        """What the parts say about the shape; a column of ones has any height."""
        match m:
            case Named(tensor):
                array = np.asarray(self.env.array(tensor))
                return array.shape if array.ndim == 2 else (array.size, 1)
            case Ones():
                return None, 1
            case Transpose(of):
                return self.shape(of)[::-1]
            case Product(factors):
                return self.shape(factors[0])[0], self.shape(factors[-1])[1]
            case Hadamard(parts) | Plus(parts) | Elementwise(_, parts):
                shapes = [self.shape(p) for p in parts]
                return tuple(next((s[n] for s in shapes if s[n] is not None), None) for n in (0, 1))
            case Diag(of):
                return (self.shape(of)[0],) * 2
            case Scaled(_, of) | Inverse(of):
                return self.shape(of)
        return None, None

    def value(self, m: Matrix, rows: int, columns: int) -> np.ndarray:
        match m:
            case Named(tensor):
                return np.asarray(self.env.array(tensor), float).reshape(rows, columns)
            case Scalar(e):
                return np.full((rows, columns), float(evaluate(e, (), self.env)))
            case Ones():
                return np.ones((rows, columns))
            case Identity():
                return np.eye(rows, columns)
            case Transpose(of):
                return self.value(of, columns, rows).T
            case Inverse(of):
                return np.linalg.inv(self.value(of, rows, columns))
            case Diag(of):
                return np.diag(self.value(of, rows, 1)[:, 0])
            case Scaled(scale, of):
                return float(evaluate(scale, (), self.env)) * self.value(of, rows, columns)
            case Hadamard(factors):
                return reduce(np.multiply, [self.value(f, rows, columns) for f in factors])
            case Plus(terms):
                return reduce(np.add, [self.value(t, rows, columns) for t in terms])
            case Elementwise(fn, args):
                values = [self.value(a, rows, columns) for a in args]
                op, _, bound = fn.partition(" ")
                if op in COMPARE:
                    return COMPARE[op](values[0], float(bound)).astype(float)
                return PRIMITIVES[fn].reference(*values)
            case Product(factors):
                return reduce(np.matmul, self.chain(factors, rows, columns))
        raise TypeError(type(m).__name__)

    def chain(self, factors, rows: int, columns: int) -> list[np.ndarray]:
        """The factors of a product, each as high as the one before is wide."""
        widths: list[int | None] = [rows, *[None] * (len(factors) - 1), columns]
        for n, f in enumerate(factors):
            height, width = self.shape(f)
            widths[n] = height if widths[n] is None else widths[n]
            widths[n + 1] = width if widths[n + 1] is None else widths[n + 1]
        return [self.value(f, widths[n] or 1, widths[n + 1] or 1) for n, f in enumerate(factors)]


def check(derived) -> int:
    """How many matrix forms of the gradients were compared."""
    count = 0
    for seed in range(2):
        env = Judge.at(derived, seed).env
        for equation in (*derived.shared, *derived.results):
            if equation.matrix is None:
                continue
            # A number is no vector: 1/N for each entry is (1/N) 1.
            assert not (equation.indices and isinstance(equation.matrix, Scalar) and str(equation.rhs) != "0")
            expected = evaluate(equation.rhs, equation.indices, env)
            rows, columns = (*expected.shape, 1, 1)[:2]
            found = Values(env).value(equation.matrix, rows, columns).reshape(expected.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
            count += 1
    return count


@pytest.mark.parametrize("name", LABELS)
def test_gallery(name):
    check(layer(name).derive().record)


FORMS = {
    "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]": ("∂L/∂f Wᵀ", "xᵀ ∂L/∂f", "(∂L/∂f)ᵀ 1"),
    "L = sum(i, sum(j, x[i] * A[i,j] * x[j]))": ("A x + Aᵀ x", "x xᵀ"),
    "L = sum(i, (sum(d, A[i,d] * x[d]) - y[i])^2)": ("2 (A x − y) xᵀ", "2 Aᵀ (A x − y)", "−2 (A x − y)"),
    "L = logdet(i j, X[i,j])": ("X⁻ᵀ",),
    "L = det(i j, X[i,j])": ("L X⁻ᵀ",),
    "L = sum(i, X[i,i])": ("I",),
    "L = mean(i, x[i])": ("(1/N) 1",),
    "L = sum(i, a[i] * b)": ("b 1", "1ᵀ a"),
    "L = mean(i k, X[i,k])": ("(1/(K N)) 1 1ᵀ",),
    "L = sum(i, w[i] * sum(k, X[i,k]))": ("X 1", "w 1ᵀ"),
    "L = sum(i k, X[i,k]^2)^0.5": ("(1/L) X",),
    "Y[a,b] = inv(i j, X[i,j])[a,b]": ("−Yᵀ ∂L/∂Y Yᵀ",),
    "e[i,k] = exp(f[i,k])\nz[i] = sum(k, e[i,k])\np[i,k] = e[i,k] / z[i]":
        ("p ∘ (∂L/∂p − (p ∘ ∂L/∂p) 1 1ᵀ)",),
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS)
def test_forms_of_the_textbook(text):
    derived = derive(read_formula(text, "f"))
    assert check(derived)
    written = tuple(math_text(e.matrix) for e in derived.results)
    assert written == FORMS[text]
