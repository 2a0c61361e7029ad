"""Programs as functions of named values: the only door between training and emitted code.

Code that an earlier process made is taken from the disk; deriving and emitting are loaded when they are
needed, which a network that was trained before does without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.derivation import Backward
from chalkgrad.emit.disk_cache import kept
from chalkgrad.emit.imported import imported
from chalkgrad.emit.names import identifier, prefix
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Program
from chalkgrad.train.extras import optional, require

if TYPE_CHECKING:
    from chalkgrad.emit.kernels.predicting import CompiledForward

Array = NDArray[np.floating[Any]]

FORWARD_ONLY = Backward("closed", (), ())
"""The backward of a program that nobody differentiates."""


@lru_cache(None)
def derived(program: Program, wrt: tuple[str, ...]) -> tuple[Program, Backward]:
    """The program made numerically safe and its backward, derived once."""
    from chalkgrad.diff.derive import for_code

    return for_code(program, wrt)


class _Functions:
    """The emitted functions of a program, and how the values of names are passed to them.

    Attributes:
        source: The emitted text.
        inputs: The names of the positional arguments, in order.
    """

    def __init__(self, made_from: Any, make: Callable[[], tuple[Program, Backward]]) -> None:
        def emitted() -> dict[str, Any]:
            from chalkgrad.emit.module_text import source

            program, backward = make()
            return {
                "name": program.name,
                "text": source(program, backward),
                "inputs": [t.name for t in program.inputs],
                "parameters": [(t.name, identifier(t.name)) for t, _ in program.parameters],
            }

        found = kept("numpy", made_from, emitted)
        self.source: str = found["text"]
        self.inputs: tuple[str, ...] = tuple(found["inputs"])
        self._parameters = tuple(found["parameters"])
        name = prefix(found["name"])
        module = imported(name, self.source)
        self.forward = getattr(module, f"{name}_forward")
        self.backward = getattr(module, f"{name}_backward", None)

    def arguments(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional inputs and keyword parameters."""
        inputs = [values[name] for name in self.inputs]
        return inputs, {keyword: values[name] for name, keyword in self._parameters}


class ForwardCode:
    """An emitted forward pass, called with a value per name. Nothing is checked, for speed.

    Attributes:
        source: The emitted text.

    Example:
        >>> from chalkgrad.frontend.text_formula import read_formula
        >>> double = forward_code(read_formula("y[i] = 2 * x[i]"))
        >>> [y.tolist() for y in double({"x": np.array([1.0, 2.5])})]
        [[2.0, 5.0]]
    """

    def __init__(self, program: Program) -> None:
        self._functions = _Functions(("forward", program), lambda: (program, FORWARD_ONLY))
        self._single = len(program.outputs) == 1
        self.source = self._functions.source

    def __call__(self, values: Mapping[str, Any]) -> tuple[Array, ...]:
        """The outputs in the program's order, from a value for every input and parameter."""
        inputs, parameters = self._functions.arguments(values)
        outputs, _ = self._functions.forward(*inputs, **parameters)
        return (outputs,) if self._single else outputs


BOUND = 3
"""For so many sizes of batches each thread keeps the memory of a forward pass."""


class _Own(threading.local):
    """What each thread has for itself: a bound function per size of the batch."""

    def __init__(self) -> None:
        self.bound: dict[int, Callable[[Array, Array], None]] = {}


class BufferedForward:
    """An emitted forward pass that writes into memory made once, for calls with the same parameters.

    Every thread has memory of its own. Nothing is checked, for speed.

    Args:
        program: With one output.
        rows: The input that changes from call to call.
        values: The other inputs and the parameters; the arrays are read anew in every call.
        sizes: About how large the symbolic ranges are, by name.

    Raises:
        UnsupportedError: When a construct cannot be written into given memory.
    """

    def __init__(
        self, program: Program, rows: str, values: Mapping[str, Any], sizes: Mapping[str, int]
    ) -> None:
        self._made_from = (program, rows, values, sizes)
        text, arguments, self._bind = _bound_text(program, rows, tuple(sizes.items()))
        self.source: str = text
        self._values = {argument: values[name] for name, argument in arguments.items()}
        self._own = _Own()

    def __reduce__(self) -> tuple[Any, ...]:
        return BufferedForward, self._made_from

    def __call__(self, rows: Array, out: Array) -> None:
        """The output for these rows, at least one, written to `out`."""
        forward = self._own.bound.get(len(rows))
        if forward is None:
            if len(self._own.bound) >= BOUND:
                self._own.bound.pop(next(iter(self._own.bound)))
            forward = self._own.bound[len(rows)] = self._bind(len(rows), out.dtype, **self._values)
        forward(rows, out)


@lru_cache(None)
def _bound_text(program: Program, rows: str, sizes: tuple[tuple[str, int], ...]) -> tuple[Any, ...]:
    def emitted() -> dict[str, Any]:
        from chalkgrad.emit.step.forward_text import forward_text

        return asdict(forward_text(program, rows, dict(sizes)))

    found = kept("forward-text", (program, rows, sizes), emitted)
    module = imported(f"{prefix(program.name)}_bound", found["text"])
    return found["text"], found["arguments"], module.bind


def compiled_forward(
    program: Program, rows: str, values: Mapping[str, Any], columns: int
) -> CompiledForward | None:
    """As `BufferedForward`, in machine code; None without llvmlite, or where it does not cover the program.

    Args:
        columns: How many numbers a row has.
    """
    if optional("llvmlite") is None:
        return None
    kernels = require("chalkgrad.emit.kernels.predicting", "Predicting by machine code", "fast")
    try:
        made: CompiledForward = kernels.CompiledForward(program, rows, values, columns)
    except UnsupportedError:
        return None
    return made


class GradientCode:
    """An emitted loss and its derived gradient, called with a value per name.

    Args:
        program: With one scalar output, the loss.
        wrt: The inputs to differentiate by; code for other gradients is not even emitted.

    Attributes:
        source: The emitted text.
    """

    def __init__(self, program: Program, wrt: tuple[str, ...]) -> None:
        self._functions = _Functions(("gradient", program, wrt), lambda: derived(program, wrt))
        self.source = self._functions.source

    def __call__(self, values: Mapping[str, Any]) -> tuple[float, dict[str, Array]]:
        """The loss, and the gradient by each name of `wrt`."""
        inputs, parameters = self._functions.arguments(values)
        loss, cache = self._functions.forward(*inputs, **parameters)
        assert self._functions.backward is not None, "a gradient was asked for"
        gradients = self._functions.backward(1.0, cache)
        found = zip(self._functions.inputs, gradients, strict=True)
        return float(loss), {name: gradient for name, gradient in found if gradient is not None}

    def value(self, values: Mapping[str, Any]) -> float:
        """The loss alone."""
        inputs, parameters = self._functions.arguments(values)
        loss, _ = self._functions.forward(*inputs, **parameters)
        return float(loss)


@lru_cache(None)
def forward_code(program: Program) -> ForwardCode:
    """The program's emitted forward pass, made once."""
    return ForwardCode(program)


@lru_cache(None)
def gradient_code(program: Program, wrt: tuple[str, ...]) -> GradientCode:
    """The program's emitted loss and gradient, derived once."""
    return GradientCode(program, wrt)
