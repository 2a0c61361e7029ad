"""Divided by the size where its root belongs."""

# layer: attention
# fix: ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / np.sqrt(d)
# faults: q:constant_factor k:constant_factor
import numpy as np


def attention_backward(do, q, k, v):
    d = q.shape[-1]
    s = q @ k.T / np.sqrt(d)
    p = np.exp(s - s.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    dv = p.T @ do
    dp = do @ v.T
    ds = p * (dp - (dp * p).sum(-1, keepdims=True)) / d
    return ds @ k, ds.T @ q, dv
