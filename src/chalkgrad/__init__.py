"""chalkgrad: write the forward once; read, prove and run the backward.

>>> import chalkgrad as cg
>>> affine = cg.formula("f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]")
>>> print(affine.derive("W").result)
dL/dW[d,j] = sum(i, x[i,d] * dL/df[i,j])
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalkgrad.derivation_type import Derivation
    from chalkgrad.diagnose.check import check
    from chalkgrad.diagnose.report import Diagnosis, Fault
    from chalkgrad.errors import ChalkgradError
    from chalkgrad.layer_type import Layer, chain, formula, layer

__version__ = "0.1.0"

_PUBLIC = {
    "Layer": "chalkgrad.layer_type",
    "Derivation": "chalkgrad.derivation_type",
    "layer": "chalkgrad.layer_type",
    "formula": "chalkgrad.layer_type",
    "chain": "chalkgrad.layer_type",
    "check": "chalkgrad.diagnose.check",
    "Diagnosis": "chalkgrad.diagnose.report",
    "Fault": "chalkgrad.diagnose.report",
    "ChalkgradError": "chalkgrad.errors",
}
"""Where each public name lives: loaded when first used, so that importing stays fast."""

__all__ = [
    "ChalkgradError",
    "Derivation",
    "Diagnosis",
    "Fault",
    "Layer",
    "__version__",
    "chain",
    "check",
    "formula",
    "layer",
    "layers",
]


def __getattr__(name: str) -> Any:
    if name == "layers":
        return import_module("chalkgrad.layers")
    if name not in _PUBLIC:
        # With the module named, Python itself suggests the nearest public name.
        what = f"module 'chalkgrad' has no attribute '{name}'"
        raise AttributeError(what, name=name, obj=sys.modules[__name__])
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
