"""The difference for its sign."""
# layer: mae
# faults: f:preactivation|wrong_operand t:preactivation|wrong_operand

import numpy as np


def mae_backward(dout, cache):
    f, t = cache
    r = f - t
    g = r / f.size * dout
    return g, -g
