"""Two gradients change places in the return."""
# layer: batch_norm
# fix: return (dx, dgamma, dbeta)
# faults: γ:wrong_argument β:wrong_argument

import numpy as np


def batchnorm_backward(dout, x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(0) + eps)
    xn = (x - x.mean(0)) / std
    dbeta, dgamma = dout.sum(0), (dout * xn).sum(0)
    dxn = dout * gamma
    dx = (dxn - dxn.mean(0) - xn * (dxn * xn).mean(0)) / std
    return dx, dbeta, dgamma
