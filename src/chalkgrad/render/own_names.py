"""Whoever shows a derivation or a program keeps its names apart: μ and mu are two inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from chalkgrad.derivation import Derived
from chalkgrad.expr.names import names_apart
from chalkgrad.expr.nodes import Program

Of = TypeVar("Of", Derived, Program)
P = ParamSpec("P")
R = TypeVar("R")


def with_names_apart(function: Callable[Concatenate[Of, P], R]) -> Callable[Concatenate[Of, P], R]:
    """The function, run with the names of its first argument kept apart."""

    @wraps(function)
    def call(of: Of, /, *args: P.args, **kwargs: P.kwargs) -> R:
        program = of if isinstance(of, Program) else of.program
        with names_apart(t.name for t in program.tensors()):
            return function(of, *args, **kwargs)

    return call
