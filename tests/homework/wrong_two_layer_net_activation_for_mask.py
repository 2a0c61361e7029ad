"""The hidden layer itself stands where its mask belongs."""
# layer: two_layer_net
# fix: dh = p.dot(W2.T) * (h > 0)
# faults: x:extra_factor W1:extra_factor b1:extra_factor

import numpy as np


def two_layer_net_backward(dL, x, W1, b1, W2, b2, y, reg=0.0):
    N = len(x)
    a = x.dot(W1) + b1
    h = np.maximum(a, 0)
    s = h.dot(W2) + b2
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(N), y] -= 1
    p *= dL / N
    dh = p.dot(W2.T) * h
    return dict(
        W2=h.T @ p + dL * reg * W2, b2=p.sum(0), W1=x.T @ dh + dL * reg * W1, b1=dh.sum(0), x=dh @ W1.T
    )
