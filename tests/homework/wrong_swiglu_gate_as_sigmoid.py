"""The derivative of silu is more than the sigmoid."""
# layer: swiglu
# faults: x:missing_term|missing_factor W:missing_term|missing_factor

import numpy as np


def swiglu_backward(dout, cache):
    x, W, V = cache
    g = x @ W
    u = x @ V
    s = 1 / (1 + np.exp(-g))
    du = dout * g * s
    dg = dout * u * s
    return dg @ W.T + du @ V.T, x.T @ dg, x.T @ du
