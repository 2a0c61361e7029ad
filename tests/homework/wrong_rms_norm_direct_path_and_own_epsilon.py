"""The root is taken as a constant, and ε is another."""
# layer: rms_norm
# faults: x:missing_path γ:wrong_operand

import numpy as np


def rms_norm_backward(dout, cache):
    x, gamma = cache
    s = 1 / np.sqrt((x**2).mean(1, keepdims=True) + 1e-6)
    return dout * gamma * s, (dout * x * s).sum(0)
