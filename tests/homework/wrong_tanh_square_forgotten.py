# layer: tanh
# faults: x:missing_factor
import numpy as np


def tanh_forward(x):
    t = np.tanh(x)
    return t, (x, t)


def tanh_backward(dout, cache):
    x, t = cache
    return dout * (1 - t)
