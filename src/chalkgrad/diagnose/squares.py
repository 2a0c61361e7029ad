"""What code that raises returns where all sizes are equal: a transpose too few runs there."""

from __future__ import annotations

from collections.abc import Iterator

from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.forms import Form
from chalkgrad.diagnose.points import Point, several, square_sizes
from chalkgrad.diagnose.trial import Trial, run
from chalkgrad.errors import ChalkgradError

SQUARES = (3, 4, 3)
"""What all sizes are, at each point."""


def square_trial(caller: Caller, seed: int, timeout: float | None) -> Trial | None:
    """The calls in the first form in which the function runs; None where it does not run there, either."""
    for form in caller.forms():
        for flat in (False, True):
            found = _trial(caller, form, seed, timeout, flat=flat)
            if found is not None:
                return found
    return None


def _trial(caller: Caller, form: Form, seed: int, timeout: float | None, *, flat: bool) -> Trial | None:
    points, square = list[Point](), None
    for n, size in enumerate(SQUARES):
        points += _points(caller, size, seed + n, unit=not form.upstream, flat=flat)
        if points:
            square = run(caller, form, points, timeout)
            if square.error or any(r.problem for r in square.results):
                return None  # before larger points are drawn, which takes longest
    return square


def _points(caller: Caller, size: int, seed: int, *, unit: bool, flat: bool) -> Iterator[Point]:
    """A point with all sizes equal, or those of matrices alone, if there is one."""
    sizes = square_sizes(caller.derived.program, size, flat=flat)
    try:
        yield from several(caller.derived, 1, seed, sizes=sizes, unit=unit)
    except ChalkgradError:
        return
