"""Divided by the height alone."""
# layer: global_avg_pool
# faults: x:sum_for_mean

import numpy as np


def global_avg_pool_backward(dout, cache):
    (x,) = cache if isinstance(cache, tuple) else (cache,)
    return np.ones_like(x) * dout[:, :, None, None] / x.shape[2]
