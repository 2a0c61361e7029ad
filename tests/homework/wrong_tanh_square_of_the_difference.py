"""The square is taken of 1 - out."""

# layer: tanh
# fix: dx = dout * (1 - out ** 2)
# faults: x:wrong_operand
import numpy as np


def tanh_forward(x):
    out = np.tanh(x)
    return out, out


def tanh_backward(dout, cache):
    out = cache
    dx = dout * (1 - out) ** 2
    return dx
