"""One slip made at every like place of the text: `sum(0)` for `sum(1)` in both sums of a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chalkgrad.diagnose.repair import Repair

REPEATED = 0.3
"""What a slip costs more that is made at more than one place: it is one slip still."""

Right = Callable[[dict[int, Repair]], bool]


def throughout(candidates: Iterable[Repair], limit: float, right: Right) -> list[Repair]:
    """The simplest change that, made at all like places, makes a gradient right; empty if there is none.

    Places where the gradient does without it are left as they are: it may be right there.

    Args:
        candidates: Changes of single places; those with one `alike` are one slip.
        limit: What the change may cost.
        right: Whether a gradient is right under some changes, by place.
    """
    groups: dict[str, dict[int, Repair]] = {}
    for repair in candidates:
        if repair.alike and repair.cost + REPEATED <= limit:
            groups.setdefault(repair.alike, {}).setdefault(repair.place, repair)
    some = sorted((g for g in groups.values() if len(g) > 1), key=lambda g: max(r.cost for r in g.values()))
    found = next((g for g in some if right(g)), {})
    for place in list(found):
        rest = {n: r for n, r in found.items() if n != place}
        if rest and right(rest):
            found = rest
    return list(found.values())
