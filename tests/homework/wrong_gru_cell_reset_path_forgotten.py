"""h reaches the candidate through the reset gate, too."""
# layer: gru_cell
# faults: h:missing_path|missing_term

import numpy as np


def sig(z):
    return 1 / (1 + np.exp(-z))


def gru_cell_backward(ds, cache):
    x, h, U, W, b = cache
    r = sig(x @ U[0] + h @ W[0] + b[0])
    z = sig(x @ U[1] + h @ W[1] + b[1])
    n = np.tanh(x @ U[2] + (r * h) @ W[2] + b[2])
    dn = ds * (1 - z) * (1 - n * n)
    dz = ds * (h - n) * z * (1 - z)
    drh = dn @ W[2].T
    dr = drh * h * r * (1 - r)
    dx = dr @ U[0].T + dz @ U[1].T + dn @ U[2].T
    dh = ds * z + dr @ W[0].T + dz @ W[1].T
    dU = np.stack([x.T @ dr, x.T @ dz, x.T @ dn])
    dW = np.stack([h.T @ dr, h.T @ dz, (r * h).T @ dn])
    db = np.stack([dr.sum(0), dz.sum(0), dn.sum(0)])
    return dx, dh, dU, dW, db
