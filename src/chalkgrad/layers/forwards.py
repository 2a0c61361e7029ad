"""Every built-in forward formula by name."""

from __future__ import annotations

from chalkgrad.frontend.forward import Forward
from chalkgrad.layers import (
    activations,
    affine_layers,
    attention,
    convolutions,
    distances,
    likelihoods,
    losses,
    matrices,
    networks,
    norms,
    recurrent,
    regularisers,
)

MODULES = (
    affine_layers,
    activations,
    losses,
    distances,
    likelihoods,
    regularisers,
    norms,
    convolutions,
    attention,
    recurrent,
    networks,
    matrices,
)

FORWARDS: dict[str, Forward] = {
    found.name: found for module in MODULES for found in vars(module).values() if isinstance(found, Forward)
}
"""Every built-in forward formula by name, in the order of the modules."""
