"""What the names in an expression stand for: sizes, arrays, and the values of indices in scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import ShapeError, VerificationError
from chalkgrad.expr.nodes import Definition, Index, Range, Tensor

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Environment:
    """What the names in an expression stand for.

    Attributes:
        sizes: How many values each symbolic range has.
        arrays: Inputs, parameters, forward values and adjoints.
        definitions: Forward definitions, which a `Partial` of a bare value unfolds by one level.
    """

    sizes: Mapping[Range, int]
    arrays: Mapping[Tensor, Array]
    definitions: Mapping[Tensor, Definition] = field(default_factory=dict)

    def size(self, of: Range) -> int:
        """How many values an index over the range takes."""
        if of.size is not None:
            return of.size
        if of not in self.sizes:
            raise VerificationError(f"the range {of} has no size here", hint="Give it one in `sizes`.")
        return self.sizes[of]

    def array(self, tensor: Tensor) -> Array:
        """The values of a tensor."""
        if tensor not in self.arrays:
            raise VerificationError(
                f"the expression reads {tensor}, which has no value here",
                hint="Every tensor must be an input, a parameter, a forward value or an adjoint.",
            )
        return self.arrays[tensor]

    def having(self, values: Mapping[Tensor, Array]) -> Environment:
        """The same environment with further arrays, or other ones."""
        return replace(self, arrays={**self.arrays, **values})


def infer_sizes(arrays: Mapping[Tensor, Array], sizes: Mapping[Range, int]) -> dict[Range, int]:
    """The size of each range, read off the arrays' shapes."""
    found = dict(sizes)
    for tensor, array in arrays.items():
        if array.ndim != len(tensor.axes):
            raise ShapeError(f"{tensor} has {len(tensor.axes)} axes, but its array has {array.ndim}")
        for axis, size in zip(tensor.axes, array.shape, strict=True):
            expected = axis.size if axis.size is not None else found.setdefault(axis, size)
            if expected != size:
                raise ShapeError(f"{tensor}: the axis {axis} has size {size}, elsewhere {expected}")
    return found


@dataclass(frozen=True, slots=True)
class Scope:
    """The axes that values have, and each index's values along them.

    Attributes:
        ndim: How many axes.
        values: Index values, broadcastable over the axes.
        live: Where the value is needed; a product with an indicator that is zero needs no value of
            its other factors, so that 1(0 <= h) * x[h] may stand for padding.
    """

    ndim: int
    values: Mapping[Index, Array]
    live: Array

    @staticmethod
    def over(indices: tuple[Index, ...], env: Environment) -> Scope:
        return Scope(0, {}, np.asarray(True)).inside(indices, env)

    def inside(self, indices: tuple[Index, ...], env: Environment) -> Scope:
        """The scope with further trailing axes; an index already in scope is shadowed."""
        added = len(indices)
        trailing = (1,) * added
        values = {i: v.reshape(v.shape + trailing) for i, v in self.values.items()}
        ndim = self.ndim + added
        for position, index in enumerate(indices):
            shape = [1] * ndim
            shape[self.ndim + position] = -1
            values[index] = np.arange(env.size(index.range), dtype=float).reshape(shape)
        return Scope(ndim, values, self.live.reshape(self.live.shape + trailing))

    def where(self, condition: Array) -> Scope:
        """The scope, live only where the condition holds too."""
        return replace(self, live=self.live & condition)
