"""The last transpose is forgotten."""

# layer: layer_norm
# faults: x:transpose
import numpy as np


def layernorm_forward(x, gamma, beta, ln_param):
    eps = ln_param.get("eps", 1e-5)
    xT = x.T
    mu = np.mean(xT, axis=0)
    var = np.var(xT, axis=0)
    std = np.sqrt(var + eps)
    z = ((xT - mu) / std).T
    out = gamma * z + beta
    cache = {"gamma": gamma, "z": z, "std": std}
    return out, cache


def layernorm_backward(dout, cache):
    gamma, z, std = cache["gamma"], cache["z"], cache["std"]
    N, D = dout.shape
    dbeta = dout.sum(axis=0)
    dgamma = np.sum(dout * z, axis=0)
    dz = dout.T * gamma.reshape(-1, 1)
    zT = z.T
    dx = 1 / (D * std) * (D * dz - dz.sum(axis=0) - zT * np.sum(dz * zT, axis=0))
    return dx, dgamma, dbeta
