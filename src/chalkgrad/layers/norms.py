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
def layer_norm(x: "N D", γ: "D", β: "D", *, eps=1e-5):
    """out = γ x̂ + β, with mean and variance of each observation over its features.

    Source: https://arxiv.org/abs/1607.06450
    """
    μ = x.mean(axis=1)
    c = x - μ[:, None]
    v = (c**2).mean(axis=1)
    s = 1 / np.sqrt(v + eps)
    x̂ = c * s[:, None]
    return γ * x̂ + β


@forward
def rms_norm(x: "N D", γ: "D", *, eps=1e-5):
    """out = γ x / √(mean x² + ε). Source: https://arxiv.org/abs/1910.07467"""
    s = 1 / np.sqrt((x**2).mean(axis=1) + eps)
    x̂ = x * s[:, None]
    return γ * x̂
