"""dx[:, y] takes all rows with all labels."""
# layer: softmax_loss
# fix: dx[np.arange(len(y)), y] -= 1
# faults: f:missing_mask

import numpy as np


def softmax_loss(x, y):
    N = x.shape[0]
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    loss = -np.log(p[np.arange(N), y]).sum() / N
    dx = p
    dx[:, y] -= 1
    dx /= N
    return loss, dx
