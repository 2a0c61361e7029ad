"""Weights that lie the other way round: `x @ W.T` with one row per output, as PyTorch keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.forward_value import forward_fault
from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.report import Diagnosis
from chalkgrad.expr.nodes import Access, Expr, Program, Tensor
from chalkgrad.expr.ops import replace_access

MOST = 4
"""Of so many matrices all choices are tried; of more the weights, which have no axis of the observations,
and each alone."""


@dataclass(frozen=True, slots=True)
class LaidOut:
    """A layer with some matrices transposed.

    Attributes:
        program: Its forward.
        name: The layer's name.
        forward: What the layer was made from, which knows its static arguments.
        flipped: The matrices, as the layer itself has them.
    """

    program: Program
    name: str
    forward: Any
    flipped: tuple[Tensor, ...]

    def told(self, found: Diagnosis) -> Diagnosis:
        """A diagnosis with a remark on the layout; the derivation's page has the other one."""
        own = " and ".join(
            f"{t.name} as ({', '.join(r.name for r in reversed(t.axes))})" for t in self.flipped
        )
        note = f"your forward takes {own}, the layer the other way round; it was judged as you have it"
        return replace(found, notes=(*found.notes, note), page="")


def laid_out(layer: Any, caller: Caller, points: Sequence[Point]) -> LaidOut | None:
    """The layer as the user's forward has it: with the matrices transposed with which that gives its values.

    None where there is no forward, or where it fits as it is or in no layout.
    """
    form = next(caller.forms(), None)
    if form is None or not points:
        return None

    def fits(flipped: tuple[Tensor, ...], point: Point) -> bool:
        arrays = {t: np.asarray(point.env.array(t)).T for t in flipped}
        try:
            prepared = form.prepare(replace(point, env=point.env.having(arrays)))
        except Exception:  # noqa: BLE001 (the user's forward may raise anything)
            return False
        ran = prepared.out is not None and not (prepared.forward is not None and prepared.forward.error)
        return ran and forward_fault(replace(prepared, point=point), caller.outputs, "") is None

    if fits((), points[0]):
        return None
    program = caller.derived.program
    for flipped in _choices(program):
        if all(fits(flipped, p) for p in points):
            name = str(getattr(layer, "name", program.name))
            return LaidOut(transposed(program, flipped), name, getattr(layer, "forward", None), flipped)
    return None


def _choices(program: Program) -> Iterator[tuple[Tensor, ...]]:
    matrices = [t for t in program.inputs if t.dtype == "float" and len(t.axes) == 2]
    if len(matrices) <= MOST:
        for count in range(1, len(matrices) + 1):
            yield from combinations(matrices, count)
    else:
        observed = set(program.inputs[0].axes[:1])
        yield tuple(t for t in matrices if not observed & set(t.axes))
        yield from ((t,) for t in matrices)


def transposed(program: Program, flipped: Sequence[Tensor]) -> Program:
    """A forward that reads some of its matrices the other way round, and is otherwise the same."""
    others = {t: replace(t, axes=t.axes[::-1]) for t in flipped}
    definitions = tuple(replace(d, body=_reading(d.body, others)) for d in program.definitions)
    inputs = tuple(others.get(t, t) for t in program.inputs)
    return replace(program, inputs=inputs, definitions=definitions)


def _reading(body: Expr, others: Mapping[Tensor, Tensor]) -> Expr:
    for tensor, other in others.items():
        body = replace_access(body, tensor, lambda at, other=other: Access(other, at[::-1]))  # type: ignore[misc]
    return body
