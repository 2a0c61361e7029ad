"""W for its transpose."""
# layer: affine
# faults: x:transpose|shape

import numpy as np


def affine_backward(dout, cache):
    x, W, b = cache
    dx = dout.dot(W)
    dW = x.T.dot(dout)
    db = np.sum(dout, 0)
    return dx, dW, db
