"""The condition of the gradient forgets the margin of 1."""
# layer: svm_loss
# fix: if margin > 0:
# faults: f:wrong_operand|missing_term

import numpy as np


def svm_loss(x, y):
    N, C = x.shape
    loss = 0
    dx = np.zeros(x.shape)
    for i in range(N):
        for j in range(C):
            if j == y[i]:
                continue
            margin = x[i, j] - x[i, y[i]] + 1
            if margin > 0:
                loss += margin
            if x[i, j] - x[i, y[i]] > 0:
                dx[i, j] += 1
                dx[i, y[i]] -= 1
    return loss / N, dx / N
