"""A student's batch norm: one path of the graph is forgotten. `chalkgrad check` says which."""

import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0)
    xc = x - mu
    inv = 1 / np.sqrt((xc**2).mean(axis=0) + eps)
    xhat = xc * inv
    return gamma * xhat + beta, (xc, inv, xhat, gamma)


def batchnorm_backward(dout, cache):
    xc, inv, xhat, gamma = cache
    N = dout.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    dxhat = dout * gamma
    dvar = (dxhat * xc).sum(axis=0) * -0.5 * inv**3
    dx = dxhat * inv + dvar * 2 * xc / N
    return dx, dgamma, dbeta
