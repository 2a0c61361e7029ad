"""The scale 1 - p multiplies where it has to divide."""
# layer: dropout
# fix: return dout * keep / (1 - p)
# faults: x:wrong_operand|constant_factor

import numpy as np


def dropout_forward(x, dropout_param):
    p = dropout_param["p"]
    keep = np.random.rand(*x.shape) > p
    return x * keep / (1 - p), (keep, p)


def dropout_backward(dout, cache):
    keep, p = cache
    return dout * keep * (1 - p)
