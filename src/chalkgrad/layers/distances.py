"""Distances and similarities, and the losses that are made of them."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward


@forward
def cosine_similarity(x: "N D", z: "N D"):
    """s_i = Σ_d x_id z_id / (‖x_i‖ ‖z_i‖). Source: https://en.wikipedia.org/wiki/Cosine_similarity"""
    u = np.sqrt((x**2).sum(axis=1))
    v = np.sqrt((z**2).sum(axis=1))
    s = (x * z).sum(axis=1) / (u * v)
    return s


@forward
def cosine_embedding(x: "N D", z: "N D", t: "N int", *, margin=0.0):
    """L = 1/N Σ_i (1 − s_i where t_i = 1, else max(0, s_i − margin)), s_i = cos(x_i, z_i).

    t: (N,) 1 for a pair that belongs together, anything else for one that does not.
    Source: https://pytorch.org/docs/stable/generated/torch.nn.CosineEmbeddingLoss.html
    """
    u = np.sqrt((x**2).sum(axis=1))
    v = np.sqrt((z**2).sum(axis=1))
    s = (x * z).sum(axis=1) / (u * v)
    L = np.mean(np.where(t == 1, 1 - s, np.maximum(s - margin, 0)))
    return L


@forward
def triplet_loss(a: "N D", p: "N D", n: "N D", *, margin=1.0):
    """L = 1/N Σ_i max(0, ‖a_i − p_i‖ − ‖a_i − n_i‖ + margin): anchor, positive, negative.

    Source: https://en.wikipedia.org/wiki/Triplet_loss
    """
    r = a - p
    s = a - n
    u = np.sqrt((r**2).sum(axis=1))
    v = np.sqrt((s**2).sum(axis=1))
    L = np.mean(np.maximum(u - v + margin, 0))
    return L


@forward
def pairwise_distances(x: "N D", z: "M D", *, squared=False):
    """d_im = ‖x_i − z_m‖, or its square.

    Source: https://en.wikipedia.org/wiki/Euclidean_distance_matrix
    """
    s = ((x[:, None, :] - z[None, :, :]) ** 2).sum(axis=2)
    if squared:
        return s
    d = np.sqrt(s)
    return d
