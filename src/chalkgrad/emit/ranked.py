"""Compiled code of a layer whose arguments may have any number of leading axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chalkgrad.emit.compiled import Ops, numbers


@dataclass(frozen=True, slots=True)
class RankedCache:
    """A cache, and the code that it belongs to."""

    ops: Ops
    cache: Any


@dataclass(frozen=True, slots=True)
class RankedOps(Ops):
    """The code for one number of leading axes, which makes and calls the code for another where needed.

    Attributes:
        for_ranks: The code for inputs of these numbers of axes.
    """

    for_ranks: Callable[[tuple[int, ...]], Ops] = field(repr=False, kw_only=True)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The output and the cache, for inputs with any number of leading axes.

        Raises:
            ShapeError: The number of inputs, their axes or their sizes do not fit.
            DataError: An element type or a label that the formula cannot take.
        """
        inputs, parameters = self.by_position(inputs, named)
        ranks = tuple(numbers(t.name, a).ndim for t, a in zip(self.program.inputs, inputs, strict=True))
        if ranks == tuple(len(t.axes) for t in self.program.inputs):
            return Ops.forward(self, *inputs, **parameters)
        ops = self.for_ranks(ranks)
        value, cache = ops.forward(*inputs, **parameters)
        return value, RankedCache(ops, cache)

    def backward(self, *arguments: Any) -> tuple[Any, ...]:
        """The gradient of each input, by the code that made the cache."""
        if arguments and isinstance(arguments[-1], RankedCache):
            last = arguments[-1]
            return last.ops.backward(*arguments[:-1], last.cache)
        return Ops.backward(self, *arguments)
