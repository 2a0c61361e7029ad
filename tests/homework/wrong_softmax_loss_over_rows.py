"""The probabilities are normalised over the observations."""

# layer: softmax_loss
# faults: -:unknown f:missing_path
import numpy as np


def softmax_loss(x, y):
    N = x.shape[0]
    p = np.exp(x - x.max(axis=0))
    p /= p.sum(axis=0)
    loss = -np.mean(np.log(p[np.arange(N), y]))
    dx = p.copy()
    dx[np.arange(N), y] -= 1
    return loss, dx / N
