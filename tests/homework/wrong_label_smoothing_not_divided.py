"""Each class gets the whole of the smoothing instead of its share."""
# layer: smooth_loss
# faults: f:sum_for_mean|constant_factor|missing_factor

import numpy as np


def smooth_loss_forward(f: "N K", y: "N int"):
    """Cross entropy with label smoothing 0.1."""
    N, K = f.shape
    p = np.exp(f) / np.sum(np.exp(f), axis=1, keepdims=True)
    lp = np.log(p)
    nll = -lp[np.arange(N), y]
    uni = -lp.mean(axis=1)
    return np.mean(0.9 * nll + 0.1 * uni), (p, y)


def smooth_loss_backward(dout, cache):
    p, y = cache
    N, K = p.shape
    t = np.full_like(p, 0.1)
    t[np.arange(N), y] += 0.9
    return dout * (p - t) / N
