"""The sum over the keys is not weighted with the probabilities."""
# layer: attention
# fix: ds = p * (dp - (p * dp).sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
# faults: q:missing_factor k:missing_factor

import numpy as np


def attention_forward(q, k, v):
    d = q.shape[-1]
    s = q @ k.T / np.sqrt(d)
    s = s - s.max(axis=-1, keepdims=True)
    p = np.exp(s)
    p /= p.sum(axis=-1, keepdims=True)
    return p @ v, (q, k, v, p)


def attention_backward(dout, cache):
    q, k, v, p = cache
    dv = np.einsum("ts,tf->sf", p, dout)
    dp = np.einsum("tf,sf->ts", dout, v)
    ds = p * (dp - dp.sum(-1, keepdims=True)) / np.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, dv
