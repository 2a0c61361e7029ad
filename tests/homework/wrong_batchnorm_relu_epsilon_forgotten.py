"""The forward adds 0.001 under the root and the backward does not."""
# layer: bnrelu
# faults: x:missing_term|wrong_operand
# fix: dx = (N * dxh - dxh.sum(0) - xh * (dxh * xh).sum(0)) / (N * np.sqrt(var + 0.001))

import numpy as np


def bnrelu_forward(x: "N D", g: "D", b: "D"):
    mu = x.mean(axis=0)
    var = x.var(axis=0)
    xh = (x - mu) / np.sqrt(var + 0.001)
    y = g * xh + b
    return np.maximum(y, 0), (xh, var, g, y)


def bnrelu_backward(dout, cache):
    xh, var, g, y = cache
    N = len(dout)
    dy = dout * (y > 0)
    dxh = dy * g
    dx = (N * dxh - dxh.sum(0) - xh * (dxh * xh).sum(0)) / (N * np.sqrt(var))
    return dx, (dy * xh).sum(0), dy.sum(0)
