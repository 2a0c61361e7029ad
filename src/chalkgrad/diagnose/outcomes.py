"""What a gradient becomes by each single change of the user's text."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chalkgrad.diagnose.mended import PAIRS, Mender
from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.rerun import quiet
from chalkgrad.diagnose.span import largest
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array

UNCHANGED = 1e-10
"""What counts as no difference, beside the size of a gradient."""


def changed(mender: Mender, wanted: Tensor) -> Iterator[tuple[Repair, Array]]:
    """What a gradient becomes at the first point by each single change, simplest first."""
    target = f"={wanted.name}"
    if mender.rerun is None:
        return
    with quiet():
        before, towards = mender.value(target, 0, {}), mender.reach.towards(target, {})
        for repair in _tried(mender, target):
            value = towards.value(repair)
            if value is None:
                value = mender.value(target, 0, {repair.place: repair})
            if value is not None and np.isfinite(value).all() and not _same(value, before):
                yield repair, value


def projected(mender: Mender, wanted: Tensor, directions: Array) -> Iterator[tuple[Repair, Array]]:
    """How far what a gradient becomes lies along some directions, for each single change, simplest first.

    Args:
        mender: Runs the text with changes.
        wanted: The input.
        directions: The gradient's entries, and one more axis for each direction.
    """
    target, flat = f"={wanted.name}", directions.reshape(-1, directions.shape[-1])
    if mender.rerun is None:
        return
    with quiet():
        before, towards = mender.value(target, 0, {}), mender.reach.towards(target, {})
        alike = before is not None and before.size == len(flat) and np.isfinite(before).all()
        now = before.ravel() @ flat if before is not None and alike else np.nan
        least = UNCHANGED * (largest(before) if before is not None else 0.0) * np.abs(flat).sum(axis=0)
        for repair in _tried(mender, target):
            found = towards.along(repair, directions)
            if found is None:
                value = mender.value(target, 0, {repair.place: repair})
                if value is None or value.shape != directions.shape[:-1] or not np.isfinite(value).all():
                    continue
                found = value.ravel() @ flat
            if np.isfinite(found).all() and not (np.abs(found - now) <= least).all():
                yield repair, found


def _tried(mender: Mender, target: str) -> Iterator[Repair]:
    """The changes of the places on which a target may depend, as far as the work suffices."""
    assert mender.rerun is not None
    stop = mender.rerun.work + PAIRS
    for repair in mender.candidates(target, {}):
        if mender.rerun.work > stop:
            return
        yield repair


def _same(one: Array, other: Array | None) -> bool:
    """Whether two arrays are equal but for rounding."""
    if other is None or one.shape != other.shape:
        return False
    return bool(np.abs(one - other).max(initial=0.0) <= UNCHANGED * np.abs(other).max(initial=0.0))
