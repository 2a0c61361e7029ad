"""Triplets that are apart enough have no gradient."""
# layer: triplet_loss
# faults: a:missing_mask p:missing_mask n:missing_mask

import numpy as np


def triplet_loss_backward(dout, cache):
    a, p, n = cache
    r = a - p
    s = a - n
    u = np.sqrt((r**2).sum(1, keepdims=True))
    v = np.sqrt((s**2).sum(1, keepdims=True))
    N = len(a)
    return dout * (r / u - s / v) / N, -dout * r / u / N, dout * s / v / N
