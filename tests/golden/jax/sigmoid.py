import jax


def sigmoid_forward(x):
    """y_ik = σ(x_ik)

    Shapes: x (N, K) → y (N, K).
    """
    y = jax.nn.sigmoid(x)  # y_ik = σ(x_ik)  (N, K)
    return y, (y,)


def sigmoid_backward(dy, cache):
    """Gradients ∂L/∂x; dy is ∂L/∂y."""
    (y,) = cache
    dx = y * dy * (1 - y)  # ∂L/∂x_ik = y_ik · ∂L/∂y_ik · (1 − y_ik)  (N, K)
    return (dx,)


@jax.custom_vjp
def sigmoid(x):
    """y_ik = σ(x_ik)

    Shapes: x (N, K) → y (N, K).
    """
    return sigmoid_forward(x)[0]


sigmoid.defvjp(sigmoid_forward, lambda cache, dy: sigmoid_backward(dy, cache))
