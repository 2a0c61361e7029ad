import jax
import jax.numpy as jnp


def affine_forward(x, W, b):
    """f_ik = Σ_d x_id W_dk + b_k

    Shapes: x (N, D), W (D, K), b (K,) → f (N, K).
    """
    f = x @ W + b  # f_ik = Σ_d x_id W_dk + b_k  (N, K)
    return f, (x, W)


def affine_backward(df, cache):
    """Gradients ∂L/∂x, ∂L/∂W, ∂L/∂b; df is ∂L/∂f."""
    x, W = cache
    # ∂L/∂x_id = Σ_k W_dk · ∂L/∂f_ik  (N, D)
    dx = jnp.einsum("ik,dk->id", df, W, out_sharding=jax.typeof(x).sharding)
    # ∂L/∂W_dj = Σ_i x_id · ∂L/∂f_ij  (D, K)
    dW = jnp.einsum("id,ij->dj", x, df, out_sharding=jax.typeof(W).sharding)
    db = df.sum(axis=0)  # ∂L/∂b_j = Σ_i ∂L/∂f_ij  (K,)
    return dx, dW, db


@jax.custom_vjp
def affine(x, W, b):
    """f_ik = Σ_d x_id W_dk + b_k

    Shapes: x (N, D), W (D, K), b (K,) → f (N, K).
    """
    return affine_forward(x, W, b)[0]


affine.defvjp(affine_forward, lambda cache, df: affine_backward(df, cache))
