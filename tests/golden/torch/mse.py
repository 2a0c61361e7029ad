import torch


class Mse(torch.autograd.Function):
    """L = (1/(N D)) Σ_i Σ_d (ŷ_id − t_id)²

    Shapes: yhat (N, D), t (N, D) → L scalar.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(yhat, t):
        N, D = yhat.shape
        L = ((yhat - t) ** 2).sum() / (N * D)  # L = (1/(N D)) Σ_i Σ_d (ŷ_id − t_id)²  scalar
        return L

    @staticmethod
    def setup_context(ctx, inputs, output):
        yhat, t = inputs
        ctx.save_for_backward(yhat, t)

    @staticmethod
    def backward(ctx, dL):
        """Gradients ∂L/∂yhat, ∂L/∂t; dL multiplies them, 1 for the loss itself."""
        yhat, t = ctx.saved_tensors
        N, D = yhat.shape
        dyhat = 2 * dL / (D * N) * (yhat - t)  # ∂L/∂ŷ_id = 2 (ŷ_id − t_id) / (D N)  (N, D)
        dt = None
        if ctx.needs_input_grad[1]:
            dt = -dyhat                        # ∂L/∂t_id = −2 (ŷ_id − t_id) / (D N)  (N, D)
        return dyhat, dt


def mse(yhat, t):
    """L = (1/(N D)) Σ_i Σ_d (ŷ_id − t_id)²

    Shapes: yhat (N, D), t (N, D) → L scalar.
    """
    return Mse.apply(yhat, t)
