import numpy as np


def sigmoid_forward(x):
    """y_ik = σ(x_ik)

    Shapes: x (N, K) → y (N, K).
    """
    y = np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))  # y_ik = σ(x_ik)  (N, K)
    return y, (y,)


def sigmoid_backward(dy, cache):
    """Gradients ∂L/∂x; dy is ∂L/∂y."""
    (y,) = cache
    dx = y * dy * (1 - y)  # ∂L/∂x_ik = y_ik · ∂L/∂y_ik · (1 − y_ik)  (N, K)
    return (dx,)
