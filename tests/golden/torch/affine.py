import torch


class Affine(torch.autograd.Function):
    """f_ik = Σ_d x_id W_dk + b_k

    Shapes: x (N, D), W (D, K), b (K,) → f (N, K).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x, W, b):
        f = x @ W + b  # f_ik = Σ_d x_id W_dk + b_k  (N, K)
        return f

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, W, _ = inputs
        ctx.save_for_backward(x, W)

    @staticmethod
    def backward(ctx, df):
        """Gradients ∂L/∂x, ∂L/∂W, ∂L/∂b; df is ∂L/∂f."""
        x, W = ctx.saved_tensors
        dx = dW = db = None
        if ctx.needs_input_grad[0]:
            dx = df @ W.T       # ∂L/∂x_id = Σ_k W_dk · ∂L/∂f_ik  (N, D)
        if ctx.needs_input_grad[1]:
            dW = x.T @ df       # ∂L/∂W_dj = Σ_i x_id · ∂L/∂f_ij  (D, K)
        if ctx.needs_input_grad[2]:
            db = df.sum(dim=0)  # ∂L/∂b_j = Σ_i ∂L/∂f_ij  (K,)
        return dx, dW, db


def affine(x, W, b):
    """f_ik = Σ_d x_id W_dk + b_k

    Shapes: x (N, D), W (D, K), b (K,) → f (N, K).
    """
    return Affine.apply(x, W, b)
