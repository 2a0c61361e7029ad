import numpy as np


def softmax_forward(f):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i

    Shapes: f (N, K) → p (N, K).
    """
    m = f.max(axis=1)           # m_i = max_j f_ij  (N,)
    e = np.exp(f - m[:, None])  # e_ik = exp(f_ik − m_i)  (N, K)
    z = e.sum(axis=1)           # z_i = Σ_j e_ij  (N,)
    p = e / z[:, None]          # p_ik = e_ik / z_i  (N, K)
    return p, (p,)


def softmax_backward(dp, cache):
    """Gradients ∂L/∂f; dp is ∂L/∂p."""
    (p,) = cache
    # ∂L/∂f_ik = p_ik (∂L/∂p_ik − Σ_j p_ij · ∂L/∂p_ij)  (N, K)
    df = p * (dp - (p * dp).sum(axis=1, keepdims=True))
    return (df,)
