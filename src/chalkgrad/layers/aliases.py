"""Other usual names of the built-in layers."""

from __future__ import annotations

import re

ALIASES: dict[str, str] = {
    # Short names.
    "linear": "affine", "fc": "affine", "dense": "affine", "fully_connected": "affine",
    "conv": "conv2d", "convolution": "conv2d", "maxpooling": "max_pool", "maxpool2d": "max_pool",
    "leakyrelu": "leaky_relu", "softmaxwithloss": "softmax_loss", "softmax_with_loss": "softmax_loss",
    "crossentropyloss": "softmax_loss", "cross_entropy_loss": "softmax_loss",
    "maxpool": "max_pool", "avgpool": "avg_pool", "average_pool": "avg_pool",
    "global_average_pool": "global_avg_pool", "self_attention": "attention", "swish": "silu",
    "rnn": "rnn_cell", "gru": "gru_cell", "lstm": "lstm_cell", "mixture_of_experts": "mixture_gate",
    "batchnorm": "batch_norm", "batchnormalization": "batch_norm", "batch_normalization": "batch_norm",
    "batchnorm1d": "batch_norm", "batchnorm2d": "spatial_batch_norm", "layernormalization": "layer_norm",
    "batch_norm_train": "batch_norm", "batchnorm_eval": "batch_norm_eval",
    "spatial_batchnorm": "spatial_batch_norm", "layernorm": "layer_norm", "groupnorm": "group_norm",
    "spatial_groupnorm": "group_norm", "instancenorm": "instance_norm", "rmsnorm": "rms_norm",
    # Losses.
    "cross_entropy": "softmax_loss", "softmax_cross_entropy": "softmax_loss",
    "soft_target_cross_entropy": "soft_target_loss", "multilabel_loss": "sigmoid_loss",
    "binary_cross_entropy": "sigmoid_loss", "bce_with_logits": "sigmoid_loss",
    "hinge": "svm_loss", "svm": "svm_loss", "mean_squared_error": "mse", "mse_loss": "mse",
    "mean_absolute_error": "mae", "huber_loss": "huber",
    "poisson": "poisson_loss",
    "quantile": "quantile_loss", "pinball_loss": "quantile_loss", "triplet": "triplet_loss",
    "focal": "focal_loss",
    "kl": "kl_divergence", "kl_div": "kl_divergence", "l2_loss": "l2", "l1_loss": "l1",
    "elasticnet": "elastic_net",
    # Models and matrix functions.
    "ridge_regression": "ridge", "factorization_machine": "factorisation_machine",
    "matrix_factorization": "matrix_factorisation", "twolayernet": "two_layer_net",
    "fullyconnectednet": "fully_connected_net", "threelayerconvnet": "three_layer_convnet",
    "inv": "inverse", "det": "determinant", "logdet": "log_determinant",
    "pairwise_distance": "pairwise_distances", "outer_product": "outer",
}  # fmt: skip
"""A built-in layer's name by another name for it."""


def canonical_name(name: str) -> str:
    """The built-in layer's own name for a usual one; spaces, hyphens and capitals do not matter.

    Example:
        >>> canonical_name("LSTM"), canonical_name("logistic regression")
        ('lstm_cell', 'logistic_regression')
    """
    plain = re.sub(r"\s+|-", "_", name.strip().lower())
    return ALIASES.get(plain, plain)
