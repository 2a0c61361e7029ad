"""A small constant in the user's text that is another than the layer's: ε = 1e-8 for 1e-5."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.forward_value import forward_fault
from chalkgrad.diagnose.own_source import tree_of
from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.trial import Bounds, Trial, run, wrong_arguments
from chalkgrad.diagnose.words import shown
from chalkgrad.expr.nodes import Program, Tensor
from chalkgrad.expr.ops import tensors_in

SMALL = 1e-2
"""A constant below this that is added somewhere is an ε; a larger one may be anything."""


@dataclass(frozen=True, slots=True)
class OwnEpsilon:
    """The user's value of a small parameter of the layer.

    Attributes:
        parameter: The layer's.
        default: The layer's value.
        value: The user's.
        line: Where it stands in the file.
        cured: Inputs whose gradients are wrong by the layer's value and right by the user's.
    """

    parameter: Tensor
    default: float
    value: float
    line: int
    cured: tuple[str, ...] = ()

    def note(self) -> str:
        """A remark on a pair of forward and backward that agree with each other."""
        return f"judged with your {self.parameter.name} = {self.value:g}; the layer's is {self.default:g}"

    def faults(self, program: Program) -> list[Fault]:
        """The cured gradients, which are wrong for the layer."""
        line = next((shown(d) for d in program.definitions if self.parameter in tensors_in(d.body)), "")
        name = self.parameter.name
        text = f"{name} is {self.value:g} in line {self.line} and {self.default:g} in the layer."
        fix = f"Write {self.default:g}, or check it against a layer with your {name}."
        return [Fault(t, "wrong_operand", text, line, fix) for t in self.cured]


def with_own_epsilon(
    caller: Caller, trial: Trial, bounds: Bounds,
    draw: Callable[[Mapping[Tensor, float]], Sequence[Point]], timeout: float | None,
) -> tuple[Trial, OwnEpsilon | None]:  # fmt: skip
    """The trial at points with the user's ε, where more is right there; else the trial as it is."""
    derived = caller.derived
    before = _wrong(caller, trial, bounds)
    if not before:
        return trial, None
    functions = [f for f in (caller.backward, caller.forward) if f is not None]
    for own in _suspected(derived.program.parameters, caller.accepted(), functions):
        other = run(caller, trial.form, draw({own.parameter: own.value}), timeout)
        after = _wrong(caller, other, bounds)
        if not other.error and len(after) < len(before):
            cured = tuple(n for n in before if n and n not in after)
            return other, OwnEpsilon(own.parameter, own.default, own.value, own.line, cured)
    return trial, None


def _wrong(caller: Caller, trial: Trial, bounds: Bounds) -> list[str]:
    """Inputs whose gradients are wrong, and "" for a wrong forward."""
    forward = any(forward_fault(p, caller.outputs, "") is not None for p in trial.prepared)
    return [*([""] if forward else []), *wrong_arguments(caller.derived, trial, bounds)]


def _suspected(
    parameters: Sequence[tuple[Tensor, float]], told: Collection[str], functions: Sequence[Callable[..., Any]]
) -> Iterator[OwnEpsilon]:
    """Each small constant of the text for each small parameter that the user's code is not told."""
    constants = [c for f in functions for c in _constants(f)]
    for parameter, default in parameters:
        if parameter.name in told or not 0 < default <= SMALL:
            continue
        for value in dict.fromkeys(v for v, _ in constants if v != default):
            yield OwnEpsilon(parameter, default, value, next(n for v, n in constants if v == value))


def _constants(function: Callable[..., Any]) -> list[tuple[float, int]]:
    """Small numbers in a function's text, with their lines."""
    tree = tree_of(function)
    return [
        (n.value, n.lineno)
        for n in (ast.walk(tree) if tree is not None else ())
        if isinstance(n, ast.Constant) and isinstance(n.value, float) and 0 < n.value <= SMALL
    ]
