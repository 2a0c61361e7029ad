"""The lengths depend on the vectors, too."""
# layer: cosine_similarity
# faults: x:missing_path z:missing_path

import numpy as np


def cosine_similarity_backward(dout, cache):
    x, z = cache
    u = np.sqrt((x**2).sum(1))
    v = np.sqrt((z**2).sum(1))
    s = (x * z).sum(1) / (u * v)
    dx = (dout / (u * v))[:, None] * z
    dz = (dout / (u * v))[:, None] * x
    return dx, dz
