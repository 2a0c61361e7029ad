# layer: two_layer_net
# faults: W2:constant_factor
import numpy as np


def two_layer_net_backward(dL, x, W1, b1, W2, b2, y, *, reg=0.0):
    N = x.shape[0]
    a = x @ W1 + b1
    h = np.maximum(0, a)
    scores = h @ W2 + b2
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dscores = p
    dscores[np.arange(N), y] -= 1
    dscores = dL * dscores / N
    dW2 = h.T @ dscores + 2 * dL * reg * W2
    db2 = dscores.sum(axis=0)
    dh = dscores @ W2.T
    da = dh * (h > 0)
    dW1 = x.T @ da + dL * reg * W1
    db1 = da.sum(axis=0)
    dx = da @ W1.T
    return {"x": dx, "W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
