"""Without keepdims the sums of the rows line up with the columns."""
# layer: layer_norm
# faults: x:shape

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
    g = dout * gamma
    dx = (D * g - g.sum(axis=1) - xh * (g * xh).sum(axis=1, keepdims=True)) / (D * std)
    return dx, dgamma, dbeta
