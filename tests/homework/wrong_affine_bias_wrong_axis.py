"""The bias is summed over the classes."""
# layer: affine
# faults: b:extra_sum|missing_sum|shape

import numpy as np


def affine_backward(dout, cache):
    x, W, b = cache
    return dout @ W.T, x.T @ dout, dout.sum(axis=1)
