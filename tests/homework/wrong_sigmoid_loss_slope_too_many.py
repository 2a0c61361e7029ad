"""The slope of the sigmoid is multiplied in, which the loss cancels."""

# layer: sigmoid_loss
# faults: f:missing_factor|extra_factor
import numpy as np


def bce_with_logits_backward(dout, cache):
    f, t = cache
    N = f.shape[0]
    p = 1 / (1 + np.exp(-f))
    df = (p - t) * p * (1 - p) / N
    return dout * df
