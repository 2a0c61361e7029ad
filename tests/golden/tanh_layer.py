import numpy as np


def tanh_layer_forward(x, W, b):
    """a_ik = Σ_d x_id W_dk + b_k
    y_ik = tanh a_ik

    Shapes: x (N, D), W (D, K), b (K,) → y (N, K).
    """
    a = x @ W + b   # a_ik = Σ_d x_id W_dk + b_k  (N, K)
    y = np.tanh(a)  # y_ik = tanh a_ik  (N, K)
    return y, (x, W, y)


def tanh_layer_backward(dy, cache):
    """Gradients ∂L/∂x, ∂L/∂W, ∂L/∂b; dy is ∂L/∂y."""
    x, W, y = cache
    da = dy * (1 - y**2)  # ∂L/∂a_ik = ∂L/∂y_ik · (1 − y_ik²)  (N, K)
    dx = da @ W.T         # ∂L/∂x_id = Σ_k W_dk · ∂L/∂a_ik  (N, D)
    dW = x.T @ da         # ∂L/∂W_dj = Σ_i x_id · ∂L/∂a_ij  (D, K)
    db = da.sum(axis=0)   # ∂L/∂b_j = Σ_i ∂L/∂a_ij  (K,)
    return dx, dW, db
