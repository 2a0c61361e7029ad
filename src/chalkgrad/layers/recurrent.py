"""One step of a recurrent network."""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward
from chalkgrad.frontend.functions import sigmoid


@forward
def rnn_cell(x: "N D", h: "N H", U: "D H", W: "H H", b: "H"):
    """h′ = tanh(x U + h W + b). Source: https://en.wikipedia.org/wiki/Recurrent_neural_network"""
    s = np.tanh(x @ U + h @ W + b)
    return s


@forward
def gru_cell(x: "N D", h: "N H", U: "3 D H", W: "3 H H", b: "3 H"):
    """h′ = (1 − z) ∘ n + z ∘ h, n = tanh(x U₂ + (r ∘ h) W₂ + b₂), gates r and z sigmoids of x and h.

    U, W and b hold, in order, the weights of the reset gate r, the update gate z and the candidate n.
    Source: https://arxiv.org/abs/1406.1078
    """
    r = sigmoid(x @ U[0] + h @ W[0] + b[0])
    z = sigmoid(x @ U[1] + h @ W[1] + b[1])
    n = np.tanh(x @ U[2] + (r * h) @ W[2] + b[2])
    s = (1 - z) * n + z * h
    return s


@forward
def lstm_cell(x: "N D", h: "N H", c: "N H", U: "4 D H", W: "4 H H", b: "4 H"):
    """c′ = f ∘ c + i ∘ g and h′ = o ∘ tanh c′; gates i, f, o are sigmoids of x and h, g a tanh.

    U, W and b hold, in order, the weights of i, f, g and o. Returns h′ and c′.
    Source: https://doi.org/10.1162/neco.1997.9.8.1735
    """
    i = sigmoid(x @ U[0] + h @ W[0] + b[0])
    f = sigmoid(x @ U[1] + h @ W[1] + b[1])
    g = np.tanh(x @ U[2] + h @ W[2] + b[2])
    o = sigmoid(x @ U[3] + h @ W[3] + b[3])
    cell = f * c + i * g
    t = np.tanh(cell)
    s = o * t
    return s, cell
