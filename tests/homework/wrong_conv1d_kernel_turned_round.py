"""The kernel is turned round once too often."""
# layer: conv1d
# faults: x:wrong_operand

import numpy as np


def conv1d_backward(dout, cache):
    x, w, b = cache
    F, C, L = w.shape
    dx = np.zeros_like(x)
    dw = np.zeros_like(w)
    for t in range(dout.shape[2]):
        dw += np.einsum("nf,ncl->fcl", dout[:, :, t], x[:, :, t : t + L])
        dx[:, :, t : t + L] += np.einsum("nf,fcl->ncl", dout[:, :, t], w[:, :, ::-1])
    return dx, dw, dout.sum((0, 2))
