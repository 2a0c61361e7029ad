# layer: sigmoid
# faults: x:missing_factor
import numpy as np


def sigmoid_forward(x):
    s = 1 / (1 + np.exp(-x))
    return s, (x, s)


def sigmoid_backward(dout, cache):
    x, s = cache
    return dout * s
