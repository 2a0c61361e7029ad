"""Losses: one number from scores or predictions.

`reduction` is static: "mean" averages over the observations, "sum" adds them up.
"""

from __future__ import annotations

import numpy as np

from chalkgrad.errors import UnsupportedError
from chalkgrad.frontend.forward import forward
from chalkgrad.frontend.functions import softplus


@forward
def softmax(f: "N K"):
    """p_ik = exp f_ik / Σ_j exp f_ij. Source: https://cs231n.github.io/linear-classify/#softmax"""
    e = np.exp(f)
    z = e.sum(axis=1)
    p = e / z[:, None]
    return p


@forward
def log_softmax(f: "N K"):
    """l_ik = f_ik − log Σ_j exp f_ij. Source: https://cs231n.github.io/linear-classify/#softmax"""
    z = np.exp(f).sum(axis=1)
    l = f - np.log(z)[:, None]  # noqa: E741  (the logarithm of p)
    return l


@forward
def logsumexp(f: "N K"):
    """l_i = log Σ_k exp f_ik. Source: https://en.wikipedia.org/wiki/LogSumExp"""
    z = np.exp(f).sum(axis=1)
    l = np.log(z)  # noqa: E741
    return l


@forward
def softmax_loss(f: "N K", y: "N int", *, reduction="mean"):
    """L = 1/N Σ_i −log p_{i, y_i}, p = softmax(f): cross-entropy with integer labels.

    f: (N, K) scores. y: (N,) labels 0, …, K − 1. reduction: "mean" or "sum".
    Source: https://cs231n.github.io/linear-classify/#softmax
    """
    N = f.shape[0]
    e = np.exp(f)
    z = e.sum(axis=1)
    p = e / z[:, None]
    if reduction == "sum":
        return -np.log(p[np.arange(N), y]).sum()
    if reduction == "mean":
        return -np.log(p[np.arange(N), y]).mean()
    raise UnsupportedError(f"reduction={reduction!r} is neither 'mean' nor 'sum'.")


@forward
def soft_target_loss(f: "N K", t: "N K"):
    """L = −1/N Σ_ik t_ik log softmax(f)_ik: cross-entropy with target distributions t.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
    """
    N = f.shape[0]
    z = np.exp(f).sum(axis=1)
    L = -np.sum(t * (f - np.log(z)[:, None])) / N
    return L


@forward
def sigmoid_loss(f: "N K", t: "N K"):
    """L = 1/N Σ_ik softplus(f_ik) − t_ik f_ik: multi-label cross-entropy on logits.

    Source: https://en.wikipedia.org/wiki/Cross-entropy
    """
    N = f.shape[0]
    L = np.sum(softplus(f) - t * f) / N
    return L


@forward
def svm_loss(f: "N K", y: "N int", *, delta=1.0):
    """L = 1/N Σ_i Σ_{k ≠ y_i} max(0, f_ik − f_{i, y_i} + Δ), the multi-class hinge.

    Source: https://cs231n.github.io/linear-classify/#svm
    """
    N, K = f.shape
    correct = f[np.arange(N), y]
    m = np.maximum(0, f - correct[:, None] + delta)
    L = np.sum(m * (np.arange(K) != y[:, None])) / N
    return L


@forward
def mse(f: "N K", t: "N K"):
    """L = 1/(N K) Σ_ik (f_ik − t_ik)². Source: https://en.wikipedia.org/wiki/Mean_squared_error"""
    r = f - t
    L = np.mean(r**2)
    return L


@forward
def mae(f: "N K", t: "N K"):
    """L = 1/(N K) Σ_ik |f_ik − t_ik|. Source: https://en.wikipedia.org/wiki/Mean_absolute_error"""
    r = f - t
    L = np.mean(np.abs(r))
    return L


@forward
def huber(f: "N K", t: "N K", *, delta=1.0):
    """L = mean of r²/2 where |r| ≤ δ, else δ(|r| − δ/2), r = f − t.

    Source: https://en.wikipedia.org/wiki/Huber_loss
    """
    r = f - t
    m = np.abs(r)
    L = np.mean(np.where(m <= delta, 0.5 * r**2, delta * (m - 0.5 * delta)))
    return L


@forward
def log_cosh(f: "N K", t: "N K"):
    """L = mean of log cosh r = r + softplus(−2r) − log 2, r = f − t.

    Source: https://keras.io/api/losses/regression_losses/#logcosh-class
    """
    r = f - t
    L = np.mean(r + softplus(-2 * r) - np.log(2))
    return L


@forward
def poisson_loss(f: "N K", t: "N K"):
    """L = mean of exp(f) − t f, the Poisson likelihood with the log link.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.PoissonNLLLoss.html
    """
    L = np.mean(np.exp(f) - t * f)
    return L


@forward
def quantile_loss(f: "N K", t: "N K", *, q=0.5):
    """L = mean of max(q r, (q − 1) r), r = t − f. Source: https://en.wikipedia.org/wiki/Quantile_regression"""
    r = t - f
    L = np.mean(np.where(r > 0, q * r, (q - 1) * r))
    return L
