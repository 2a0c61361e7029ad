import jax
import jax.numpy as jnp


def two_layer_net_forward(x, W1, b1, W2, b2, y):
    """a_im = Σ_d x_id W1_dm + b1_m
    h_im = relu a_im
    f_ik = Σ_m h_im W2_mk + b2_k
    top_i = max_j f_ij
    e_ik = exp(f_ik − top_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i
    L = −(1/N) Σ_i (f[i, y_i] − (top_i + log z_i))

    Shapes: x (N, D), W1 (D, M), b1 (M,), W2 (M, K), b2 (K,), y (N,) → L scalar.
    """
    N = x.shape[0]
    a = x @ W1 + b1                # a_im = Σ_d x_id W1_dm + b1_m  (N, M)
    h = jax.nn.relu(a)             # h_im = relu a_im  (N, M)
    f = h @ W2 + b2                # f_ik = Σ_m h_im W2_mk + b2_k  (N, K)
    top = f.max(axis=1)            # top_i = max_j f_ij  (N,)
    e = jnp.exp(f - top[:, None])  # e_ik = exp(f_ik − top_i)  (N, K)
    z = e.sum(axis=1)              # z_i = Σ_j e_ij  (N,)
    p = e / z[:, None]             # p_ik = e_ik / z_i  (N, K)
    # L = −(1/N) Σ_i (f[i, y_i] − (top_i + log z_i))  scalar
    L = -(jnp.take_along_axis(f, y[..., None], axis=-1)[..., 0] - (top + jnp.log(z))).sum() / N
    return L, (x, W1, W2, y, h, p)


def two_layer_net_backward(dL, cache):
    """Gradients ∂L/∂x, ∂L/∂W1, ∂L/∂b1, ∂L/∂W2, ∂L/∂b2; dL multiplies them, 1 for the loss itself."""
    x, W1, W2, y, h, p = cache
    N = x.shape[0]
    df = p                      # ∂L/∂f_ik = (p_ik − 1(k = y_i)) / N  (N, K)
    df = df.at[jnp.arange(N), y].add(-1, out_sharding=jax.typeof(df).sharding)
    df = df * (dL / N)
    da = (df @ W2.T) * (h > 0)  # ∂L/∂a_im = 1(h_im > 0) Σ_k W2_mk · ∂L/∂f_ik  (N, M)
    # ∂L/∂x_id = Σ_m W1_dm · ∂L/∂a_im  (N, D)
    dx = jnp.einsum("im,dm->id", da, W1, out_sharding=jax.typeof(x).sharding)
    # ∂L/∂W1_dn = Σ_i x_id · ∂L/∂a_in  (D, M)
    dW1 = jnp.einsum("id,in->dn", x, da, out_sharding=jax.typeof(W1).sharding)
    db1 = da.sum(axis=0)        # ∂L/∂b1_n = Σ_i ∂L/∂a_in  (M,)
    # ∂L/∂W2_mj = Σ_i h_im · ∂L/∂f_ij  (M, K)
    dW2 = jnp.einsum("im,ij->mj", h, df, out_sharding=jax.typeof(W2).sharding)
    db2 = df.sum(axis=0)        # ∂L/∂b2_j = Σ_i ∂L/∂f_ij  (K,)
    return dx, dW1, db1, dW2, db2, None


@jax.custom_vjp
def two_layer_net(x, W1, b1, W2, b2, y):
    """a_im = Σ_d x_id W1_dm + b1_m
    h_im = relu a_im
    f_ik = Σ_m h_im W2_mk + b2_k
    top_i = max_j f_ij
    e_ik = exp(f_ik − top_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i
    L = −(1/N) Σ_i (f[i, y_i] − (top_i + log z_i))

    Shapes: x (N, D), W1 (D, M), b1 (M,), W2 (M, K), b2 (K,), y (N,) → L scalar.
    """
    return two_layer_net_forward(x, W1, b1, W2, b2, y)[0]


two_layer_net.defvjp(two_layer_net_forward, lambda cache, dL: two_layer_net_backward(dL, cache))
