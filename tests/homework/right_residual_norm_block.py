"""A block with a norm and a way around it."""
# layer: block
# faults: none

import numpy as np


def block_forward(x: "N D", W: "D D", gamma: "D", beta: "D", eps=1e-5):
    mu = x.mean(axis=1, keepdims=True)
    s = 1 / np.sqrt(x.var(axis=1, keepdims=True) + eps)
    h = (x - mu) * s
    a = np.tanh((gamma * h + beta) @ W)
    return x + a, (x, W, gamma, beta, h, s, a)


def block_backward(dout, cache):
    x, W, gamma, beta, h, s, a = cache
    dz = dout * (1 - a * a)
    y = gamma * h + beta
    dW = y.T @ dz
    dy = dz @ W.T
    dh = dy * gamma
    dx = dout + s * (dh - dh.mean(1, keepdims=True) - h * (dh * h).mean(1, keepdims=True))
    return dx, dW, (dy * h).sum(0), dy.sum(0)
