"""Where the user's text departs from the derivation, line by line, where no cause explains all of it.

Each variable that is called like an adjoint is compared with what the derivation gives for it. The first
that differs is the first fault; with the right value in its place the next one is looked for. So two
faults are told apart however large each is, and a fault that has no name has a line.
"""

from __future__ import annotations

from chalkgrad.diagnose.mended import DIVIDED, Mender
from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.rerun import quiet
from chalkgrad.diagnose.search import PAIR, Explanation, Reason
from chalkgrad.diagnose.words import words
from chalkgrad.expr.nodes import Tensor

NAMELESS = 9.0
"""What a fault without a name costs."""


def located(mender: Mender, wanted: Tensor) -> Explanation | None:
    """The causes, where they have one, and the lines of all faults on the way to a gradient."""
    if mender.rerun is None:
        return None
    target = f"={wanted.name}"
    fixed: dict[int, Repair] = {}
    reasons: list[Reason] = []
    with quiet():
        for name in [*mender.leading(target), target]:
            if mender.right(target, fixed):
                break
            if mender.right(name, fixed) or (name != target and mender.holds(name, wanted)):
                continue  # what is called dx may become the gradient of x only in the `return`
            found = mender.mends(name, fixed, DIVIDED)
            reason = mender.reason(wanted, found) if found is not None else None
            if found is None and name != target:
                found = _put_right(mender, name)
                reason = _departs(mender, name, found) if found is not None else None
            if found is not None and reason is not None:
                fixed[found.place] = found
                reasons.append(reason)
        if not reasons or not mender.right(target, fixed):
            return None
    return Explanation(NAMELESS + PAIR * (len(reasons) - 1), tuple(reasons))


def _put_right(mender: Mender, name: str) -> Repair | None:
    """The derivation's value in place of what a line gives, where one line alone gives it."""
    assert mender.rerun is not None
    rerun = mender.rerun
    places = rerun.watched.places
    own = [n for n, p in enumerate(places) if p.target == name]  # of each statement the whole comes first
    if len({places[n].statement for n in own}) != 1 or places[own[0]].looped:
        return None
    return Repair(own[0], "unknown", name, NAMELESS, lambda _operands, _scope: mender.true(name, rerun.at))


def _departs(mender: Mender, name: str, repair: Repair) -> Reason:
    """Words for a line without a cause."""
    assert mender.rerun is not None
    place = mender.rerun.watched.places[repair.place]
    line = mender.line_of(name)
    text = words(f"in line {place.line}, {name} is not ", line.target, ", even with right values before it")
    return Reason("unknown", text, line)
