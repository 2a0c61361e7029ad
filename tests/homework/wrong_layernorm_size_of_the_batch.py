"""N stands for D throughout a line."""

# layer: layer_norm
# fix: dx = s / D * (D * dz - dz.sum(1, keepdims=True) - z * (dz * z).sum(1, keepdims=True))
# faults: x:wrong_operand
import numpy as np


def layernorm_backward(dout, cache):
    x, gamma, beta = cache
    N, D = x.shape
    mu = x.mean(1, keepdims=True)
    s = 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    z = (x - mu) * s
    dz = dout * gamma
    dx = s / N * (N * dz - dz.sum(1, keepdims=True) - z * (dz * z).sum(1, keepdims=True))
    return dx, (dout * z).sum(0), dout.sum(0)
