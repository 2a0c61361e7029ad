import torch


class SoftmaxLoss(torch.autograd.Function):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i
    L = −(1/N) Σ_i (f[i, y_i] − (m_i + log z_i))

    Shapes: f (N, K), y (N,) → L scalar.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(f, y):
        N = f.shape[0]
        y = y if y.is_floating_point() else y.long()  # whole numbers of any type
        m = f.amax(dim=1)              # m_i = max_j f_ij  (N,)
        e = torch.exp(f - m[:, None])  # e_ik = exp(f_ik − m_i)  (N, K)
        z = e.sum(dim=1)               # z_i = Σ_j e_ij  (N,)
        p = e / z[:, None]             # p_ik = e_ik / z_i  (N, K)
        # L = −(1/N) Σ_i (f[i, y_i] − (m_i + log z_i))  scalar
        L = -(f[torch.arange(N, device=f.device), y] - (m + torch.log(z))).sum() / N
        return L, p

    @staticmethod
    def setup_context(ctx, inputs, output):
        f, y = inputs
        _, p = output
        ctx.mark_non_differentiable(p)
        ctx.save_for_backward(f, y, p)

    @staticmethod
    def backward(ctx, dL, *_):
        """Gradients ∂L/∂f; dL multiplies them, 1 for the loss itself."""
        f, y, p = ctx.saved_tensors
        if torch.is_grad_enabled():  # differentiated again
            _, p = SoftmaxLoss.forward(f, y)
        N = f.shape[0]
        y = y if y.is_floating_point() else y.long()  # whole numbers of any type
        df = p.clone()  # ∂L/∂f_ik = (p_ik − 1(k = y_i)) / N  (N, K)
        df = df.index_put((torch.arange(N, device=f.device), y), df.new_full((), -1), accumulate=True)
        df = df * (dL / N)
        return df, None


def softmax_loss(f, y):
    """m_i = max_j f_ij
    e_ik = exp(f_ik − m_i)
    z_i = Σ_j e_ij
    p_ik = e_ik / z_i
    L = −(1/N) Σ_i (f[i, y_i] − (m_i + log z_i))

    Shapes: f (N, K), y (N,) → L scalar.
    """
    return SoftmaxLoss.apply(f, y)[0]
