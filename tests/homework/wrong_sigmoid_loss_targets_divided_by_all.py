"""The gradient of the targets divided by N K for N."""
# layer: sigmoid_loss
# faults: t:constant_factor|mean_for_sum

import numpy as np


def sigmoid_loss_backward(dout, cache):
    f, t = cache
    p = 1 / (1 + np.exp(-f))
    return dout * (p - t) / len(f), -dout * f / f.size
