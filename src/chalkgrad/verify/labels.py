"""Which values an integer input may take at a test point.

Labels choose from an axis, f[i, y_i], are compared with its index, 1(y_i = k), or with a number, 1(y_i = 3).
A test point has them inside of every axis that is read, and on both sides of every comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import floor

import numpy as np

from chalkgrad.errors import VerificationError
from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Program,
    Range,
    Tensor,
)
from chalkgrad.expr.ops import children, free_indices, replace_access, tensors_in, walk
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.reference import evaluate

FEWEST_LABELS = 3
"""The labels 0 and 1 equal their own squares and products."""

Guards = tuple[Expr, ...]
Sizes = tuple[tuple[Range, int], ...]


@lru_cache(512)
def label_values(tensor: Tensor, program: Program, sizes: Sizes) -> tuple[int, ...]:
    """The values that an integer input may take, in order.

    They are as many as the range that it selects from has, or three, and what it is compared with, as far as
    all that is read at such a place exists. What equals an index, 1(y_i = k), is a place of its range.
    """
    known = dict(sizes)
    counted = range(label_count(tensor, program, known))
    values = sorted({*counted, *_compared_numbers(tensor, program)})
    reads = [r for d in program.definitions for r in _reads(d.body, tensor, ())]
    ends = [
        r.size if r.size is not None else known[r]
        for comparison, other in _compared(tensor, program.definitions)
        if isinstance(other, Index) and comparison.op in ("==", "!=") for r in (other.range,)
    ]  # fmt: skip
    inside = [v for v in values if all(0 <= v < end for end in ends)]
    possible = tuple(v for v in inside if all(_exists(v, tensor, *read, known) for read in reads))
    return possible or tuple(counted)


def label_count(tensor: Tensor, program: Program, sizes: dict[Range, int]) -> int:
    """How many values an integer input may take: the range that it selects from, or is compared with.

    Three where neither says anything.
    """
    found = [r.size if r.size is not None else sizes[r] for r in selected_ranges(tensor, program)]
    return min(found, default=FEWEST_LABELS)


@lru_cache(512)
def selected_ranges(tensor: Tensor, program: Program) -> tuple[Range, ...]:
    """The ranges that an integer input chooses from."""
    return tuple(_selected(tensor, program.definitions))


def compared_ranges(tensor: Tensor, program: Program) -> tuple[Range, ...]:
    """The ranges with whose index the input is compared: 1(y_i = k)."""
    sides = _compared(tensor, program.definitions)
    return tuple(dict.fromkeys(other.range for _, other in sides if isinstance(other, Index)))


def _selected(tensor: Tensor, definitions: tuple[Definition, ...]) -> Iterator[Range]:
    for definition in definitions:
        for node in walk(definition.body):
            yield from (axis for index, axis in _places(node) if tensor in tensors_in(index))
    yield from (other.range for _, other in _compared(tensor, definitions) if isinstance(other, Index))


def _places(e: Expr) -> Iterator[tuple[Expr, Range]]:
    """The subscripts of an array, or of an inverse, with their axes."""
    match e:
        case Access(tensor, indices):
            yield from zip(indices, tensor.axes, strict=True)
        case Opaque(_, indices, _, at) if at:
            yield from ((place, i.range) for place, i in zip(at, indices, strict=True))


def _compared(tensor: Tensor, definitions: tuple[Definition, ...]) -> Iterator[tuple[Indicator, Expr]]:
    """The comparisons of the input itself, and what it is compared with."""
    for definition in definitions:
        for node in walk(definition.body):
            if isinstance(node, Indicator):
                for one, other in ((node.left, node.right), (node.right, node.left)):
                    if isinstance(one, Access) and one.tensor is tensor:
                        yield node, other


def _compared_numbers(tensor: Tensor, program: Program) -> Iterator[int]:
    """The numbers that the input is compared with; beside them both neighbours of a bound."""
    for comparison, other in _compared(tensor, program.definitions):
        if isinstance(other, Const) and isinstance(other.value, Fraction):
            number = floor(other.value)
            yield from (number,) if comparison.op in ("==", "!=") else (number - 1, number, number + 1)


def _reads(e: Expr, tensor: Tensor, guards: Guards) -> Iterator[tuple[Expr, Range, Guards]]:
    """The subscripts that the input stands in, their axes, and the conditions under which they are read."""
    yield from ((place, axis, guards) for place, axis in _places(e) if tensor in tensors_in(place))
    match e:
        case Mul(factors):
            guards += tuple(f for f in factors if isinstance(f, Indicator))
        case Apply("where", (condition, chosen, other)):
            yield from _reads(condition, tensor, guards)
            yield from _reads(chosen, tensor, (*guards, condition))
            yield from _reads(other, tensor, (*guards, Indicator("==", condition, Const(Fraction(0)))))
            return
    for kid in children(e):
        yield from _reads(kid, tensor, guards)


def _exists(
    value: int, tensor: Tensor, subscript: Expr, axis: Range, guards: Guards, sizes: dict[Range, int]
) -> bool:
    """Whether the place is one of the axis, wherever it is read, if the input has this value everywhere."""
    number = Const(Fraction(value))
    place, *conditions = (replace_access(e, tensor, lambda _: number) for e in (subscript, *guards))
    if tensors_in(place):
        return True
    probe = Tensor("#", (axis,))
    known = Mul((*(c for c in conditions if not tensors_in(c)), Access(probe, (place,))))
    env = Environment(sizes, {probe: np.zeros(axis.size if axis.size is not None else sizes[axis])})
    try:
        evaluate(known, tuple(sorted(free_indices(known), key=lambda i: i.name)), env)
    except VerificationError:
        return False
    return True
