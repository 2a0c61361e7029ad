import numpy as np


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
    a = x @ W1 + b1               # a_im = Σ_d x_id W1_dm + b1_m  (N, M)
    h = np.maximum(a, 0)          # h_im = relu a_im  (N, M)
    f = h @ W2 + b2               # f_ik = Σ_m h_im W2_mk + b2_k  (N, K)
    top = f.max(axis=1)           # top_i = max_j f_ij  (N,)
    e = np.exp(f - top[:, None])  # e_ik = exp(f_ik − top_i)  (N, K)
    z = e.sum(axis=1)             # z_i = Σ_j e_ij  (N,)
    p = e / z[:, None]            # p_ik = e_ik / z_i  (N, K)
    # L = −(1/N) Σ_i (f[i, y_i] − (top_i + log z_i))  scalar
    L = -(f[np.arange(N), y] - (top + np.log(z))).sum() / N
    return L, (x, W1, W2, y, h, p)


def two_layer_net_backward(dL, cache):
    """Gradients ∂L/∂x, ∂L/∂W1, ∂L/∂b1, ∂L/∂W2, ∂L/∂b2; dL multiplies them, 1 for the loss itself."""
    x, W1, W2, y, h, p = cache
    N = x.shape[0]
    df = p.copy()               # ∂L/∂f_ik = (p_ik − 1(k = y_i)) / N  (N, K)
    df[np.arange(N), y] -= 1
    df *= dL / N
    da = (df @ W2.T) * (h > 0)  # ∂L/∂a_im = 1(h_im > 0) Σ_k W2_mk · ∂L/∂f_ik  (N, M)
    dx = da @ W1.T              # ∂L/∂x_id = Σ_m W1_dm · ∂L/∂a_im  (N, D)
    dW1 = x.T @ da              # ∂L/∂W1_dn = Σ_i x_id · ∂L/∂a_in  (D, M)
    db1 = da.sum(axis=0)        # ∂L/∂b1_n = Σ_i ∂L/∂a_in  (M,)
    dW2 = h.T @ df              # ∂L/∂W2_mj = Σ_i h_im · ∂L/∂f_ij  (M, K)
    db2 = df.sum(axis=0)        # ∂L/∂b2_j = Σ_i ∂L/∂f_ij  (K,)
    return dx, dW1, db1, dW2, db2, None
