"""The arguments, and so the gradients, in an order of one's own."""
# layer: batch_norm
# faults: none

import numpy as np


def batchnorm_forward(gamma, beta, x, eps=1e-5):
    s = 1 / np.sqrt(x.var(0) + eps)
    h = (x - x.mean(0)) * s
    return gamma * h + beta, (gamma, h, s)


def batchnorm_backward(dout, cache):
    gamma, h, s = cache
    dx = gamma * s * (dout - dout.mean(0) - h * (dout * h).mean(0))
    return (dout * h).sum(0), dout.sum(0), dx
