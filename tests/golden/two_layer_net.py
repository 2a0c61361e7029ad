import numpy as np


def two_layer_net_forward(x, W1, b1, W2, b2, y):
    """z_im = Σ_d x_id W1_dm
    h_im = relu(z_im + b1_m)
    f_ik = Σ_m h_im W2_mk + b2_k
    top_i = max_j f_ij
    e_ik = exp(f_ik − top_i)
    z2_i = Σ_j e_ij
    p_ik = e_ik / z2_i
    L = −(1/N) Σ_i (f[i, y_i] − (top_i + log z2_i))

    Shapes: x (N, D), W1 (D, M), b1 (M,), W2 (M, K), b2 (K,), y (N,) → L scalar.
    """
    N = x.shape[0]
    z = x @ W1                    # z_im = Σ_d x_id W1_dm  (N, M)
    h = np.maximum(z + b1, 0)     # h_im = relu(z_im + b1_m)  (N, M)
    f = h @ W2 + b2               # f_ik = Σ_m h_im W2_mk + b2_k  (N, K)
    top = f.max(axis=1)           # top_i = max_j f_ij  (N,)
    e = np.exp(f - top[:, None])  # e_ik = exp(f_ik − top_i)  (N, K)
    z2 = e.sum(axis=1)            # z2_i = Σ_j e_ij  (N,)
    p = e / z2[:, None]           # p_ik = e_ik / z2_i  (N, K)
    # L = −(1/N) Σ_i (f[i, y_i] − (top_i + log z2_i))  scalar
    L = -(f[np.arange(N), y] - (top + np.log(z2))).sum() / N
    return L, (x, W1, W2, y, h, p)


def two_layer_net_backward(dL, cache):
    """Gradients ∂L/∂x, ∂L/∂W1, ∂L/∂b1, ∂L/∂W2, ∂L/∂b2; dL multiplies them, 1 for the loss itself."""
    x, W1, W2, y, h, p = cache
    N = x.shape[0]
    df = p.copy()         # ∂L/∂f_ik = (p_ik − 1(k = y_i)) / N  (N, K)
    df[np.arange(N), y] -= 1
    df *= dL / N
    dh = df @ W2.T        # ∂L/∂h_im = Σ_k W2_mk · ∂L/∂f_ik  (N, M)
    dz = dh * (h > 0)     # ∂L/∂z_im = 1(h_im > 0) · ∂L/∂h_im  (N, M)
    dx = dz @ W1.T        # ∂L/∂x_id = Σ_m W1_dm · ∂L/∂z_im  (N, D)
    dW1 = x.T @ dz        # ∂L/∂W1_dn = Σ_i x_id · ∂L/∂z_in  (D, M)
    db1 = dz.sum(axis=0)  # ∂L/∂b1_n = Σ_i 1(h_in > 0) · ∂L/∂h_in  (M,)
    dW2 = h.T @ df        # ∂L/∂W2_mj = Σ_i h_im · ∂L/∂f_ij  (M, K)
    db2 = df.sum(axis=0)  # ∂L/∂b2_j = Σ_i ∂L/∂f_ij  (K,)
    return dx, dW1, db1, dW2, db2, None
