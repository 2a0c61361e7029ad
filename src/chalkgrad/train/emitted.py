"""Programs as functions of named values: the only door between training and emitted code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.derivation import Backward
from chalkgrad.diff.derive import for_code
from chalkgrad.emit.compiled import compile_numpy
from chalkgrad.emit.names import identifier
from chalkgrad.expr.nodes import Program

Array = NDArray[np.floating[Any]]

FORWARD_ONLY = Backward("closed", (), ())
"""The backward of a program that nobody differentiates."""


@lru_cache(None)
def derived(program: Program, wrt: tuple[str, ...]) -> tuple[Program, Backward]:
    """The program made numerically safe and its backward, derived once."""
    return for_code(program, wrt)


class ForwardCode:
    """An emitted forward pass, called with a value per name. Nothing is checked, for speed.

    Example:
        >>> from chalkgrad.frontend.text_formula import read_formula
        >>> double = forward_code(read_formula("y[i] = 2 * x[i]"))
        >>> [y.tolist() for y in double({"x": np.array([1.0, 2.5])})]
        [[2.0, 5.0]]
    """

    def __init__(self, program: Program) -> None:
        self._arguments = _Arguments(program)
        self._single = len(program.outputs) == 1
        self.ops = compile_numpy(program, FORWARD_ONLY)

    def __call__(self, values: Mapping[str, Any]) -> tuple[Array, ...]:
        """The outputs in the program's order, from a value for every input and parameter."""
        inputs, parameters = self._arguments.of(values)
        outputs, _ = self.ops.raw_forward(*inputs, **parameters)
        return (outputs,) if self._single else outputs


class GradientCode:
    """An emitted loss and its derived gradient, called with a value per name.

    Args:
        program: With one scalar output, the loss.
        wrt: The inputs to differentiate by; code for other gradients is not even emitted.
    """

    def __init__(self, program: Program, wrt: tuple[str, ...]) -> None:
        safe, backward = derived(program, wrt)
        self._arguments = _Arguments(safe)
        self._gradients = tuple(t.name for t in safe.inputs)
        self.ops = compile_numpy(safe, backward)

    def __call__(self, values: Mapping[str, Any]) -> tuple[float, dict[str, Array]]:
        """The loss, and the gradient by each name of `wrt`."""
        inputs, parameters = self._arguments.of(values)
        loss, cache = self.ops.raw_forward(*inputs, **parameters)
        assert self.ops.raw_backward is not None, "a gradient was asked for"
        gradients = self.ops.raw_backward(1.0, cache)
        found = zip(self._gradients, gradients, strict=True)
        return float(loss), {name: gradient for name, gradient in found if gradient is not None}

    def value(self, values: Mapping[str, Any]) -> float:
        """The loss alone."""
        inputs, parameters = self._arguments.of(values)
        loss, _ = self.ops.raw_forward(*inputs, **parameters)
        return float(loss)


class _Arguments:
    """How the values of names are passed to emitted functions."""

    def __init__(self, program: Program) -> None:
        self._inputs = tuple(t.name for t in program.inputs)
        self._parameters = tuple((t.name, identifier(t.name)) for t, _ in program.parameters)

    def of(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional inputs and keyword parameters."""
        inputs = [values[name] for name in self._inputs]
        return inputs, {keyword: values[name] for name, keyword in self._parameters}


@lru_cache(None)
def forward_code(program: Program) -> ForwardCode:
    """The program's emitted forward pass, made once."""
    return ForwardCode(program)


@lru_cache(None)
def gradient_code(program: Program, wrt: tuple[str, ...]) -> GradientCode:
    """The program's emitted loss and gradient, derived once."""
    return GradientCode(program, wrt)
