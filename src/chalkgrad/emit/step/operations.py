"""The language of a step: values in memory, Python numbers, and one NumPy call per operation."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import lru_cache

from chalkgrad.expr.nodes import Range


@dataclass(eq=False, slots=True)
class Value:
    """An array of a step, laid out row by row.

    Attributes:
        ranges: Its axes.
        kind: "float" (the network's precision), "bool" or "int".
        name: How the code calls it; temporary values get one when memory is assigned.
        home: The name of the caller's array that holds it, "" for a buffer of the step's own.
        given: Whether the caller filled it before the step.
        label: What it computes, for the choice of a name: all temporaries of one line share it.
    """

    ranges: tuple[Range, ...]
    kind: str = "float"
    name: str = ""
    home: str = ""
    given: bool = False
    label: str = ""

    def __repr__(self) -> str:
        return f"<{self.name or 'value'} {', '.join(r.name for r in self.ranges)}>"


@dataclass(frozen=True, slots=True)
class View:
    """A value with its axes in another order; None is an axis of length one."""

    value: Value
    order: tuple[int | None, ...]

    @property
    def plain(self) -> bool:
        """Whether it is the value itself."""
        return self.order == tuple(range(len(self.value.ranges)))


@dataclass(frozen=True, slots=True)
class Host:
    """A Python number, as code.

    Attributes:
        code: An expression.
        moving: Whether it changes from step to step.
    """

    code: str
    moving: bool = False

    @property
    def tight(self) -> str:
        """The code as an operand of any operator."""
        return self.code if _is_atom(self.code) else f"({self.code})"


@lru_cache(1024)
def _is_atom(code: str) -> bool:
    """Whether an expression binds as tightly as a name: a sum of two calls begins and ends like one call."""
    atoms = (ast.Name, ast.Constant, ast.Attribute, ast.Call, ast.Subscript)
    return isinstance(ast.parse(code, mode="eval").body, atoms)


Arg = View | Host

ELEMENTWISE = ("ufunc", "copy", "select", "place")
"""Kinds whose result may overwrite an operand of the same shape."""


NUMBERS = ("total", "dot", "inner", "max", "min")
"""Kinds that make one number of whole arrays."""


@dataclass(eq=False, slots=True)
class Op:
    """One line of the step.

    Attributes:
        kind: "ufunc", "matmul", "reduce", "copy", "select", "rows", "take", "lookup", "place", "fill",
            "draw", "einsum" (these write `out`), "host" and `NUMBERS` (these define `target`).
        fn: The NumPy function where the kind leaves it open.
        args: What it reads.
        out: The value it writes.
        target: The Python number it defines.
        extra: Axis, subscripts or operator, by kind.
        note: The equation that the line begins.
    """

    kind: str
    fn: str
    args: tuple[Arg, ...]
    out: Value | None = None
    target: str = ""
    extra: str = ""
    note: str = ""

    def reads(self) -> list[Value]:
        """The values it reads; an update in place reads what it writes."""
        found = [a.value for a in self.args if isinstance(a, View)]
        return [*found, self.out] if self.kind == "place" and self.out is not None else found


@dataclass(slots=True)
class Section:
    """Operations in order, and the constants they need.

    Attributes:
        ops: In order.
        constants: Arrays made once: name of the value → code of the array.
        hosts: Python numbers that do not move, in order: name → code.
    """

    ops: list[Op] = field(default_factory=list)
    constants: dict[Value, str] = field(default_factory=dict)
    hosts: dict[str, str] = field(default_factory=dict)
