"""Gamma multiplies the whole instead of what the sums run over."""
# layer: layer_norm
# faults: x:missing_factor|extra_factor

import numpy as np


def layernorm_forward(x, gamma, beta, ln_param):
    eps = ln_param.get("eps", 1e-5)
    mu = x.mean(axis=1, keepdims=True)
    std = np.sqrt(x.var(axis=1, keepdims=True) + eps)
    xh = (x - mu) / std
    return gamma * xh + beta, (xh, std, gamma)


def layernorm_backward(dout, cache):
    xh, std, gamma = cache
    D = xh.shape[1]
    dgamma = np.sum(dout * xh, axis=0)
    dbeta = dout.sum(axis=0)
    dx = (
        gamma
        * (D * dout - dout.sum(axis=1, keepdims=True) - xh * (dout * xh).sum(axis=1, keepdims=True))
        / (D * std)
    )
    return dx, dgamma, dbeta
