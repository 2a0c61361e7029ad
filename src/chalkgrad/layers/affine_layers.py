"""Layers that are linear in each argument."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward


@forward
def affine(x: "... D", W: "D K", b: "K"):
    """f = x W + b, the scores of a fully-connected layer.

    x: (N, D) observations, or more leading axes. W: (D, K). b: (K,). Returns f: (N, K).
    Source: https://cs231n.github.io/linear-classify/
    """
    f = x @ W + b
    return f


@forward
def bilinear(x: "N D", A: "D E K", z: "N E"):
    """f_ik = Σ_de x_id A_dek z_ie.

    Source: https://pytorch.org/docs/stable/generated/torch.nn.Bilinear.html
    """
    f = np.einsum("id,dek,ie->ik", x, A, z)
    return f


@forward
def outer(x: "N D", z: "N E"):
    """o_ide = x_id z_ie, an outer product for each observation."""
    o = np.einsum("id,ie->ide", x, z)
    return o


@forward
def embedding(W: "V D", t: "N int"):
    """f_id = W_{t_i, d}: row t_i of the table W.

    W: (V, D) table. t: (N,) row numbers.
    Source: https://pytorch.org/docs/stable/generated/torch.nn.Embedding.html
    """
    f = W[t]
    return f


@forward
def dropout(x: "... D", mask: "... D bool", *, p=0.5):
    """a = x ∘ mask / (1 − p), inverted dropout; the caller draws the mask (true where kept).

    Source: https://cs231n.github.io/neural-networks-2/#reg
    """
    a = x * mask / (1 - p)
    return a
