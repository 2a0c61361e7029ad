import jax


def l2_forward(lam, W):
    """z = Σ_d Σ_k W_dk²
    L = λ z / 2

    Shapes: lam scalar, W (D, K) → L scalar.
    """
    z = (W**2).sum()   # z = Σ_d Σ_k W_dk²  scalar
    L = 0.5 * lam * z  # L = λ z / 2  scalar
    return L, (lam, W, z)


def l2_backward(dL, cache):
    """Gradients ∂L/∂lam, ∂L/∂W; dL multiplies them, 1 for the loss itself."""
    lam, W, z = cache
    dlam = 0.5 * dL * z  # ∂L/∂λ = z/2  scalar
    dW = dL * lam * W    # ∂L/∂W_dk = λ W_dk  (D, K)
    return dlam, dW


@jax.custom_vjp
def l2(lam, W):
    """z = Σ_d Σ_k W_dk²
    L = λ z / 2

    Shapes: lam scalar, W (D, K) → L scalar.
    """
    return l2_forward(lam, W)[0]


l2.defvjp(l2_forward, lambda cache, dL: l2_backward(dL, cache))
