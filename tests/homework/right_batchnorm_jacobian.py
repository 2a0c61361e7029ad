"""Each feature's Jacobian written out."""
# layer: batch_norm
# faults: none

import numpy as np


def batchnorm_backward(dout, x, gamma, beta, eps=1e-5):
    N, D = x.shape
    mu, var = x.mean(0), x.var(0)
    s = 1 / np.sqrt(var + eps)
    xh = (x - mu) * s
    dx = np.zeros_like(x)
    for d in range(D):
        J = s[d] * (np.eye(N) - 1 / N - np.outer(xh[:, d], xh[:, d]) / N)
        dx[:, d] = J.T @ (gamma[d] * dout[:, d])
    return dx, (dout * xh).sum(0), dout.sum(0)
