"""The inverses without their transposes."""
# layer: inverse
# faults: X:transpose

import numpy as np


def inverse_backward(dout, cache):
    (A,) = cache if isinstance(cache, tuple) else (cache,)
    B = np.linalg.inv(A)
    return -B @ dout @ B
