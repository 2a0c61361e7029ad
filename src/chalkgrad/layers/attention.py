"""Attention, and what stands beside it in a transformer."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward, written
from chalkgrad.frontend.functions import silu


@forward(leading=0)
def attention(q: "... T D", k: "... S D", v: "... S E", mask: "T S" = None, *, causal=False):
    """o = softmax(q kᵀ / √D + mask) v over the keys; heads and batches are leading axes.

    q: (..., T, D) queries. k: (..., S, D) keys. v: (..., S, E) values. mask: (T, S), added to the scores.
    causal: place t sees the places up to t only. Source: https://arxiv.org/abs/1706.03762
    """
    T, D = q.shape[-2:]
    S = k.shape[-2]
    u = q / np.sqrt(D)
    a = u @ k.mT
    if mask is not None:
        a = a + mask
    if causal:
        a = np.where(np.arange(S) <= np.arange(T)[:, None], a, -np.inf)
    e = np.exp(a)
    p = e / e.sum(axis=-1, keepdims=True)
    o = p @ v
    return o


@written
def rope(*, base=10000):
    """o_tpe = x_tpe cos θ_tp + (2e − 1) x_{t, p, 1−e} sin θ_tp, θ_tp = t · base^(−p/|P|): rotary positions.

    x: (T, P, 2), the features of each place as P pairs: x.reshape(T, D // 2, 2).
    Source: https://arxiv.org/abs/2104.09864
    """
    return f"""
        x: T P E
        range e: 2
        a[t,p] = t * {base}^(-p / size(p))
        o[t,p,e] = x[t,p,e] * cos(a[t,p]) + (2*e - 1) * x[t,p,1-e] * sin(a[t,p])
    """


@forward
def swiglu(x: "... D", W: "D H", V: "D H"):
    """h = silu(x W) ∘ x V. Source: https://arxiv.org/abs/2002.05202"""
    a = x @ W
    b = x @ V
    h = silu(a) * b
    return h


@forward
def mixture_gate(x: "N D", A: "D E", W: "E D K"):
    """o_ik = Σ_e p_ie Σ_d x_id W_edk, p = softmax(x A): experts weighted by a soft gate.

    Source: https://doi.org/10.1162/neco.1991.3.1.79
    """
    e = np.exp(x @ A)
    p = e / e.sum(axis=1, keepdims=True)
    h = np.einsum("id,edk->iek", x, W)
    o = np.einsum("ie,iek->ik", p, h)
    return o
