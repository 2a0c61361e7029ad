"""The gradient that comes into the cell is forgotten."""
# layer: lstm_cell
# faults: x:missing_path h:missing_path c:missing_path U:missing_path W:missing_path b:missing_path

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
    dcell = ds * o * (1 - t * t)
    df, di, dg = dcell * c, dcell * g, dcell * i
    da = [di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)]
    dx = sum(a @ U[k].T for k, a in enumerate(da))
    dh = sum(a @ W[k].T for k, a in enumerate(da))
    return (
        dx,
        dh,
        dcell * f,
        np.stack([x.T @ a for a in da]),
        np.stack([h.T @ a for a in da]),
        np.stack([a.sum(0) for a in da]),
    )
