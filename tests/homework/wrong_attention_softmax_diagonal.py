"""The softmax of the scores is differentiated as if it were elementwise."""
# layer: attention
# faults: q:diagonal_only k:diagonal_only

import numpy as np


def attention_backward(dout, cache):
    q, k, v = cache
    a = q @ k.T / np.sqrt(q.shape[1])
    e = np.exp(a - a.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    dv = p.T @ dout
    dp = dout @ v.T
    da = p * (1 - p) * dp / np.sqrt(q.shape[1])
    return da @ k, da.T @ q, dv
