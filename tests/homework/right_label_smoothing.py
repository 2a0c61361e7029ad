"""A loss of one's own, its axes in the annotations."""
# layer: smooth
# faults: none

import numpy as np


def smooth_forward(f: "N K", y: "N int"):
    N, K = f.shape
    z = f - f.max(axis=1, keepdims=True)
    lp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    loss = -(0.9 * lp[np.arange(N), y] + 0.1 * lp.mean(axis=1)).mean()
    return loss, (lp, y)


def smooth_backward(dout, cache):
    lp, y = cache
    N, K = lp.shape
    d = np.exp(lp) - 0.1 / K
    d[np.arange(N), y] -= 0.9
    return dout * d / N
