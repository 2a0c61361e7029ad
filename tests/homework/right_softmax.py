# layer: softmax
# faults: none
import numpy as np


def softmax_forward(f):
    e = np.exp(f - f.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, p


def softmax_backward(dp, cache):
    p = cache
    df = p * (dp - (dp * p).sum(axis=1, keepdims=True))
    return df
