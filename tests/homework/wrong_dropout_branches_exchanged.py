"""What was kept gets 0 and what was dropped the gradient."""
# layer: dropout
# fix: return np.where(mask, dout / (1 - p), 0)
# faults: x:wrong_operand|missing_mask

import numpy as np


def dropout_backward(dout, x, mask, p=0.5):
    return np.where(mask, 0, dout / (1 - p))
