"""A small constant in the user's text that is another than the layer's: ε = 1e-8 for 1e-5, log(p + 1e-7)."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.forward_value import forward_fault
from chalkgrad.diagnose.own_source import tree_of
from chalkgrad.diagnose.own_variables import plain
from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.trial import Bounds, Trial, run, wrong_arguments
from chalkgrad.diagnose.words import shown
from chalkgrad.expr.nodes import Program, Tensor
from chalkgrad.expr.ops import tensors_in

SMALL = 1e-2
"""A constant below this that is added somewhere is an ε; a larger one may be anything."""

LITTLE = 1e-5
"""A constant below this may keep a logarithm or a division from 0 where the layer has none."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A small constant of the user's that the layer has not, and without which the values are the layer's."""

    value: float
    line: int

    def note(self) -> str:
        """A remark on a program that is right but for this."""
        return f"judged without your {self.value:g} in line {self.line}, which the layer has not"


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
) -> tuple[Trial, OwnEpsilon | LeftOut | None]:  # fmt: skip
    """The trial with the user's ε, or without it, where more is right so; else the trial as it is."""
    derived = caller.derived
    before = _wrong(caller, trial, bounds)
    if not before:
        return trial, None
    constants = [c for f in _texts(caller) for c in _constants(f)]
    for own in _suspected(derived.program.parameters, caller.accepted(), constants):
        other = run(caller, trial.form, draw({own.parameter: own.value}), timeout)
        after = _wrong(caller, other, bounds)
        if not other.error and len(after) < len(before):
            cured = tuple(n for n in before if n and n not in after)
            return other, OwnEpsilon(own.parameter, own.default, own.value, own.line, cured)
    for value, line in dict.fromkeys(c for c in constants if c[0] <= LITTLE):
        with without(_texts(caller), value):
            other = run(caller, trial.form, trial.points, timeout)
        if not other.error and len(_wrong(caller, other, bounds)) < len(before):
            return other, LeftOut(value, line)
    return trial, None


@contextlib.contextmanager
def without(functions: Sequence[Any], value: float) -> Iterator[None]:
    """While it lasts, functions have 0 for a constant, be it theirs or a global variable's."""
    codes = [(f, f.__code__) for f in functions]
    named = [
        (f.__globals__, n) for f in functions for n in f.__code__.co_names if f.__globals__.get(n) == value
    ]
    try:
        for f, code in codes:
            f.__code__ = code.replace(co_consts=tuple(0.0 if c == value else c for c in code.co_consts))
        for names, n in named:
            names[n] = 0.0
        yield
    finally:
        for f, code in codes:
            f.__code__ = code
        for names, n in named:
            names[n] = value


def _texts(caller: Caller) -> list[Any]:
    """The functions whose text is the user's: the backward, and the forward of whatever kind."""
    given = caller.backward
    found = [given, caller.forward, *getattr(caller.forward, "__texts__", ())]
    found += [getattr(given, n, None) for n in ("forward", "fwd")]  # of PyTorch, of JAX
    functions = [plain(f) for f in found if f is not None]
    return list(dict.fromkeys(f for f in functions if isinstance(f, FunctionType)))


def _wrong(caller: Caller, trial: Trial, bounds: Bounds) -> list[str]:
    """Inputs whose gradients are wrong, and "" for a wrong forward."""
    forward = any(forward_fault(p, caller.outputs, "") is not None for p in trial.prepared)
    return [*([""] if forward else []), *wrong_arguments(caller.derived, trial, bounds)]


def _suspected(
    parameters: Sequence[tuple[Tensor, float]], told: Collection[str], constants: Sequence[tuple[float, int]]
) -> Iterator[OwnEpsilon]:
    """Each small constant of the text for each small parameter that the user's code is not told."""
    for parameter, default in parameters:
        if parameter.name in told or not 0 < default <= SMALL:
            continue
        for value in dict.fromkeys(v for v, _ in constants if v != default):
            yield OwnEpsilon(parameter, default, value, next(n for v, n in constants if v == value))


def _constants(function: Any) -> list[tuple[float, int]]:
    """Small numbers in a function's text, and small global variables that it reads, with their lines."""
    tree, found = tree_of(function), list[tuple[float, int]]()
    for n in ast.walk(tree) if tree is not None else ():
        value: object = None
        if isinstance(n, ast.Constant):
            value = n.value
        elif isinstance(n, ast.Name):
            value = function.__globals__.get(n.id)
        if isinstance(value, float) and 0 < value <= SMALL:
            found.append((value, getattr(n, "lineno", 0)))
    return found
