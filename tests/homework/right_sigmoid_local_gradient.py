"""The derivative alone, without a gradient from above."""
# layer: sigmoid
# faults: none

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def sigmoid_gradient(z):
    s = sigmoid(z)
    return s * (1 - s)
