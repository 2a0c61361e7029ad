import torch


class TanhLayer(torch.autograd.Function):
    """a_ik = Σ_d x_id W_dk + b_k
    y_ik = tanh a_ik

    Shapes: x (N, D), W (D, K), b (K,) → y (N, K).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x, W, b):
        a = x @ W + b      # a_ik = Σ_d x_id W_dk + b_k  (N, K)
        y = torch.tanh(a)  # y_ik = tanh a_ik  (N, K)
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, W, _ = inputs
        y = output
        ctx.save_for_backward(x, W, y)

    @staticmethod
    def backward(ctx, dy):
        """Gradients ∂L/∂x, ∂L/∂W, ∂L/∂b; dy is ∂L/∂y."""
        x, W, y = ctx.saved_tensors
        da = dy * (1 - y**2)    # ∂L/∂a_ik = ∂L/∂y_ik · (1 − y_ik²)  (N, K)
        dx = dW = db = None
        if ctx.needs_input_grad[0]:
            dx = da @ W.T       # ∂L/∂x_id = Σ_k W_dk · ∂L/∂a_ik  (N, D)
        if ctx.needs_input_grad[1]:
            dW = x.T @ da       # ∂L/∂W_dj = Σ_i x_id · ∂L/∂a_ij  (D, K)
        if ctx.needs_input_grad[2]:
            db = da.sum(dim=0)  # ∂L/∂b_j = Σ_i ∂L/∂a_ij  (K,)
        return dx, dW, db


def tanh_layer(x, W, b):
    """a_ik = Σ_d x_id W_dk + b_k
    y_ik = tanh a_ik

    Shapes: x (N, D), W (D, K), b (K,) → y (N, K).
    """
    return TanhLayer.apply(x, W, b)
