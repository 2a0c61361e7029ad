import torch


class Softmax(torch.autograd.Function):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i

    Shapes: f (N, K) → p (N, K).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(f):
        m = f.amax(dim=1)              # m_i = max_j f_ij  (N,)
        e = torch.exp(f - m[:, None])  # e_ik = exp(f_ik − m_i)  (N, K)
        z = e.sum(dim=1)               # z_i = Σ_j e_ij  (N,)
        p = e / z[:, None]             # p_ik = e_ik / z_i  (N, K)
        return p

    @staticmethod
    def setup_context(ctx, inputs, output):
        p = output
        ctx.save_for_backward(p)

    @staticmethod
    def backward(ctx, dp):
        """Gradients ∂L/∂f; dp is ∂L/∂p."""
        (p,) = ctx.saved_tensors
        # ∂L/∂f_ik = p_ik (∂L/∂p_ik − Σ_j p_ij · ∂L/∂p_ij)  (N, K)
        df = p * (dp - (p * dp).sum(dim=1, keepdim=True))
        return df


def softmax(f):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i

    Shapes: f (N, K) → p (N, K).
    """
    return Softmax.apply(f)
