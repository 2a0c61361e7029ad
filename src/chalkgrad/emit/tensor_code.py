"""Emitted PyTorch and JAX modules, with the ranks of their arguments checked at the door.

The emitted text is for arguments of certain ranks: it says `sum(dim=1)` where a formula sums over k. Given a
tensor of another rank it would go on and sum over another axis, so whatever of the module a caller can reach
checks ranks first. That costs nothing where a framework traces (`torch.compile`, `jax.jit`), and inside
`vmap` a tensor has the rank that one example has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np

from chalkgrad.emit.compiled import axis_sizes
from chalkgrad.emit.imported import imported
from chalkgrad.emit.names import function_name, prefix
from chalkgrad.expr.nodes import Tensor

Ranks = tuple[int, ...]
Function = Callable[..., Any]


class Emitted:
    """An emitted PyTorch or JAX module.

    Calling it calls the layer's own function; everything else that the text defines is an attribute
    (`.Affine`, `.AffineModule` for PyTorch; `.affine_forward`, `.affine_backward` for JAX).

    Attributes:
        name: The layer's name.
        source: The text.

    Raises:
        ShapeError: When it is called with tensors of other ranks than the formula's.
    """

    def __init__(
        self,
        name: str,
        source: str,
        inputs: Sequence[Tensor],
        for_ranks: Callable[[Ranks], Emitted] | None = None,
    ) -> None:
        """Imports the text.

        Args:
            name: The layer's name.
            source: The text.
            inputs: The formula's inputs, whose ranks the text is for.
            for_ranks: The code for inputs of other ranks, where the layer takes any number of leading axes.
        """
        self.name = name
        self.source = source
        self._module = _guarded(imported(name, source), name, inputs, for_ranks)
        self._function = getattr(self._module, function_name(name), None) or getattr(
            self._module, _forward_name(name)
        )
        self.__doc__ = self._function.__doc__

    def __call__(self, *inputs: Any, **parameters: Any) -> Any:
        """The layer's value."""
        return self._function(*inputs, **parameters)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(self._module, attribute)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(n for n in vars(self._module) if not n.startswith("__"))]

    def __repr__(self) -> str:
        return f"<emitted {self._module.__name__}>"


def _forward_name(name: str) -> str:
    return f"{prefix(name)}_forward"


def _guarded(
    module: ModuleType, name: str, inputs: Sequence[Tensor], for_ranks: Callable[[Ranks], Emitted] | None
) -> ModuleType:
    """The module with a check of ranks in front of all that takes the formula's inputs.

    The function itself goes on with the code for the ranks given, where there may be one. Its class and its
    forward are for these ranks alone: what they save for the backward depends on the code.
    """
    torch = vars(module).get("torch")
    base = torch.autograd.Function if torch is not None else ()
    other = _kept(for_ranks, torch) if for_ranks is not None else None
    for attribute, value in list(vars(module).items()):
        if attribute == function_name(name):
            setattr(module, attribute, _checked(value, inputs, other))
        elif attribute == _forward_name(name):
            setattr(module, attribute, _checked(value, inputs))
        elif isinstance(value, type) and issubclass(value, base):
            value.forward = staticmethod(_checked(value.forward, inputs))  # type: ignore[attr-defined]
    return module


def _kept(for_ranks: Callable[[Ranks], Emitted], torch: Any) -> Callable[[Ranks], Function]:
    """The function for other ranks, made once for each."""
    made: dict[Ranks, Function] = {}

    def make(ranks: Ranks) -> bool:
        if ranks not in made:
            made[ranks] = for_ranks(ranks)._function
        return True

    if torch is not None:  # torch.compile calls it while it traces, instead of looking into it
        make = torch.compiler.assume_constant_result(make)

    def other(ranks: Ranks) -> Function:
        make(ranks)
        return made[ranks]

    return other


def _checked(
    function: Function, inputs: Sequence[Tensor], other: Callable[[Ranks], Function] | None = None
) -> Function:
    """The function, called when the ranks are the formula's; its signature, text and documentation stay."""
    names = list(inspect.signature(function).parameters)[: len(inputs)]
    known = [len(t.axes) for t in inputs]

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        # A double backward gives the forward None for what it does not read.
        given = {place: a for place, a in enumerate(arguments[: len(known)]) if a is not None}
        given.update({names.index(word): a for word, a in named.items() if word in names})
        ranks = [rank_of(given[place]) if place in given else rank for place, rank in enumerate(known)]
        if ranks == known:
            return function(*arguments, **named)
        if other is not None:
            return other(tuple(ranks))(*arguments, **named)
        arrays = [a if hasattr(a, "ndim") else np.asarray(a) for a in given.values()]
        axis_sizes([inputs[place] for place in given], arrays)  # says what is wrong with them
        return None

    return call


def rank_of(value: Any) -> int:
    """How many axes a tensor, an array or a number has."""
    return int(value.ndim) if hasattr(value, "ndim") else np.ndim(value)
