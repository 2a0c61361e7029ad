"""The gallery: every built-in layer by name, each a forward formula of a few lines.

The formulas live in this folder's modules, which import `chalkgrad.frontend.forward` and nothing
above it, so that no derivative can be written there; this file alone makes `Layer`s of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalkgrad.layer_type import Layer
from chalkgrad.layers.aliases import ALIASES, canonical_name
from chalkgrad.layers.forwards import FORWARDS

GALLERY: dict[str, Layer] = {name: Layer(forward) for name, forward in FORWARDS.items()}
"""Every built-in layer by name."""

if not TYPE_CHECKING:
    globals().update({alias: GALLERY[name] for alias, name in ALIASES.items()})
    globals().update(GALLERY)

__all__ = ["ALIASES", "GALLERY", "canonical_name", *GALLERY]
