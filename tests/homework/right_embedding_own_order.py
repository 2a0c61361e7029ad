"""The forward takes the tokens first."""
# layer: embedding
# faults: none

import numpy as np


def embedding_forward(tokens, W):
    return W[tokens], (tokens, W.shape)


def embedding_backward(dout, cache):
    tokens, shape = cache
    dW = np.zeros(shape)
    np.add.at(dW, tokens, dout)
    return dW
