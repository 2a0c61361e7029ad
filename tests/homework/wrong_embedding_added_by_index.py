"""+= on an array of indices adds once for each row, not once for each token."""
# layer: embedding
# faults: W:missing_sum

import numpy as np


def embedding_backward(dout, cache):
    W, t = cache
    dW = np.zeros_like(W)
    dW[t] += dout
    return dW
