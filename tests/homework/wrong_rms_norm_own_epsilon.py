"""Right but for an ε of its own."""
# layer: rms_norm
# faults: x:wrong_operand γ:wrong_operand

import numpy as np


def rms_norm_backward(dout, cache):
    x, gamma = cache
    D = x.shape[1]
    s = 1 / np.sqrt((x**2).mean(1, keepdims=True) + 1e-8)
    g = dout * gamma
    return s * g - x * s**3 * (g * x).sum(1, keepdims=True) / D, (dout * x * s).sum(0)
