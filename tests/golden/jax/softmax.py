import jax
import jax.numpy as jnp


def softmax_forward(f):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i

    Shapes: f (N, K) → p (N, K).
    """
    m = f.max(axis=1)            # m_i = max_j f_ij  (N,)
    e = jnp.exp(f - m[:, None])  # e_ik = exp(f_ik − m_i)  (N, K)
    z = e.sum(axis=1)            # z_i = Σ_j e_ij  (N,)
    p = e / z[:, None]           # p_ik = e_ik / z_i  (N, K)
    return p, (p,)


def softmax_backward(dp, cache):
    """Gradients ∂L/∂f; dp is ∂L/∂p."""
    (p,) = cache
    # ∂L/∂f_ik = p_ik (∂L/∂p_ik − Σ_j p_ij · ∂L/∂p_ij)  (N, K)
    df = p * (dp - (p * dp).sum(axis=1, keepdims=True))
    return (df,)


@jax.custom_vjp
def softmax(f):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i

    Shapes: f (N, K) → p (N, K).
    """
    return softmax_forward(f)[0]


softmax.defvjp(softmax_forward, lambda cache, dp: softmax_backward(dp, cache))
