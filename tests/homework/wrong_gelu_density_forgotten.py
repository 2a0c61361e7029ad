"""The term with the normal density is forgotten."""
# layer: gelu
# faults: x:missing_term

import numpy as np


def gelu_backward(dout, cache):
    from math import erf

    (x,) = cache if isinstance(cache, tuple) else (cache,)
    return dout * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))
