"""Far away the gradient is the sign, not 1."""
# layer: huber
# faults: f:sign|missing_factor t:sign|missing_factor

import numpy as np


def huber_backward(dout, cache):
    f, t = cache
    r = f - t
    g = np.where(abs(r) <= 1, r, 1.0) / f.size
    return dout * g, -dout * g
