"""A net that begins with a norm: x reaches the centred value through the mean, too."""
# layer: pre
# faults: x:missing_path|missing_term

import numpy as np


def pre_forward(x: "N D", gamma: "D", W: "D K"):
    mu = x.mean(axis=1, keepdims=True)
    c = x - mu
    v = (c**2).mean(axis=1, keepdims=True)
    s = 1 / np.sqrt(v + 1e-5)
    h = c * s
    return np.tanh((gamma * h) @ W), (x, gamma, W, c, s, h)


def pre_backward(dout, cache):
    x, gamma, W, c, s, h = cache
    D = x.shape[1]
    t = np.tanh((gamma * h) @ W)
    da = dout * (1 - t**2)
    dW = (gamma * h).T @ da
    dgh = da @ W.T
    dgamma = (dgh * h).sum(0)
    dh = dgh * gamma
    dc = dh * s
    ds = (dh * c).sum(1, keepdims=True)
    dv = -0.5 * ds * s**3
    dc += 2 * c * dv / D
    dx = dc
    return dx, dgamma, dW
