"""p times the upstream gradient, for p times its sum."""
# layer: log_softmax
# faults: f:missing_sum|diagonal_only

import numpy as np


def log_softmax_backward(dout, cache):
    (f,) = cache if isinstance(cache, tuple) else (cache,)
    e = np.exp(f - f.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return dout - p * dout
