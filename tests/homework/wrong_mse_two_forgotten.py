# layer: mse
# faults: f:constant_factor
import numpy as np


def mse_forward(pred, target):
    diff = pred - target
    return np.mean(diff**2), (diff,)


def mse_backward(dout, cache):
    (diff,) = cache
    dpred = dout * diff / diff.size
    return dpred, -dpred
