"""The minus of the second argument is forgotten."""
# layer: pairwise_distances
# faults: z:sign

import numpy as np


def pairwise_distances_backward(dout, cache):
    x, z = cache
    diff = x[:, None] - z[None]
    d = np.sqrt((diff**2).sum(-1))
    g = (dout / d)[..., None] * diff
    return g.sum(1), g.sum(0)
