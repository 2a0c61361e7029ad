"""The bias is regularised, too."""
# layer: two_layer_net
# faults: b2:wrong_operand

import numpy as np


def two_layer_net_backward(dL, x, W1, b1, W2, b2, y, reg=0.0):
    N = len(x)
    h = np.maximum(x.dot(W1) + b1, 0)
    s = h.dot(W2) + b2
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(N), y] -= 1
    p *= dL / N
    dh = p.dot(W2.T) * (h > 0)
    return dict(
        W2=h.T @ p + dL * reg * W2,
        b2=p.sum(0) + dL * reg * b2,
        W1=x.T @ dh + dL * reg * W1,
        b1=dh.sum(0),
        x=dh @ W1.T,
    )
