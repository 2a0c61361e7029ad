"""Which entries of a gradient are wrong, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chalkgrad.diagnose.search import Search
from chalkgrad.diagnose.words import told_apart
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array


def worst_of(search: Search, wanted: Tensor, observed: Sequence[Array]) -> str:
    """The worst entry at the first point where one is wrong."""
    at = _first(search, wanted, observed)
    returned, true = observed[at], search.points[at].true[wanted]
    if returned.shape != true.shape or not true.size:
        return ""
    place = np.unravel_index(int(np.abs(returned - true).argmax()), true.shape)
    entry = f"[{', '.join(str(int(p)) for p in place)}]" if place else ""
    got, right = told_apart(float(returned[place]), float(true[place]))
    return f"d{wanted.name}{entry} is {got} and should be {right}"


def where(search: Search, wanted: Tensor, observed: Sequence[Array]) -> str:
    """Where the difference lies, for a difference that nothing explains."""
    at = _first(search, wanted, observed)
    returned, true = observed[at], search.points[at].true[wanted]
    if returned.shape != true.shape:
        return f"the shape is {returned.shape} instead of {true.shape}."
    wrong = np.abs(returned - true) > 1e-8 * max(float(np.abs(true).max(initial=0.0)), 1e-12)
    share = f"{int(wrong.sum())} of {wrong.size} entries differ"
    axes = []
    for axis, r in enumerate(wanted.axes):
        other = tuple(n for n in range(wrong.ndim) if n != axis)
        hit = wrong.any(axis=other)
        if not hit.all():
            axes.append(f"only at {r.name} index {', '.join(str(int(n)) for n in np.flatnonzero(hit))}")
    only = f" ({'; '.join(axes)})" if axes else ""
    return f"{share}{only}; {worst_of(search, wanted, observed)}."


def _first(search: Search, wanted: Tensor, observed: Sequence[Array]) -> int:
    """The first point at which a gradient is wrong."""
    alike = [search.equal(o, p.true[wanted]) for o, p in zip(observed, search.points, strict=True)]
    return alike.index(False) if False in alike else 0
