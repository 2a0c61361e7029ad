"""The gradient that goes around the block is forgotten."""
# layer: resblock
# faults: x:missing_path

import numpy as np


def resblock_forward(x: "N D", W1: "D H", W2: "H D"):
    a = x @ W1
    h = np.maximum(a, 0)
    return x + h @ W2, (x, W1, W2, a, h)


def resblock_backward(dout, cache):
    x, W1, W2, a, h = cache
    dh = dout @ W2.T
    da = dh * (a > 0)
    return da @ W1.T, x.T @ da, h.T @ dout
