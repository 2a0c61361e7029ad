import torch


class L2(torch.autograd.Function):
    """z = Σ_d Σ_k W_dk²
    L = λ z / 2

    Shapes: lam scalar, W (D, K) → L scalar.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(lam, W):
        z = (W**2).sum()   # z = Σ_d Σ_k W_dk²  scalar
        L = 0.5 * lam * z  # L = λ z / 2  scalar
        return L, z

    @staticmethod
    def setup_context(ctx, inputs, output):
        lam, W = inputs
        _, z = output
        ctx.mark_non_differentiable(z)
        ctx.save_for_backward(lam, W, z)

    @staticmethod
    def backward(ctx, dL, *_):
        """Gradients ∂L/∂lam, ∂L/∂W; dL multiplies them, 1 for the loss itself."""
        lam, W, z = ctx.saved_tensors
        if torch.is_grad_enabled():  # differentiated again
            _, z = L2.forward(lam, W)
        dlam = dW = None
        if ctx.needs_input_grad[0]:
            dlam = 0.5 * dL * z  # ∂L/∂λ = z/2  scalar
        if ctx.needs_input_grad[1]:
            dW = dL * lam * W    # ∂L/∂W_dk = λ W_dk  (D, K)
        return dlam, dW


def l2(lam, W):
    """z = Σ_d Σ_k W_dk²
    L = λ z / 2

    Shapes: lam scalar, W (D, K) → L scalar.
    """
    return L2.apply(lam, W)[0]
