"""Every built-in layer with every option that it lists."""

from __future__ import annotations

from functools import cache
from typing import Any

from chalkgrad.layer_type import Layer
from chalkgrad.layers import GALLERY

OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "affine": ({"leading": 2},),
    "relu": ({"leading": 3},),
    "softmax": ({"leading": 2},),
    "log_softmax": ({"leading": 2},),
    "layer_norm": ({"leading": 2},),
    "rms_norm": ({"leading": 0},),
    "softmax_loss": (
        {"reduction": "sum"},
        {"reduction": "none"},
        {"class_weight": True},
        {"sample_weight": True},
        {"class_weight": True, "sample_weight": True, "reduction": "weighted_mean"},
        {"label_smoothing": 0.1},
    ),
    "soft_target_loss": ({"normalised": True},),
    "pairwise_distances": ({"squared": True},),
    "conv1d": (
        {"stride": 2},
        {"padding": 1},
        {"dilation": 2},
        {"groups": 2},
        {"stride": 2, "padding": 2, "dilation": 2},
    ),
    "conv2d": (
        {"stride": 2},
        {"padding": 1},
        {"dilation": 2},
        {"groups": 2},
        {"stride": 2, "padding": 1, "dilation": 2, "groups": 2},
    ),
    "max_pool": ({"window": 3}, {"window": 3, "stride": 2}, {"window": 2, "stride": 3}),
    "avg_pool": ({"window": 3}, {"window": 3, "stride": 2}, {"window": 2, "stride": 3}),
    "attention": ({"causal": True}, {"mask": True}, {"leading": 2}, {"leading": 1, "causal": True}),
    "swiglu": ({"leading": 2},),
    "rope": ({"base": 100},),
    "fully_connected_net": (
        {"depth": 1},
        {"depth": 2, "norm": "layer"},
        {"depth": 2, "norm": "batch", "dropout": True},
    ),
    "three_layer_convnet": ({"padding": 0},),
}
"""Options beside the defaults, which are always tried."""

VARIANTS = [(name, options) for name in GALLERY for options in ({}, *OPTIONS.get(name, ()))]


def label(variant: tuple[str, dict[str, Any]]) -> str:
    """affine, or conv2d(stride=2)."""
    name, options = variant
    given = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return f"{name}({given})" if given else name


LABELS = {label(v): v for v in VARIANTS}


@cache
def layer(name: str) -> Layer:
    """The layer of a label, made once so that its derivation is made once."""
    base, options = LABELS[name]
    return GALLERY[base].with_options(**options) if options else GALLERY[base]
