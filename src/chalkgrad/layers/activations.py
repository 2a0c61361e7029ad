"""Elementwise activations, each over observations and features."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend import functions
from chalkgrad.frontend.forward import forward


@forward
def relu(x: "... D"):
    """a = max(x, 0). Source: https://cs231n.github.io/neural-networks-1/#actfun"""
    a = np.maximum(x, 0)
    return a


@forward
def leaky_relu(x: "... D", *, slope=0.01):
    """a = x where x > 0, else slope · x. Source: https://cs231n.github.io/neural-networks-1/#actfun"""
    a = np.where(x > 0, x, slope * x)
    return a


@forward
def elu(x: "... D", *, alpha=1.0):
    """a = x where x > 0, else α(eˣ − 1). Source: https://arxiv.org/abs/1511.07289"""
    a = np.where(x > 0, x, alpha * np.expm1(x))
    return a


@forward
def selu(x: "... D", *, alpha=1.6732632423543772, scale=1.0507009873554805):
    """a = scale · elu(x, α). Source: https://arxiv.org/abs/1706.02515"""
    a = scale * np.where(x > 0, x, alpha * np.expm1(x))
    return a


@forward
def sigmoid(x: "... D"):
    """a = 1 / (1 + e⁻ˣ). Source: https://cs231n.github.io/neural-networks-1/#actfun"""
    a = functions.sigmoid(x)
    return a


@forward
def tanh(x: "... D"):
    """a = tanh x. Source: https://cs231n.github.io/neural-networks-1/#actfun"""
    a = np.tanh(x)
    return a


@forward
def softplus(x: "... D"):
    """a = log(1 + eˣ). Source: https://en.wikipedia.org/wiki/Softplus"""
    a = functions.softplus(x)
    return a


@forward
def silu(x: "... D"):
    """a = x σ(x). Source: https://arxiv.org/abs/1606.08415"""
    a = functions.silu(x)
    return a


@forward
def gelu(x: "... D"):
    """a = x Φ(x), Φ the normal distribution function. Source: https://arxiv.org/abs/1606.08415"""
    a = functions.gelu(x)
    return a


@forward
def gelu_tanh(x: "... D"):
    """a = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))). Source: https://arxiv.org/abs/1606.08415"""
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    a = 0.5 * x * (1 + t)
    return a


@forward
def mish(x: "... D"):
    """a = x tanh(softplus(x)). Source: https://arxiv.org/abs/1908.08681"""
    t = np.tanh(functions.softplus(x))
    a = x * t
    return a


@forward
def hardswish(x: "... D"):
    """a = x · min(max(x + 3, 0), 6) / 6. Source: https://arxiv.org/abs/1905.02244"""
    a = x * np.clip(x + 3, 0, 6) / 6
    return a
