"""The derivative of the sigmoid for that of the whole."""
# layer: silu
# faults: x:missing_factor|missing_term

import numpy as np


def silu_backward(dout, cache):
    (x,) = cache if isinstance(cache, tuple) else (cache,)
    s = 1 / (1 + np.exp(-x))
    return dout * s * (1 - s)
