"""Two lines too many."""
# layer: affine
# fix: (leave this line out)
# faults: W:mean_for_sum b:constant_factor

import numpy as np


def affine_backward(dout, cache):
    x, w, b = cache
    N = x.shape[0]
    dx = dout @ w.T
    dw = x.T @ dout
    dw /= N
    db = dout.sum(0)
    db *= 2
    return dx, dw, db
