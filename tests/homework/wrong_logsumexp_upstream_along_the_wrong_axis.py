"""The gradient from above lines up with the classes."""
# layer: logsumexp
# faults: f:transpose|shape|missing_factor

import numpy as np


def logsumexp_backward(dout, cache):
    (f,) = cache if isinstance(cache, tuple) else (cache,)
    e = np.exp(f - f.max(1, keepdims=True))
    return dout * e / e.sum(1, keepdims=True)
