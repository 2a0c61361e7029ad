"""The gradient from above is forgotten."""
# layer: logsumexp
# faults: f:missing_factor

import numpy as np


def logsumexp_backward(dout, cache):
    (f,) = cache if isinstance(cache, tuple) else (cache,)
    e = np.exp(f - f.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
