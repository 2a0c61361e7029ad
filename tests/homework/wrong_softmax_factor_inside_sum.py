"""The probabilities are left out of the inner sum."""
# layer: softmax
# faults: f:missing_factor

import numpy as np


def softmax_backward(dout, cache):
    (f,) = cache if isinstance(cache, tuple) else (cache,)
    e = np.exp(f - f.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return p * (dout - np.sum(dout, axis=1, keepdims=True))
