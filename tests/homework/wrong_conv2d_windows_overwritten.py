"""Windows overlap: what one stored the next overwrites."""
# layer: conv2d
# faults: x:missing_sum

import numpy as np


def conv2d_backward(dout, cache):
    x, w, b = cache
    N, C, H, W_ = x.shape
    F, _, HH, WW = w.shape
    dx = np.zeros_like(x)
    dw = np.zeros_like(w)
    db = dout.sum((0, 2, 3))
    _, _, OH, OW = dout.shape
    for i in range(OH):
        for j in range(OW):
            dw += np.einsum("nf,nchw->fchw", dout[:, :, i, j], x[:, :, i : i + HH, j : j + WW])
            dx[:, :, i : i + HH, j : j + WW] = np.einsum("nf,fchw->nchw", dout[:, :, i, j], w)
    return dx, dw, db
