"""The sum inside the softmax gradient goes over the queries."""
# layer: attention
# faults: q:extra_sum k:extra_sum

import numpy as np


def attention_backward(dout, cache):
    q, k, v = cache
    a = q @ k.T / np.sqrt(q.shape[1])
    e = np.exp(a - a.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    dv = p.T @ dout
    dp = dout @ v.T
    da = p * (dp - (dp * p).sum(0, keepdims=True)) / np.sqrt(q.shape[1])
    return da @ k, da.T @ q, dv
