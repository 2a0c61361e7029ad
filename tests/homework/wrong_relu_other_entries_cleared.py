"""The entries that pass are cleared."""

# layer: relu
# fix: dx[x < 0] = 0
# faults: x:wrong_operand
import numpy as np


def relu_backward(dout, cache):
    x = cache
    dx = dout.copy()
    dx[x > 0] = 0
    return dx
