"""Penalties on weights."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward


@forward
def l2(W: "D K", *, lam=1.0):
    """L = λ/2 Σ W². Source: https://cs231n.github.io/neural-networks-2/#reg"""
    L = 0.5 * lam * np.sum(W * W)
    return L


@forward
def l1(W: "D K", *, lam=1.0):
    """L = λ Σ |W|. Source: https://cs231n.github.io/neural-networks-2/#reg"""
    L = lam * np.sum(np.abs(W))
    return L


@forward
def elastic_net(W: "D K", *, lam=1.0, ratio=0.5):
    """L = λ (r Σ |W| + (1 − r)/2 Σ W²). Source: https://en.wikipedia.org/wiki/Elastic_net_regularization"""
    L = lam * (ratio * np.sum(np.abs(W)) + 0.5 * (1 - ratio) * np.sum(W * W))
    return L
