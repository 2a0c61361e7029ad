"""The length of v is taken as a constant."""
# layer: weight_norm
# faults: V:missing_path

import numpy as np


def weight_norm_backward(dout, cache):
    v, g = cache
    n = np.sqrt((v**2).sum(0))
    return dout * g / n, (dout * v / n).sum(0)
