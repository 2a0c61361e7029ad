"""The derivative of tanh is forgotten in the cell."""
# layer: lstm_cell
# faults: x:missing_term h:missing_term c:missing_term U:missing_term W:missing_term b:missing_term

import numpy as np


def sig(z):
    return 1 / (1 + np.exp(-z))


def lstm(x, h, c, U, W, b):
    i, f, g, o = (x @ U[k] + h @ W[k] + b[k] for k in range(4))
    i, f, g, o = sig(i), sig(f), np.tanh(g), sig(o)
    cell = f * c + i * g
    return i, f, g, o, cell, np.tanh(cell)


def lstm_cell_backward(ds, dcell_out, cache):
    x, h, c, U, W, b = cache
    i, f, g, o, cell, t = lstm(*cache)
    do = ds * t
    dcell = dcell_out + ds * o
    di = dcell * g * i * (1 - i)
    df = dcell * c * f * (1 - f)
    dg = dcell * i * (1 - g * g)
    do = do * o * (1 - o)
    dx = di @ U[0].T + df @ U[1].T + dg @ U[2].T + do @ U[3].T
    dh = di @ W[0].T + df @ W[1].T + dg @ W[2].T + do @ W[3].T
    dU = np.stack([x.T @ di, x.T @ df, x.T @ dg, x.T @ do])
    dW = np.stack([h.T @ di, h.T @ df, h.T @ dg, h.T @ do])
    db = np.stack([di.sum(0), df.sum(0), dg.sum(0), do.sum(0)])
    return dx, dh, dcell * f, dU, dW, db
