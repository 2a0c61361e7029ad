"""Elementwise functions that NumPy lacks, for use in forward formulas: on arrays they give values, in a
trace they are the entries of the primitives table.

    sigmoid(x) = 1 / (1 + exp(-x))      softplus(x) = log(1 + exp(x))      silu(x) = x sigmoid(x)
    relu(x) = max(x, 0)                 gelu(x) = x Φ(x)                   erf
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalkgrad.frontend import numpy_table  # noqa: F401  (fills UFUNCS)
from chalkgrad.frontend.traced import UFUNCS, is_traced
from chalkgrad.primitives import PRIMITIVES


def _function(name: str) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        return UFUNCS[name](x) if is_traced(x) else PRIMITIVES[name].reference(x)

    apply.__name__ = name
    apply.__doc__ = f"{name} of every entry."
    return apply


erf = _function("erf")
gelu = _function("gelu")
relu = _function("relu")
sigmoid = _function("sigmoid")
silu = _function("silu")
softplus = _function("softplus")

__all__ = ["erf", "gelu", "relu", "sigmoid", "silu", "softplus"]
