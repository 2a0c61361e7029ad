"""The loop over the observations leaves out the first."""

# layer: affine
# fix: for n in range(N):
# faults: W:missing_term
import numpy as np


def affine_backward(dout, cache):
    x, w, b = cache
    N = x.shape[0]
    dw = np.zeros_like(w)
    for n in range(1, N):
        dw += np.outer(x[n], dout[n])
    return dout @ w.T, dw, dout.sum(0)
