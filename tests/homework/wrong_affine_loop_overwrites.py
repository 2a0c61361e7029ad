"""= for += in a loop over the observations."""
# layer: affine
# faults: W:missing_sum

import numpy as np


def affine_backward(dout, cache):
    x, W, b = cache
    dW = np.zeros_like(W)
    db = np.zeros_like(b)
    dx = np.zeros_like(x)
    for i in range(len(x)):
        dW = np.outer(x[i], dout[i])
        db += dout[i]
        dx[i] = W.dot(dout[i])
    return dx, dW, db
