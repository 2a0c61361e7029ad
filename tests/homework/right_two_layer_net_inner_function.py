"""The forward in a function within."""
# layer: two_layer_net
# faults: none

import numpy as np


def two_layer_net_backward(dout, x, W1, b1, W2, b2, y, reg=0.0):
    N = len(y)

    def fwd():
        h = np.maximum(0, x @ W1 + b1)
        return h, h @ W2 + b2

    h, s = fwd()
    P = np.exp(s - s.max(1)[:, None])
    P /= P.sum(1)[:, None]
    Y = np.eye(P.shape[1])[y]
    d2 = (P - Y) / N * dout
    d1 = np.where(h > 0, d2 @ W2.T, 0)
    return d1 @ W1.T, x.T @ d1 + reg * W1 * dout, d1.sum(0), h.T @ d2 + reg * W2 * dout, d2.sum(0)
