"""Changes that cannot make a target right, told apart from the others without running the text for each.

A gradient follows most of what its text works out linearly, as it follows the adjoints behind it. So what
one place holds is given other values, an entry at a time, and these few runs tell what any change of the
place does to a target:

    right  −  now   has to be   J · (changed − now)

The same for what a whole statement assigns: where no value of it makes the target right, no change of any of
its places does. Nothing is decided here but that a change is out of the question.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chalkgrad.diagnose.blocks import LARGEST, measured
from chalkgrad.diagnose.capture import duplicate
from chalkgrad.diagnose.repair import Beside, Repair, given
from chalkgrad.diagnose.table import Known, Table, is_float
from chalkgrad.diagnose.watched import Change, Place, Scope
from chalkgrad.verify.environment import Array

if TYPE_CHECKING:
    from chalkgrad.diagnose.mended import Mender

TEST = 2
"""Operations that a change costs which is dismissed by a table, as `mended` counts them."""

ELEMENTWISE = ("Add", "Sub", "Mult", "Div", "Pow")

Fixed = Mapping[int, Repair]


class Reach:
    """What changes of one text may reach at the first point.

    Args:
        mender: Runs the text with changes.
    """

    def __init__(self, mender: Mender) -> None:
        self.mender = mender
        self._towards: dict[tuple[object, ...], Towards] = {}
        self._roots: dict[int, int | None] = {}
        self._keeps: dict[int, bool] = {}
        self._rows: dict[tuple[int, tuple[Any, ...]], Array | None] = {}

    def towards(self, target: str, fixed: Fixed) -> Towards:
        """What changes may make a target right, beside others that are made."""
        key = (target, *sorted((n, r.written("")) for n, r in fixed.items()))
        if key not in self._towards:
            self._towards[key] = Towards(self, target, dict(fixed))
        return self._towards[key]

    def known(self, fixed: Fixed) -> Known:
        """What tables beside some changes may share of the parts that they read."""
        rerun = self.mender.rerun
        assert rerun is not None
        if rerun.replay is None:
            return Known(frozenset(), {})
        steps = rerun.replay.steps
        written = [n for s in steps for n in s.writes]
        arguments = rerun.left.keys() - set(written)
        first = min((rerun.watched.places[n].step for n in fixed), default=len(steps))
        moved = {n for s in steps[first:] for n in s.writes}
        return Known(frozenset((rerun.replay.once | arguments) - moved), self._rows)

    def root(self, step: int) -> int | None:
        """The place of all that a plain assignment gives a variable; None for any other statement."""
        if step not in self._roots:
            assert self.mender.rerun is not None
            watched = self.mender.rerun.watched
            first = next((n for n, p in enumerate(watched.places) if p.step == step), None)
            fits = first is not None and _assigns(watched.body[step][0], watched.places[first])
            self._roots[step] = first if fits else None
        return self._roots[step]

    def keeps_shape(self, repair: Repair) -> bool:
        """Whether a change gives a number or an array like the one that it replaces."""
        if id(repair) not in self._keeps:
            assert self.mender.rerun is not None
            self._keeps[id(repair)] = _keeps(self.mender.rerun.watched.places[repair.place], repair.change)
        return self._keeps[id(repair)]


class Towards:
    """What changes may make one target right, beside others that are made.

    Args:
        reach: What is known of the text.
        target: The gradient or variable.
        fixed: The other changes.
    """

    def __init__(self, reach: Reach, target: str, fixed: Fixed) -> None:
        self.reach, self.target, self.fixed = reach, target, fixed
        self._tables: dict[int, Table | None] = {}
        self._apart: set[int] = set()
        self._misshapen: set[int] = set()
        self._dismissed: dict[int, frozenset[int]] = {}
        self._projected: dict[int, tuple[Array, Array, dict[int, Array]]] = {}

    @cached_property
    def _known(self) -> Known:
        return self.reach.known(self.fixed)

    def left(self, repairs: Iterable[Repair]) -> Iterator[Repair]:
        """The changes without most of those that cannot make the target right."""
        rerun = self.reach.mender.rerun
        assert rerun is not None
        for repair in repairs:
            if type(repair.change) is Beside and id(repair.change) in self._out(repair.place):
                rerun.work += TEST
            else:
                yield repair

    def may_mend(self, repair: Repair) -> bool:
        """Whether a change may make the target right; True where that is not known."""
        if self._lost(repair.place) and self.reach.keeps_shape(repair):
            return False
        own = self._asked(repair)
        if own is None:
            lost = repair.place in self._misshapen and self.reach.keeps_shape(repair)
            return not lost and repair.place not in self._apart
        return own.may(repair.change)

    def _lost(self, place: int) -> bool:
        """Whether no value of the statement that holds a place makes the target right."""
        rerun = self.reach.mender.rerun
        assert rerun is not None
        root = self.reach.root(rerun.watched.places[place].step)
        whole = self._table(root) if root is not None else None
        return (whole is not None and not whole.solvable) or root in self._misshapen

    def _out(self, number: int) -> frozenset[int]:
        """What of the parts that may be put in at a place is out of the question."""
        if number not in self._dismissed:
            rerun, beside = self.reach.mender.rerun, self._beside(number)
            assert rerun is not None
            value = rerun.watched.places[number].value
            lost = is_float(value) and self._lost(number)
            own, rerun.at = None if lost else self._table(number), 0
            if own is not None:
                self._dismissed[number] = own.dismissed(beside, self._known)
            elif lost or number in self._misshapen:
                self._dismissed[number] = frozenset(id(c) for c in beside if c.part.stays(np.shape(value)))
            else:
                self._dismissed[number] = frozenset(map(id, beside if number in self._apart else ()))
        return self._dismissed[number]

    def _beside(self, place: int) -> list[Beside]:
        """The changes of a place that put a part in."""
        places = self.reach.mender.at_places
        assert places is not None
        return [r.change for r in places.put_in(place) if isinstance(r.change, Beside)]

    def value(self, repair: Repair) -> Array | None:
        """The target at the first point after a change; None where no table tells."""
        own = self._asked(repair)
        return None if own is None else own.value(repair.change)

    def along(self, repair: Repair, directions: Array) -> Array | None:
        """How far the target lies along some directions at the first point after a change.

        None where no table tells. The directions have to be the same each time.
        """
        own = self._asked(repair)
        if own is None:
            return None
        if repair.place not in self._projected:
            flat = directions.reshape(own.base.size, -1)
            moves = own.projected(self._beside(repair.place), directions, self._known)
            self._projected[repair.place] = (own.base.ravel() @ flat, own.against(directions), moves)
        base, weights, moves = self._projected[repair.place]
        if id(repair.change) in moves:
            return np.asarray(base + moves[id(repair.change)])
        moved = own.moved(repair.change)
        with np.errstate(all="ignore"):
            return None if moved is None else np.asarray(base + moved @ weights)

    def _asked(self, repair: Repair) -> Table | None:
        """The table for a change, which counts as work."""
        rerun, own = self.reach.mender.rerun, self._table(repair.place)
        assert rerun is not None
        if own is not None:
            rerun.work, rerun.at = rerun.work + TEST, 0
        return own

    def _table(self, place: int) -> Table | None:
        """The table of a place, made when it is first asked for."""
        if place not in self._tables:
            self._tables[place] = self._made(place)
        return self._tables[place]

    def _made(self, number: int) -> Table | None:
        mender, target = self.reach.mender, self.target
        assert mender.rerun is not None
        place = mender.rerun.watched.places[number]
        if place.looped or not is_float(place.value) or not 0 < np.size(place.value) <= LARGEST:
            return None
        seen: list[tuple[list[Any], Scope]] = []

        def watch(operands: list[Any], scope: Scope) -> Any:
            seen.append((duplicate(operands), {n: _copied(v) for n, v in scope.items()}))
            return given(place.kind, operands)

        def under(change: Change) -> Array | None:
            return mender.value(target, 0, {**self.fixed, number: Repair(number, "", "", 0.0, change)})

        base, true = under(watch), mender.true(target, 0)
        if base is not None and not seen:
            self._apart.add(number)  # another gradient's, in a line that returns them all
        if base is None or len(seen) != 1:
            return None
        here = np.asarray(given(place.kind, duplicate(seen[0][0])), float)
        if base.shape != true.shape:
            others = (under(_put(by * (1.0 + np.abs(here)))) for by in (1.0, -1.0))
            if all(other is not None and other.shape == base.shape for other in others):
                self._misshapen.add(number)  # whatever stands there: another shape is needed
            return None
        slopes = measured(lambda value: under(_put(value)), here, base)
        if slopes is None:
            return None
        return Table.of(*seen[0], here, base, true, slopes, mender.tolerance, self._spread(place, here))

    def _spread(self, place: Place, here: Array) -> bool:
        """Whether what stands beside a place in an elementwise operation has all entries of the result."""
        assert self.reach.mender.rerun is not None
        above = self.reach.mender.rerun.watched.places[place.above] if place.above >= 0 else None
        if above is None or above.kind not in ELEMENTWISE or self.fixed:
            return False
        shapes = [np.shape(v) for v in above.operands]
        others = shapes.count(np.shape(above.value)) - (here.shape == np.shape(above.value))
        return here.shape in shapes and others > 0


def _put(value: Array) -> Change:
    return lambda _operands, _scope: value.copy()


def _copied(value: Any) -> Any:
    """Arrays as they are now: later statements may work on them in place."""
    return value.copy() if isinstance(value, np.ndarray) else value


def _assigns(statement: ast.stmt, first: Place) -> bool:
    """Whether a statement gives one variable what stands at a place."""
    match statement:
        case ast.Assign(targets=[ast.Name()], value=value) | ast.AugAssign(target=ast.Name(), value=value):
            return ast.dump(first.node) == ast.dump(value)
    return False


def _keeps(place: Place, change: Change) -> bool:
    if not is_float(place.value):
        return False
    try:
        with np.errstate(all="ignore"):
            new = change(place.operands, place.scope)
    except Exception:  # noqa: BLE001 (a changed text may raise anything)
        return False
    return is_float(new) and np.shape(new) == np.shape(place.value)
