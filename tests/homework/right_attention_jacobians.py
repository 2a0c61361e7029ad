"""Each row's Jacobian of the softmax written out."""
# layer: attention
# faults: none

import numpy as np


def attention_forward(Q, K, V):
    S = np.matmul(Q, K.swapaxes(-1, -2)) * Q.shape[-1] ** -0.5
    A = np.exp(S - S.max(-1, keepdims=True))
    A /= A.sum(-1, keepdims=True)
    return A @ V, (Q, K, V, A)


def attention_backward(dO, cache):
    Q, K, V, A = cache
    dV = A.swapaxes(-1, -2) @ dO
    dA = dO @ V.swapaxes(-1, -2)
    dS = np.stack([(np.diag(a) - np.outer(a, a)) @ g for a, g in zip(A, dA)])
    dS = dS / np.sqrt(Q.shape[-1])
    return dS @ K, dS.swapaxes(-1, -2) @ Q, dV
