"""The gradient through the mean is forgotten."""
# layer: layer_norm
# faults: x:missing_path

import numpy as np


def layer_norm_backward(dout, cache):
    x, gamma, beta = cache
    D = x.shape[1]
    mu = x.mean(1, keepdims=True)
    v = x.var(1, keepdims=True)
    s = 1 / np.sqrt(v + 1e-5)
    xh = (x - mu) * s
    dbeta = dout.sum(0)
    dgamma = (dout * xh).sum(0)
    g = dout * gamma
    dx = s / D * (D * g - xh * (g * xh).sum(1, keepdims=True))
    return dx, dgamma, dbeta
