"""Negative log-likelihoods, and the classical models that are fitted with them."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward
from chalkgrad.frontend.functions import softplus


@forward
def gaussian_nll(m: "N K", t: "N K", v: "N K"):
    """L = mean of ½ (log v + (t − m)²/v), the normal likelihood of mean m and variance v.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.GaussianNLLLoss.html
    """
    r = t - m
    L = np.mean(0.5 * (np.log(v) + r**2 / v))
    return L


@forward
def kl_divergence(l: "N K", t: "N K"):  # noqa: E741  (the logarithm of p)
    """L = 1/N Σ_ik t_ik (log t_ik − l_ik), l the logarithms of the predicted probabilities.

    Source: https://en.wikipedia.org/wiki/Kullback–Leibler_divergence
    """
    N = l.shape[0]
    L = np.sum(t * (np.log(t) - l)) / N
    return L


@forward
def logistic_regression(X: "N D", w: "D", y: "N"):
    """L = Σ_i softplus(a_i) − y_i a_i, a = X w: the likelihood of labels y in {0, 1}.

    The gradient by w is Xᵀ(σ(a) − y). Source: https://en.wikipedia.org/wiki/Logistic_regression
    """
    a = X @ w
    L = np.sum(softplus(a) - y * a)
    return L


@forward
def poisson_regression(X: "N D", w: "D", y: "N"):
    """L = Σ_i exp(a_i) − y_i a_i, a = X w: counts y with the log link.

    Source: https://en.wikipedia.org/wiki/Poisson_regression
    """
    a = X @ w
    L = np.sum(np.exp(a) - y * a)
    return L


@forward
def gamma_regression(X: "N D", w: "D", y: "N"):
    """L = Σ_i a_i + y_i exp(−a_i), a = X w: positive y with the log link.

    Source: https://en.wikipedia.org/wiki/Generalized_linear_model
    """
    a = X @ w
    L = np.sum(a + y * np.exp(-a))
    return L


@forward
def ridge(X: "N D", w: "D", y: "N", *, lam=1.0):
    """L = ‖X w − y‖² + λ ‖w‖²; the gradient by w is 2(Xᵀ(X w − y) + λ w).

    Source: https://en.wikipedia.org/wiki/Ridge_regression
    """
    r = X @ w - y
    L = np.sum(r**2) + lam * np.sum(w**2)
    return L


@forward
def factorisation_machine(x: "N D", b: "", w: "D", V: "D K"):
    """f_i = b + Σ_d x_id w_d + ½ Σ_k ((Σ_d x_id V_dk)² − Σ_d x_id² V_dk²): all products of two features.

    Source: https://www.csie.ntu.edu.tw/~b97053/paper/Rendle2010FM.pdf
    """
    u = x @ V
    q = x**2 @ V**2
    f = b + x @ w + 0.5 * (u**2 - q).sum(axis=1)
    return f


@forward
def matrix_factorisation(R: "N M", mask: "N M", U: "N K", V: "M K", *, lam=1.0):
    """L = Σ_im mask_im (R_im − Σ_k U_ik V_mk)² + λ (‖U‖² + ‖V‖²); mask is 1 where R is known, else 0.

    Source: https://en.wikipedia.org/wiki/Matrix_factorization_(recommender_systems)
    """
    r = R - U @ V.T
    L = np.sum(mask * r**2) + lam * (np.sum(U**2) + np.sum(V**2))
    return L
