import numpy as np


def mse_forward(yhat, t):
    """L = (1/(N D)) Σ_i Σ_d (ŷ_id − t_id)²

    Shapes: yhat (N, D), t (N, D) → L scalar.
    """
    N, D = yhat.shape
    L = ((yhat - t) ** 2).sum() / (N * D)  # L = (1/(N D)) Σ_i Σ_d (ŷ_id − t_id)²  scalar
    return L, (yhat, t)


def mse_backward(dL, cache):
    """Gradients ∂L/∂yhat, ∂L/∂t; dL multiplies them, 1 for the loss itself."""
    yhat, t = cache
    N, D = yhat.shape
    dyhat = 2 * dL / (D * N) * (yhat - t)  # ∂L/∂ŷ_id = 2 (ŷ_id − t_id) / (D N)  (N, D)
    dt = -dyhat                            # ∂L/∂t_id = −2 (ŷ_id − t_id) / (D N)  (N, D)
    return dyhat, dt
