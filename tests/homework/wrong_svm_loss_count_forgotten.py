"""The right class gets −1 instead of minus the number of violated margins."""
# layer: svm_loss
# faults: f:missing_sum

import numpy as np


def svm_loss_backward(dout, cache):
    f, y = cache
    N = len(y)
    r = np.arange(N)
    m = np.maximum(0, f - f[r, y][:, None] + 1)
    m[r, y] = 0
    df = (m > 0).astype(float)
    df[r, y] -= 1
    return dout * df / N
