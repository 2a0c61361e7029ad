"""The slope of the sigmoid stands for that of SiLU."""

# layer: swiglu
# faults: x:missing_term W:missing_term
import numpy as np


def swiglu_backward(dout, cache):
    x, W, V = cache
    a = x @ W
    b = x @ V
    s = 1 / (1 + np.exp(-a))
    da = dout * b * s * (1 - s)
    db = dout * a * s
    return da @ W.T + db @ V.T, x.T @ da, x.T @ db
