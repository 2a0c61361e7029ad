"""The 1/√D of the scores is forgotten, in the gradients of both queries and keys."""
# layer: attention
# faults: q:missing_factor k:missing_factor

import numpy as np


def attention_backward(dout, cache):
    q, k, v = cache
    a = q @ k.T / np.sqrt(q.shape[1])
    e = np.exp(a - a.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    dv = p.T @ dout
    dp = dout @ v.T
    da = p * (dp - (dp * p).sum(1, keepdims=True))
    dq = da @ k
    dk = da.T @ q
    return dq, dk, dv
