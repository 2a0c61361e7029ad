import torch


class Sigmoid(torch.autograd.Function):
    """y_ik = σ(x_ik)

    Shapes: x (N, K) → y (N, K).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        y = torch.sigmoid(x)  # y_ik = σ(x_ik)  (N, K)
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        y = output
        ctx.save_for_backward(y)

    @staticmethod
    def backward(ctx, dy):
        """Gradients ∂L/∂x; dy is ∂L/∂y."""
        (y,) = ctx.saved_tensors
        dx = y * dy * (1 - y)  # ∂L/∂x_ik = y_ik · ∂L/∂y_ik · (1 − y_ik)  (N, K)
        return dx


def sigmoid(x):
    """y_ik = σ(x_ik)

    Shapes: x (N, K) → y (N, K).
    """
    return Sigmoid.apply(x)
