"""Normalisations: x̂ = (x − μ) / √(v + ε), then a scale γ and a shift β."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward


@forward
def batch_norm(x: "N D", γ: "D", β: "D", *, eps=1e-5):
    """out = γ x̂ + β, with mean and variance of each feature over the observations (training).

    Source: https://arxiv.org/abs/1502.03167
    """
    μ = x.mean(axis=0)
    c = x - μ
    v = (c**2).mean(axis=0)
    s = 1 / np.sqrt(v + eps)
    x̂ = c * s
    return γ * x̂ + β


@forward
def batch_norm_eval(x: "N D", γ: "D", β: "D", μ: "D", v: "D", *, eps=1e-5):
    """out = γ (x − μ) / √(v + ε) + β, with stored statistics (evaluation).

    Source: https://arxiv.org/abs/1502.03167
    """
    s = 1 / np.sqrt(v + eps)
    x̂ = (x - μ) * s
    return γ * x̂ + β


@forward
def layer_norm(x: "... D", γ: "D", β: "D", *, eps=1e-5):
    """out = γ x̂ + β, with mean and variance of each observation over its features.

    Source: https://arxiv.org/abs/1607.06450
    """
    μ = x.mean(axis=-1)
    c = x - μ[..., None]
    v = (c**2).mean(axis=-1)
    s = 1 / np.sqrt(v + eps)
    x̂ = c * s[..., None]
    return γ * x̂ + β


@forward
def rms_norm(x: "... D", γ: "D", *, eps=1e-5):
    """out = γ x / √(mean x² + ε). Source: https://arxiv.org/abs/1910.07467"""
    s = 1 / np.sqrt((x**2).mean(axis=-1) + eps)
    x̂ = x * s[..., None]
    return γ * x̂


@forward
def spatial_batch_norm(x: "N C H W", γ: "C", β: "C", *, eps=1e-5):
    """out = γ x̂ + β, with mean and variance of each channel over observations and places (training).

    Source: https://arxiv.org/abs/1502.03167
    """
    μ = x.mean(axis=(0, 2, 3))
    c = x - μ[:, None, None]
    v = (c**2).mean(axis=(0, 2, 3))
    s = 1 / np.sqrt(v + eps)
    x̂ = c * s[:, None, None]
    return γ[:, None, None] * x̂ + β[:, None, None]


@forward
def instance_norm(x: "N C H W", γ: "C", β: "C", *, eps=1e-5):
    """out = γ x̂ + β, with mean and variance of each channel of each observation over its places.

    Source: https://arxiv.org/abs/1607.08022
    """
    μ = x.mean(axis=(2, 3))
    c = x - μ[:, :, None, None]
    v = (c**2).mean(axis=(2, 3))
    s = 1 / np.sqrt(v + eps)
    x̂ = c * s[:, :, None, None]
    return γ[:, None, None] * x̂ + β[:, None, None]


@forward
def group_norm(x: "N G C H W", γ: "G C", β: "G C", *, eps=1e-5):
    """out = γ x̂ + β, with mean and variance of each group of channels of each observation.

    x: (N, G, C, H, W), the channels split into G groups of C: x.reshape(N, G, C, H, W), which copies nothing.
    Source: https://arxiv.org/abs/1803.08494
    """
    μ = x.mean(axis=(2, 3, 4))
    c = x - μ[:, :, None, None, None]
    v = (c**2).mean(axis=(2, 3, 4))
    s = 1 / np.sqrt(v + eps)
    x̂ = c * s[:, :, None, None, None]
    return γ[:, :, None, None] * x̂ + β[:, :, None, None]


@forward
def weight_norm(V: "D K", g: "K"):
    """W_dk = g_k V_dk / ‖V_·k‖: each column of the weights as a length times a direction.

    Source: https://arxiv.org/abs/1602.07868
    """
    n = np.sqrt((V**2).sum(axis=0))
    W = g * V / n
    return W
