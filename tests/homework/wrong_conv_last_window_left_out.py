"""The loop ends one window too early."""
# layer: conv2d
# fix: for i in range(Ho):
# faults: x:missing_term

import numpy as np


def conv_backward(dout, x, w, b):
    F, C, HH, WW = w.shape
    N, _, Ho, Wo = dout.shape
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    db = np.einsum("nfhw->f", dout)
    for n in range(N):
        for f in range(F):
            for i in range(Ho - 1):
                for j in range(Wo):
                    dx[n, :, i : i + HH, j : j + WW] += w[f] * dout[n, f, i, j]
    for i in range(HH):
        for j in range(WW):
            dw[:, :, i, j] = np.einsum("nfhw,nchw->fc", dout, x[:, :, i : i + Ho, j : j + Wo])
    return dx, dw, db
