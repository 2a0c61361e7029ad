"""Rows are stored: of a token that comes twice the last gradient stays."""
# layer: embedding
# faults: W:missing_sum

import numpy as np


def embedding_backward(dout, cache):
    W, t = cache
    dW = np.zeros_like(W)
    dW[t] = dout
    return dW
