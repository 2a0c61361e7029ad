"""Whether a false line is only the consequence of a false line above it.

A line inherits an error if it would be true were the false line true: with ∂u/∂v as claimed in place
of ∂u/∂v as it is, the chain rule gives what the later line says. Or it repeats the same slip: put
right in the same way, it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chalkgrad.diagnose.claims import Array, Claim, Judge, Point, compare, read_claim
from chalkgrad.diagnose.edits import entries, equation, replaced, shown
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Access, Index, Partial, Tensor


@dataclass(frozen=True, slots=True)
class FalseLine:
    """A line that is false in its own right.

    Attributes:
        line: Its number.
        text: As written.
        should_be: The line that holds in its place; empty if none was found.
        claim: What it claims; None where an index runs over the wrong range.
    """

    line: int
    text: str
    should_be: str
    claim: Claim | None


def inherits(text: str, claim: Claim | None, before: Sequence[FalseLine], judge: Judge) -> int | None:
    """The number of the false line whose error a later false line only passes on; None if of none."""
    for false in before:
        if _repeats(text, false, judge):
            return false.line
        if claim is not None and false.claim is not None and _follows(claim, false.claim, judge):
            return false.line
    return None


def _repeats(text: str, false: FalseLine, judge: Judge) -> bool:
    """Whether the correction of the false line's arrays makes this line true, too."""
    if not false.should_be:
        return False
    wrong, right = (
        [(e, shown(t, e)) for e in entries(equation(t).right)] for t in (false.text, false.should_be)
    )
    changed = {a: b for (_, a), (_, b) in zip(wrong, right, strict=False) if a != b}
    if len(wrong) != len(right) or not changed:
        return False
    edited = text
    for entry in sorted(entries(equation(text).right), key=lambda e: -e.start):
        if shown(text, entry) in changed:
            edited = replaced(edited, entry, changed[shown(text, entry)])
    if edited == text:
        return False
    try:
        return judge.check(read_claim(edited, judge.program)).holds
    except ChalkgradError:
        return False


def _follows(claim: Claim, false: Claim, judge: Judge) -> bool:
    """Whether the claim is what the chain rule gives with the false line's derivative."""
    mine, wrong = _sides(claim, judge), _sides(false, judge)
    if mine is None or wrong is None or false.loose or claim.loose:
        return False
    for point in judge.points():
        value = _passed_on(point, mine, wrong, false)
        if value is None:
            return False
        grid = np.indices([point.env.size(i.range) for i in claim.indices])
        place = dict(zip(claim.indices, grid, strict=True))
        expected = value[tuple(place[i] for i in mine.indices)]
        if not compare(point.value(claim.right, claim.indices), np.asarray(expected), claim).holds:
            return False
    return True


@dataclass(frozen=True, slots=True)
class _Sides:
    """∂of/∂by with its indices; `of` is None for the loss of an adjoint."""

    of: Tensor | None
    by: Tensor
    indices: tuple[Index, ...]


def _sides(claim: Claim, judge: Judge) -> _Sides | None:
    """Of what by what a claim's left side is the derivative; None where it is something else."""
    left = claim.left
    if isinstance(left, Access) and left.tensor.role == "adjoint":
        by = next((t for t in judge.program.tensors() if t.adjoint is left.tensor), None)
        places: tuple[object, ...] = left.indices
        of = None
    elif isinstance(left, Partial) and isinstance(left.body, Access):
        by, of = left.wrt.tensor, left.body.tensor
        places = (*left.body.indices, *left.wrt.indices)
        if of.name == "L" and not of.axes:
            of = None
    else:
        return None
    indices = tuple(i for i in places if isinstance(i, Index))
    return _Sides(of, by, indices) if by is not None and len(indices) == len(places) else None


def _passed_on(point: Point, mine: _Sides, wrong: _Sides, false: Claim) -> Array | None:
    """∂of/∂by with the false line's block of derivatives put in."""
    true = _derivative(point, wrong.of, wrong.by)
    grid = np.indices([point.env.size(i.range) for i in false.indices])
    place = dict(zip(false.indices, grid, strict=True))
    claimed = np.array(true)
    claimed[tuple(place[i] for i in wrong.indices)] = point.value(false.right, false.indices)
    change = claimed - true
    if wrong.of is None:
        if mine.of is not None:
            return None
    else:
        above = _derivative(point, mine.of, wrong.of)
        change = np.tensordot(above, change, axes=len(wrong.of.axes))
    below = _derivative(point, wrong.by, mine.by)
    return np.asarray(
        _derivative(point, mine.of, mine.by) + np.tensordot(change, below, axes=len(wrong.by.axes))
    )


def _derivative(point: Point, of: Tensor | None, by: Tensor) -> Array:
    """∂of/∂by with an axis for each of their axes; of the loss where `of` is None."""
    if of is None:
        letters = tuple(Index(f"@{n}", r) for n, r in enumerate(by.axes))
        return point.value(Access(by.adjoint, letters), letters)
    if of is by:
        size = int(np.prod([point.env.size(r) for r in of.axes], dtype=int))
        shape = tuple(point.env.size(r) for r in of.axes)
        return np.eye(size).reshape(*shape, *shape)
    first = tuple(Index(f"@{n}", r) for n, r in enumerate(of.axes))
    second = tuple(Index(f"@@{n}", r) for n, r in enumerate(by.axes))
    return point.value(Partial(Access(of, first), Access(by, second)), (*first, *second))
