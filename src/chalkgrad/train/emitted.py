"""Programs as functions of named values: the only door between training and emitted code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.derivation import Backward
from chalkgrad.emit.source import source
from chalkgrad.expr.nodes import Program

Array = NDArray[np.floating[Any]]
FORWARD_ONLY = Backward("closed", (), ())


def _load(program, backward):
    text = source(program, backward, "code")
    space = {}
    exec(compile(text, "<emitted>", "exec"), space)
    return space["code_forward"], space["code_backward"]


class ForwardCode:
    """An emitted forward pass, called with a value per name.

    Example:
        >>> from chalkgrad.frontend.text_formula import read_formula
        >>> double = forward_code(read_formula("y[i] = 2 * x[i]"))
        >>> double({"x": np.array([1.0, 2.5])})
        (array([2., 5.]),)
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._inputs = tuple(t.name for t in program.inputs)
        self._parameters = tuple(t.name for t, _ in program.parameters)
        self._single = len(program.outputs) == 1
        self._forward, _ = _load(program, FORWARD_ONLY)

    def __call__(self, values: Mapping[str, Any]) -> tuple[Array, ...]:
        """The outputs in the program's order; every input and parameter must have a value."""
        keywords = {name: values[name] for name in self._parameters}
        outputs, _ = self._forward(*(values[name] for name in self._inputs), **keywords)
        return (outputs,) if self._single else outputs


@lru_cache(None)
def forward_code(program: Program) -> ForwardCode:
    """The program's emitted forward pass, made once."""
    return ForwardCode(program)
class GradientCode: ...
def gradient_code(program): ...
