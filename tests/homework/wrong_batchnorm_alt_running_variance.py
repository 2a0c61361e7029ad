"""The running variance stands where the batch's belongs."""
# layer: batch_norm
# faults: x:wrong_operand

import numpy as np


def batchnorm_forward(x, gamma, beta, bn_param):
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    N, D = x.shape
    rm = bn_param.get("running_mean", np.zeros(D))
    rv = bn_param.get("running_var", np.zeros(D))
    mu = x.mean(0)
    var = x.var(0)
    rm = momentum * rm + (1 - momentum) * mu
    rv = momentum * rv + (1 - momentum) * var
    bn_param["running_mean"] = rm
    bn_param["running_var"] = rv
    xhat = (x - mu) / np.sqrt(var + eps)
    return gamma * xhat + beta, (xhat, gamma, rv, eps)


def batchnorm_backward_alt(dout, cache):
    xhat, gamma, var, eps = cache
    N = dout.shape[0]
    dbeta = dout.sum(0)
    dgamma = (dout * xhat).sum(0)
    dx = gamma / np.sqrt(var + eps) / N * (N * dout - dbeta - xhat * dgamma)
    return dx, dgamma, dbeta
