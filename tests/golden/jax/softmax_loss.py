import jax
import jax.numpy as jnp


def softmax_loss_forward(f, y):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i
    L = −(1/N) Σ_i (f[i, y_i] − (m_i + log z_i))

    Shapes: f (N, K), y (N,) → L scalar.
    """
    N = f.shape[0]
    m = f.max(axis=1)            # m_i = max_j f_ij  (N,)
    e = jnp.exp(f - m[:, None])  # e_ik = exp(f_ik − m_i)  (N, K)
    z = e.sum(axis=1)            # z_i = Σ_j e_ij  (N,)
    p = e / z[:, None]           # p_ik = e_ik / z_i  (N, K)
    # L = −(1/N) Σ_i (f[i, y_i] − (m_i + log z_i))  scalar
    L = -(jnp.take_along_axis(f, y[..., None], axis=-1)[..., 0] - (m + jnp.log(z))).sum() / N
    return L, (y, p)


def softmax_loss_backward(dL, cache):
    """Gradients ∂L/∂f; dL multiplies them, 1 for the loss itself."""
    y, p = cache
    N = y.shape[0]
    df = p  # ∂L/∂f_ik = (p_ik − 1(k = y_i)) / N  (N, K)
    df = df.at[jnp.arange(N), y].add(-1, out_sharding=jax.typeof(df).sharding)
    df = df * (dL / N)
    return df, None


@jax.custom_vjp
def softmax_loss(f, y):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i
    L = −(1/N) Σ_i (f[i, y_i] − (m_i + log z_i))

    Shapes: f (N, K), y (N,) → L scalar.
    """
    return softmax_loss_forward(f, y)[0]


softmax_loss.defvjp(softmax_loss_forward, lambda cache, dL: softmax_loss_backward(dL, cache))
