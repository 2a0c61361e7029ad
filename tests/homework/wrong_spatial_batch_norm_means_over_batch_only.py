"""Both means go over the batch alone."""
# layer: spatial_batch_norm
# faults: x:missing_sum|mean_for_sum

import numpy as np


def spatial_batch_norm_backward(dout, cache):
    x, gamma, beta = cache
    mu = x.mean((0, 2, 3), keepdims=True)
    v = x.var((0, 2, 3), keepdims=True)
    s = 1 / np.sqrt(v + 1e-5)
    xh = (x - mu) * s
    M = x.shape[0]
    g = dout * gamma[:, None, None]
    dx = s * (g - g.mean((0), keepdims=True) - xh * (g * xh).mean((0), keepdims=True))
    return dx, (dout * xh).sum((0, 2, 3)), dout.sum((0, 2, 3))
