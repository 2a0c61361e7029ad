import torch


class TwoLayerNet(torch.autograd.Function):
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

    generate_vmap_rule = True

    @staticmethod
    def forward(x, W1, b1, W2, b2, y):
        N = x.shape[0]
        y = y if y.is_floating_point() else y.long()  # whole numbers of any type
        a = x @ W1 + b1                  # a_im = Σ_d x_id W1_dm + b1_m  (N, M)
        h = torch.relu(a)                # h_im = relu a_im  (N, M)
        f = h @ W2 + b2                  # f_ik = Σ_m h_im W2_mk + b2_k  (N, K)
        top = f.amax(dim=1)              # top_i = max_j f_ij  (N,)
        e = torch.exp(f - top[:, None])  # e_ik = exp(f_ik − top_i)  (N, K)
        z = e.sum(dim=1)                 # z_i = Σ_j e_ij  (N,)
        p = e / z[:, None]               # p_ik = e_ik / z_i  (N, K)
        # L = −(1/N) Σ_i (f[i, y_i] − (top_i + log z_i))  scalar
        L = -(f[torch.arange(N, device=x.device), y] - (top + torch.log(z))).sum() / N
        return L, h, p

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, W1, b1, W2, b2, y = inputs
        _, h, p = output
        ctx.mark_non_differentiable(h, p)
        ctx.save_for_backward(x, W1, b1, W2, b2, y, h, p)

    @staticmethod
    def backward(ctx, dL, *_):
        """Gradients ∂L/∂x, ∂L/∂W1, ∂L/∂b1, ∂L/∂W2, ∂L/∂b2; dL multiplies them, 1 for the loss itself."""
        x, W1, b1, W2, b2, y, h, p = ctx.saved_tensors
        if torch.is_grad_enabled():  # differentiated again
            _, h, p = TwoLayerNet.forward(x, W1, b1, W2, b2, y)
        N = x.shape[0]
        y = y if y.is_floating_point() else y.long()  # whole numbers of any type
        df = p.clone()              # ∂L/∂f_ik = (p_ik − 1(k = y_i)) / N  (N, K)
        df = df.index_put((torch.arange(N, device=x.device), y), df.new_full((), -1), accumulate=True)
        df = df * (dL / N)
        da = (df @ W2.T) * (h > 0)  # ∂L/∂a_im = 1(h_im > 0) Σ_k W2_mk · ∂L/∂f_ik  (N, M)
        dx = dW1 = db1 = dW2 = db2 = None
        if ctx.needs_input_grad[0]:
            dx = da @ W1.T          # ∂L/∂x_id = Σ_m W1_dm · ∂L/∂a_im  (N, D)
        if ctx.needs_input_grad[1]:
            dW1 = x.T @ da          # ∂L/∂W1_dn = Σ_i x_id · ∂L/∂a_in  (D, M)
        if ctx.needs_input_grad[2]:
            db1 = da.sum(dim=0)     # ∂L/∂b1_n = Σ_i ∂L/∂a_in  (M,)
        if ctx.needs_input_grad[3]:
            dW2 = h.T @ df          # ∂L/∂W2_mj = Σ_i h_im · ∂L/∂f_ij  (M, K)
        if ctx.needs_input_grad[4]:
            db2 = df.sum(dim=0)     # ∂L/∂b2_j = Σ_i ∂L/∂f_ij  (K,)
        return dx, dW1, db1, dW2, db2, None


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
    return TwoLayerNet.apply(x, W1, b1, W2, b2, y)[0]
