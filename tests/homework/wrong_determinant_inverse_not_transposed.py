"""The inverse without its transpose."""
# layer: determinant
# faults: X:transpose

import numpy as np


def determinant_backward(dout, cache):
    (A,) = cache if isinstance(cache, tuple) else (cache,)
    return dout * np.linalg.det(A) * np.linalg.inv(A)
