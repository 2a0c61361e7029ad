"""One change of the text behind several gradients, and a fault beside one that another gradient shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from chalkgrad.diagnose.mended import PAIRS, Mender
from chalkgrad.diagnose.rerun import quiet
from chalkgrad.diagnose.search import PAIR, Explanation
from chalkgrad.expr.nodes import Tensor

SHARED = 60_000
"""Operations on small arrays, as `mended` counts them, in the search for one such change."""


def agreed(alone: Mapping[str, Explanation]) -> set[str]:
    """The inputs that share a single cause with another one: what explains two gradients is no chance.

    The right value put in for a wrong one explains every gradient, and says nothing.
    """
    causes = {
        name: (e.reasons[0].code, str(e.reasons[0].text))
        for name, e in alone.items()
        if len(e.reasons) == 1 and not e.reasons[0].given
    }
    often = Counter(causes.values())
    return {name for name, cause in causes.items() if often[cause] > 1}


def shared(mender: Mender, wanted: Sequence[Tensor], limit: float) -> Explanation | None:
    """The simplest change that makes several inputs' gradients right at once."""
    if mender.rerun is None:
        return None
    first, *others = (f"={t.name}" for t in wanted)
    stop = mender.rerun.work + SHARED
    with quiet():
        towards = [mender.reach.towards(t, {}) for t in (first, *others)]
        phases = mender.phases(first, {}, limit, everywhere=True, behind=others)
        nearest = (sorted(some, key=lambda r: (r.cost, -r.place)) for some in phases)  # to the end
        for repair in towards[0].left(chain.from_iterable(nearest)):
            if repair.cost > limit or mender.rerun.work > stop:
                return None
            if repair.given:
                continue
            active = {repair.place: repair}
            if not all(t.may_mend(repair) for t in towards):
                continue
            if all(mender.right(t, active) for t in (first, *others)) and not mender.spoils(repair):
                return mender.told(wanted[0], [repair])
    return None


def beside(mender: Mender, wanted: Tensor, others: Collection[str], limit: float) -> Explanation | None:
    """A change that makes another wrong gradient right, and one more for this one."""
    mender.likely = frozenset()
    target = f"={wanted.name}"
    if mender.rerun is None:
        return None
    with quiet():
        for other in others:
            if other == wanted.name:
                continue
            found = mender.single(f"={other}", {}, limit, 0.0, PAIRS // 4, through=target)
            if found is None:
                continue
            first = {found.place: found}
            own = None if mender.right(target, first) else mender.single(target, first, limit, 0.0, PAIRS)
            if own is not None:
                return replace(mender.told(wanted, [found, own]), cost=own.cost + PAIR)
    return None
