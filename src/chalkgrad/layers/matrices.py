"""Scalars and matrices of linear algebra, as https://www.matrixcalculus.org differentiates them."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward


@forward
def quadratic_form(x: "D", A: "D D"):
    """L = xᵀ A x. Source: https://en.wikipedia.org/wiki/Quadratic_form"""
    L = x @ A @ x
    return L


@forward
def least_squares(A: "N D", x: "D", y: "N"):
    """L = ‖A x − y‖². Source: https://en.wikipedia.org/wiki/Least_squares"""
    L = np.sum((A @ x - y) ** 2)
    return L


@forward
def trace_form(A: "K N", X: "M N", B: "M M", C: "N K"):
    """L = tr(A Xᵀ B X C). Source: https://www.matrixcalculus.org"""
    L = np.trace(A @ X.T @ B @ X @ C)
    return L


@forward
def frobenius_norm(X: "M N"):
    """L = ‖X‖, the root of the sum of squares. Source: https://en.wikipedia.org/wiki/Matrix_norm"""
    L = np.linalg.norm(X)
    return L


@forward
def inverse(X: "D D"):
    """Y = X⁻¹. Source: https://en.wikipedia.org/wiki/Invertible_matrix"""
    Y = np.linalg.inv(X)
    return Y


@forward
def determinant(X: "D D"):
    """L = det X. Source: https://en.wikipedia.org/wiki/Jacobi%27s_formula"""
    L = np.linalg.det(X)
    return L


@forward
def log_determinant(X: "D D"):
    """L = log |det X|. Source: https://en.wikipedia.org/wiki/Jacobi%27s_formula"""
    _, L = np.linalg.slogdet(X)
    return L


@forward
def trace(X: "D D"):
    """L = tr X. Source: https://en.wikipedia.org/wiki/Trace_(linear_algebra)"""
    L = np.trace(X)
    return L
