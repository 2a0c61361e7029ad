"""x is read three times, and its gradient adds two of them."""
# layer: attnblock
# faults: x:missing_path|missing_term

import numpy as np


def attnblock_forward(x: "T D", Wq: "D E", Wk: "D E", Wv: "D E"):
    q = x @ Wq
    k = x @ Wk
    v = x @ Wv
    s = q @ k.T / np.sqrt(q.shape[1])
    e = np.exp(s)
    p = e / e.sum(axis=1, keepdims=True)
    return p @ v, (x, Wq, Wk, Wv, q, k, v, p)


def attnblock_backward(dout, cache):
    x, Wq, Wk, Wv, q, k, v, p = cache
    dv = p.T @ dout
    dp = dout @ v.T
    ds = p * (dp - (dp * p).sum(1, keepdims=True)) / np.sqrt(q.shape[1])
    dq, dk = ds @ k, ds.T @ q
    dx = dq @ Wq.T + dk @ Wk.T
    return dx, x.T @ dq, x.T @ dk, x.T @ dv
