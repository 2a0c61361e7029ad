"""2 A x is right for a symmetric A alone."""
# layer: quadratic_form
# faults: x:missing_path

import numpy as np


def quadratic_form_backward(dout, cache):
    x, A = cache
    return 2 * A @ x * dout, np.outer(x, x) * dout
