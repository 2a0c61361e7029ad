"""Losses: one number from scores or predictions.

`reduction` is static: "mean" averages over the observations, "sum" adds them up.
"""

from __future__ import annotations

import numpy as np

from chalkgrad.errors import UnsupportedError
from chalkgrad.frontend.forward import forward
from chalkgrad.frontend.functions import softplus


@forward
def softmax(f: "... K"):
    """p_ik = exp f_ik / Σ_j exp f_ij. Source: https://cs231n.github.io/linear-classify/#softmax"""
    e = np.exp(f)
    z = e.sum(axis=-1)
    p = e / z[..., None]
    return p


@forward
def log_softmax(f: "... K"):
    """l_ik = log p_ik, p = softmax(f). Source: https://cs231n.github.io/linear-classify/#softmax"""
    e = np.exp(f)
    z = e.sum(axis=-1)
    p = e / z[..., None]
    l = np.log(p)  # noqa: E741
    return l


@forward
def logsumexp(f: "... K"):
    """l_i = log Σ_k exp f_ik. Source: https://en.wikipedia.org/wiki/LogSumExp"""
    z = np.exp(f).sum(axis=-1)
    l = np.log(z)  # noqa: E741
    return l


@forward
def softmax_loss(
    f: "N K",
    y: "N int",
    class_weight: "K" = None,
    sample_weight: "N" = None,
    *,
    reduction="mean",
    label_smoothing=None,
):
    """L = 1/N Σ_i −log p_{i, y_i}, p = softmax(f): cross-entropy with integer labels.

    f: (N, K) scores. y: (N,) labels 0, …, K − 1. class_weight: (K,) and sample_weight: (N,) multiply an
    observation's loss by c_{y_i} and w_i. label_smoothing s takes (1 − s) of the label and s/K of every
    class. reduction: "mean" divides by N, "weighted_mean" by the sum of the weights (as PyTorch does where
    there are class weights), "sum" by nothing, "none" gives the loss of each observation.
    Source: https://cs231n.github.io/linear-classify/#softmax
    """
    N = f.shape[0]
    e = np.exp(f)
    z = e.sum(axis=1)
    p = e / z[:, None]
    weight = 1 if class_weight is None else class_weight[y]
    if sample_weight is not None:
        weight = weight * sample_weight
    if label_smoothing is None:
        return negative(np.log(p[np.arange(N), y]), weight, reduction)
    s = label_smoothing
    return negative((1 - s) * np.log(p[np.arange(N), y]) + s * np.log(p).mean(axis=1), weight, reduction)


def negative(likelihood, weight, reduction):
    """Minus the log-likelihoods of single observations, weighted and put together."""
    weighted = likelihood if isinstance(weight, int) else weight * likelihood
    if reduction == "sum":
        return -weighted.sum()
    if reduction == "mean":
        return -weighted.mean()
    if reduction == "none":
        return -weighted
    if reduction == "weighted_mean":
        return -weighted.mean() if isinstance(weight, int) else -weighted.sum() / weight.sum()
    raise UnsupportedError(
        f"reduction={reduction!r} is not known.", hint="'mean', 'weighted_mean', 'sum' or 'none'."
    )


@forward
def soft_target_loss(f: "N K", t: "N K", *, normalised=False):
    """L = −1/N Σ_ik t_ik log softmax(f)_ik: cross-entropy with target distributions t.

    normalised=True declares that every Σ_k t_ik is 1, and leaves the sum out; the derivative is then
    (p − t)/N instead of ((Σ_k t) p − t)/N. Targets that do not sum to 1 give another loss under it.
    Source: https://pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
    """
    N = f.shape[0]
    e = np.exp(f)
    z = e.sum(axis=1)
    if normalised:
        L = np.sum(np.log(z) - (t * f).sum(axis=1)) / N
    else:
        p = e / z[:, None]
        L = -np.sum(t * np.log(p)) / N
    return L


@forward
def focal_loss(f: "N K", y: "N int", *, gamma=2.0):
    """L = −1/N Σ_i (1 − q_i)^γ log q_i, q_i = softmax(f)_{i, y_i}: easy observations count less.

    Source: https://arxiv.org/abs/1708.02002
    """
    N = f.shape[0]
    e = np.exp(f)
    z = e.sum(axis=1)
    p = e / z[:, None]
    q = p[np.arange(N), y]
    L = -np.mean((1 - q) ** gamma * np.log(q))
    return L


@forward
def info_nce(q: "N D", k: "N D", *, tau=0.1):
    """L = −1/N Σ_i log softmax(q kᵀ / τ)_ii: each query's own key among all keys of the batch.

    Source: https://arxiv.org/abs/1807.03748
    """
    a = q @ k.T / tau
    e = np.exp(a)
    p = e / e.sum(axis=1, keepdims=True)
    L = -np.log(np.diagonal(p)).mean()
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

    f: (N, K) scores. y: (N,) labels 0, …, K − 1.
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
    """L = mean of r²/2 where |r| ≤ δ, else δ(|r| − δ/2), r = f − t; that is c (r − c/2), c = clip(r, −δ, δ).

    Source: https://en.wikipedia.org/wiki/Huber_loss
    """
    r = f - t
    c = np.clip(r, -delta, delta)
    L = np.mean(c * (r - 0.5 * c))
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
