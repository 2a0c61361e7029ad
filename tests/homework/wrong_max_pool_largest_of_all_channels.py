"""win.max() is the largest entry of all channels together."""
# layer: max_pool
# fix: m = win == win.max(axis=(1, 2), keepdims=True)
# faults: x:wrong_operand

import numpy as np


def max_pool_forward_naive(x, pool_param):
    h, w, s = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    N, C, H, W = x.shape
    Ho, Wo = 1 + (H - h) // s, 1 + (W - w) // s
    out = np.empty((N, C, Ho, Wo))
    for i in range(Ho):
        for j in range(Wo):
            out[:, :, i, j] = x[:, :, i * s : i * s + h, j * s : j * s + w].max((2, 3))
    return out, (x, pool_param)


def max_pool_backward_naive(dout, cache):
    x, pp = cache
    h, w, s = pp["pool_height"], pp["pool_width"], pp["stride"]
    N, C, Ho, Wo = dout.shape
    dx = np.zeros_like(x)
    for n in range(N):
        for i in range(Ho):
            for j in range(Wo):
                win = x[n, :, i * s : i * s + h, j * s : j * s + w]
                m = win == win.max()
                dx[n, :, i * s : i * s + h, j * s : j * s + w] += m * dout[n, :, i, j][:, None, None]
    return dx
