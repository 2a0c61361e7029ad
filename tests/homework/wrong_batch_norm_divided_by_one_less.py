"""The variance with N − 1."""
# layer: batch_norm
# faults: x:constant_factor γ:constant_factor

import numpy as np


def batch_norm_backward(dout, cache):
    x, gamma, beta = cache
    N = len(x)
    mu = x.mean(0)
    xc = x - mu
    v = x.var(0, ddof=1)
    s = 1 / np.sqrt(v + 1e-5)
    xh = xc * s
    g = dout * gamma
    dx = s / N * (N * g - g.sum(0) - xh * (g * xh).sum(0))
    return dx, (dout * xh).sum(0), dout.sum(0)
