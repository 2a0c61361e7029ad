"""The weight (1 − q)^γ depends on the scores, too."""
# layer: focal_loss
# faults: f:missing_term

import numpy as np


def focal_loss_backward(dout, cache):
    f, y = cache
    N = len(y)
    r = np.arange(N)
    e = np.exp(f - f.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    q = p[r, y]
    d = p.copy()
    d[r, y] -= 1
    return dout * ((1 - q) ** 2)[:, None] * d / N
