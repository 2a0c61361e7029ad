"""What stands between who writes machine code and who runs it."""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "chalkgrad_"
"""Every symbol begins with this: a function called `step` would collide with the C library's."""

ENTRY = "run"
"""The function that runs steps, after the prefix."""

SEED = "seed"
"""The role of the number that random masks follow from."""


COUNTER = 8
"""Whole numbers from one counter that the threads share to the next, so that no two lie in one cache line.

The first counts arrivals at the barrier, the second phase one's pieces; then come one for every gradient, one
for every parameter that is updated after all gradients are known, one for each other segment of phase one.
"""

ASKED, TAKEN, BROKEN = 0, 1, 2
"""Places of what the caller and the threads tell each other: whether the caller wants the steps to end, and
how many were taken, which is more than all until one is given up: before it changes a parameter, or after.
Of the first all threads are told at a meeting, and leave out the rest; of the second, at the next step: one
who heard of it sooner would miss the meetings at which the others wait."""

UNCHANGED, ANYWHERE = 1, 2
"""What the caller asks for: that a step be given up while it has changed no parameter, or wherever it stands,
as nobody will read the parameters."""


@dataclass(frozen=True, slots=True)
class StepCode:
    """Machine code and what its caller must know, all of which a file can hold.

    Attributes:
        code: An object file.
        scalars: Name and role of the doubles in `numbers`, in order; the step count t comes by itself.
        totals: How many doubles the sums need.
        two_phases: Whether all gradients are kept before anything is updated.
    """

    code: bytes
    scalars: tuple[tuple[str, str], ...]
    totals: int
    two_phases: bool
