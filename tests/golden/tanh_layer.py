import numpy as np


def tanh_layer_forward(x, W, b):
    """z_ik = Σ_d x_id W_dk
    y_ik = tanh(z_ik + b_k)

    Shapes: x (N, D), W (D, K), b (K,) → y (N, K).
    """
    z = x @ W           # z_ik = Σ_d x_id W_dk  (N, K)
    y = np.tanh(z + b)  # y_ik = tanh(z_ik + b_k)  (N, K)
    return y, (x, W, y)


def tanh_layer_backward(dy, cache):
    """Gradients ∂L/∂x, ∂L/∂W, ∂L/∂b; dy is ∂L/∂y."""
    x, W, y = cache
    dz = dy * (1 - y**2)  # ∂L/∂z_ik = ∂L/∂y_ik · (1 − y_ik²)  (N, K)
    dx = dz @ W.T         # ∂L/∂x_id = Σ_k W_dk · ∂L/∂z_ik  (N, D)
    dW = x.T @ dz         # ∂L/∂W_dj = Σ_i x_id · ∂L/∂z_ij  (D, K)
    db = dz.sum(axis=0)   # ∂L/∂b_j = Σ_i ∂L/∂y_ij · (1 − y_ij²)  (K,)
    return dx, dW, db
