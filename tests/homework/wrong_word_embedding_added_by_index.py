"""+= on an array of tokens adds once for a token that stands there twice."""
# layer: word_embedding
# faults: W:missing_sum

import numpy as np


def word_embedding_forward(x, W):
    """x: Integer array of shape (N, T) giving indices.
    W: weights of shape (V, D)
    """
    return W[x], (x, W.shape)


def word_embedding_backward(dout, cache):
    x, shape = cache
    dW = np.zeros(shape)
    dW[x] += dout
    return dW
