import numpy as np


def affine_forward(x, W, b):
    """f_ik = Σ_d x_id W_dk + b_k

    Shapes: x (N, D), W (D, K), b (K,) → f (N, K).
    """
    f = x @ W + b  # f_ik = Σ_d x_id W_dk + b_k  (N, K)
    return f, (x, W)


def affine_backward(df, cache):
    """Gradients ∂L/∂x, ∂L/∂W, ∂L/∂b; df is ∂L/∂f."""
    x, W = cache
    dx = df @ W.T        # ∂L/∂x_id = Σ_k W_dk · ∂L/∂f_ik  (N, D)
    dW = x.T @ df        # ∂L/∂W_dj = Σ_i x_id · ∂L/∂f_ij  (D, K)
    db = df.sum(axis=0)  # ∂L/∂b_j = Σ_i ∂L/∂f_ij  (K,)
    return dx, dW, db
