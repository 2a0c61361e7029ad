"""Every built-in forward formula by name."""

from __future__ import annotations

from chalkgrad.frontend.forward import Forward
from chalkgrad.layers import activations, affine_layers, attention, losses, norms, regularisers

MODULES = (affine_layers, activations, losses, regularisers, norms, attention)

FORWARDS: dict[str, Forward] = {
    found.name: found for module in MODULES for found in vars(module).values() if isinstance(found, Forward)
}
"""Every built-in forward formula by name, in the order of the modules."""
