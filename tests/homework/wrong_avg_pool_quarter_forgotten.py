"""Each of four gets a quarter."""
# layer: avg_pool
# faults: x:constant_factor|sum_for_mean

import numpy as np


def avg_pool_backward(dout, cache):
    (x,) = cache if isinstance(cache, tuple) else (cache,)
    return dout.repeat(2, axis=2).repeat(2, axis=3)
