"""exp(x) − 1 is the value, not the derivative."""
# layer: elu
# faults: x:missing_term

import numpy as np


def elu_backward(dout, cache):
    (x,) = cache if isinstance(cache, tuple) else (cache,)
    return np.where(x > 0, dout, dout * (np.exp(x) - 1))
