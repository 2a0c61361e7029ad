"""What the names in an expression stand for: sizes, arrays, and the values of indices in scope."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import ShapeError, VerificationError
from chalkgrad.expr.nodes import Add, Apply, Const, Definition, Expr, Index, Mul, Pow, Range, Size, Tensor

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


Derived = Sequence[tuple[Range, Expr]]
"""Ranges whose size follows from others, as `Program.sizes` has them."""


def infer_sizes(
    arrays: Mapping[Tensor, Array], sizes: Mapping[Range, int], derived: Derived = ()
) -> dict[Range, int]:
    """The size of each range, read off the arrays' shapes; then the sizes that follow from these.

    Raises:
        ShapeError: Shapes that contradict each other, or the size that follows.
    """
    found = dict(sizes)
    for tensor, array in arrays.items():
        if array.ndim != len(tensor.axes):
            raise ShapeError(f"{tensor} has {len(tensor.axes)} axes, but its array has {array.ndim}")
        for axis, size in zip(tensor.axes, array.shape, strict=True):
            expected = axis.size if axis.size is not None else found.setdefault(axis, size)
            if expected != size:
                raise ShapeError(f"{tensor}: the axis {axis} has size {size}, elsewhere {expected}")
    for of, formula in derived:
        size = whole_size(formula, found)
        if size < 1 or found.setdefault(of, size) != size:
            raise ShapeError(
                f"the axis {of} must have the size {formula} = {size}"
                + (f", but has {found[of]}" if size > 0 else ""),
                hint="The sizes of the arguments do not fit together.",
            )
    return found


def whole_size(formula: Expr, sizes: Mapping[Range, int]) -> int:
    """The value of a size such as (|H| - |R|) // 2 + 1.

    Raises:
        VerificationError: A size is not known, or the formula holds more than integer arithmetic.
    """
    match formula:
        case Const(number) if number == int(number):
            return int(number)
        case Size(of) if of.size is not None or of in sizes:
            return of.size if of.size is not None else sizes[of]
        case Size(of):
            raise VerificationError(f"the range {of} has no size here", hint="Give it one in `sizes`.")
        case Add(terms):
            return sum(whole_size(t, sizes) for t in terms)
        case Mul(factors):
            return math.prod(whole_size(f, sizes) for f in factors)
        case Pow(base, Const(exponent)) if exponent == int(exponent) and exponent >= 0:
            return int(whole_size(base, sizes) ** int(exponent))
        case Apply("floordiv", (above, below)):
            return whole_size(above, sizes) // whole_size(below, sizes)
        case Apply("mod", (above, below)):
            return whole_size(above, sizes) % whole_size(below, sizes)
    raise VerificationError(f"a size is made of sizes, whole numbers, + - * // and %; this is not: {formula}")


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
