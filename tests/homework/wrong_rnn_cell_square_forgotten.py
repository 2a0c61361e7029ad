"""1 − a for 1 − a²."""
# layer: rnn_cell
# faults: x:missing_factor h:missing_factor U:missing_factor W:missing_factor b:missing_factor

import numpy as np


def rnn_cell_backward(dout, cache):
    x, h, Wx, Wh, b = cache
    a = np.tanh(x @ Wx + h @ Wh + b)
    da = dout * (1 - a)
    return da @ Wx.T, da @ Wh.T, x.T @ da, h.T @ da, da.sum(0)
