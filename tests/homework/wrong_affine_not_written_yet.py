"""Nothing is written yet."""

# layer: affine
# faults: x:shape W:shape b:shape
import numpy as np


def affine_forward(x, w, b):
    out = x.reshape(x.shape[0], -1).dot(w) + b
    cache = (x, w, b)
    return out, cache


def affine_backward(dout, cache):
    x, w, b = cache
    dx, dw, db = None, None, None
    # TODO: implement
    return dx, dw, db
