"""The built-in layers' derivatives and NumPy code, each made once for all tests of this folder."""

from __future__ import annotations

from functools import lru_cache

from chalkgrad.derivation import Backward
from chalkgrad.derivation_type import emitted
from chalkgrad.emit.compiled import Ops, compile_numpy
from chalkgrad.expr.nodes import Program
from chalkgrad.layers.forwards import FORWARDS


def derived(name: str) -> tuple[Program, Backward]:
    """The safe forward and the backward of a built-in layer, shared with the layer's own `compile`."""
    return emitted(FORWARDS[name].program)


@lru_cache(None)
def numpy_code(name: str) -> Ops:
    """Its compiled NumPy code."""
    return compile_numpy(*derived(name))
