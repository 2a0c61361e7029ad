"""dout is laid out by filter before the filters are brought to the end."""
# layer: conv2d
# faults: W:transpose

import numpy as np


def im2col(x, HH, WW, s):
    N, C, H, W = x.shape
    Ho, Wo = (H - HH) // s + 1, (W - WW) // s + 1
    cols = np.zeros((N, Ho, Wo, C, HH, WW))
    for i in range(Ho):
        for j in range(Wo):
            cols[:, i, j] = x[:, :, i * s : i * s + HH, j * s : j * s + WW]
    return cols.reshape(N * Ho * Wo, -1), Ho, Wo


def conv2d_forward(x, w, b):
    F, C, HH, WW = w.shape
    cols, Ho, Wo = im2col(x, HH, WW, 1)
    out = cols @ w.reshape(F, -1).T + b
    return out.reshape(len(x), Ho, Wo, F).transpose(0, 3, 1, 2), (x, w, b, cols)


def conv2d_backward(dout, cache):
    x, w, b, cols = cache
    F, C, HH, WW = w.shape
    N, _, Ho, Wo = dout.shape
    d = dout.reshape(-1, F)
    db = dout.sum(axis=(0, 2, 3))
    dw = (d.T @ cols).reshape(w.shape)
    dcols = (dout.transpose(0, 2, 3, 1).reshape(-1, F) @ w.reshape(F, -1)).reshape(N, Ho, Wo, C, HH, WW)
    dx = np.zeros_like(x)
    for i in range(Ho):
        for j in range(Wo):
            dx[:, :, i : i + HH, j : j + WW] += dcols[:, i, j]
    return dx, dw, db
