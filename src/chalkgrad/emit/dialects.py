"""How each backend spells an array operation: one record per backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chalkgrad.primitives import Primitive


@dataclass(frozen=True, slots=True)
class Dialect:
    """Spellings; `{0}`, `{1}` are code, and `axis` is how the axis argument is called.

    Attributes:
        name: What a user asks for.
        imports: The lines at the top of a module.
        module: The prefix of functions, such as "np".
        axis, keepdims: Keyword names of a reduction.
        spelling: The template of an elementwise function.
        reductions: Method name per reduction.
        arange: Template; {0} size, {1} an array on the same device.
        cast: Template; {0} array, {1} an array of the wanted precision.
        zeros, zeros_like, full, full_like, copy, spread: Templates; a shape is written as a tuple.
        sqrt, einsum, transpose, swap: Templates.
        update: "inplace" or "functional" (x = x.at[...].add(...)).
        scatter_add: Template; {0} array, {1} subscripts, {2} value.
    """

    name: str
    imports: tuple[str, ...]
    module: str
    axis: str
    keepdims: str
    spelling: Callable[[Primitive], str]
    reductions: dict[str, str]
    arange: str
    cast: str
    zeros: str
    zeros_like: str
    full: str
    full_like: str
    copy: str
    spread: str
    sqrt: str
    einsum: str
    transpose: str
    swap: str
    update: str
    scatter_add: str


NUMPY = Dialect(
    name="numpy",
    imports=("import numpy as np",),
    module="np",
    axis="axis",
    keepdims="keepdims",
    spelling=lambda p: p.numpy,
    reductions={"sum": "sum", "max": "max", "min": "min", "prod": "prod"},
    arange="np.arange({0})",
    cast="{0}.astype({1}.dtype)",
    zeros="np.zeros({0}, dtype={1}.dtype)",
    zeros_like="np.zeros_like({0})",
    full="np.full({0}, {1}, dtype={2}.dtype)",
    full_like="np.full_like({0}, {1})",
    copy="{0}.copy()",
    spread="np.broadcast_to({0}, {1}).copy()",
    sqrt="np.sqrt({0})",
    einsum='np.einsum("{0}", {1}, optimize=True)',
    transpose="{0}.transpose({1})",
    swap="{0}.swapaxes(-1, -2)",
    update="inplace",
    scatter_add="np.add.at({0}, {1}, {2})",
)

DIALECTS: dict[str, Dialect] = {"numpy": NUMPY}
"""Every backend by name."""
