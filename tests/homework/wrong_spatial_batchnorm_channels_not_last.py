"""dout is given another shape before the channels are brought to the end."""
# layer: spatial_batch_norm
# fix: d = dout.transpose(0, 2, 3, 1).reshape(-1, C)
# faults: x:transpose γ:transpose β:transpose

import numpy as np


def spatial_batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    N, C, H, W = x.shape
    xr = x.transpose(0, 2, 3, 1).reshape(-1, C)
    mu, var = xr.mean(0), xr.var(0)
    xh = (xr - mu) / np.sqrt(var + eps)
    out = (gamma * xh + beta).reshape(N, H, W, C).transpose(0, 3, 1, 2)
    return out, (xh, gamma, var, eps)


def spatial_batchnorm_backward(dout, cache):
    xh, gamma, var, eps = cache
    N, C, H, W = dout.shape
    d = dout.reshape(-1, C)
    dgamma = (d * xh).sum(0)
    dbeta = d.sum(0)
    dxh = d * gamma
    dx = (dxh - dxh.mean(0) - xh * (dxh * xh).mean(0)) / np.sqrt(var + eps)
    dx = dx.reshape(N, H, W, C).transpose(0, 3, 1, 2)
    return dx, dgamma, dbeta
