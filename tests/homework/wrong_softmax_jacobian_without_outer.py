"""p p entry by entry for the outer product."""
# layer: softmax
# faults: f:transpose|wrong_operand|missing_sum

import numpy as np


def softmax_backward(dout, cache):
    (f,) = cache if isinstance(cache, tuple) else (cache,)
    e = np.exp(f - f.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    df = np.zeros_like(f)
    for i in range(len(f)):
        J = np.diag(p[i]) - p[i] * p[i]
        df[i] = J @ dout[i]
    return df
