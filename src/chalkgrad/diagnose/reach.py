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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chalkgrad.diagnose.capture import duplicate
from chalkgrad.diagnose.repair import Repair, given
from chalkgrad.diagnose.span import allowance, directions, largest, spanned
from chalkgrad.diagnose.watched import Change, Place, Scope
from chalkgrad.verify.environment import Array

if TYPE_CHECKING:
    from chalkgrad.diagnose.mended import Mender

MOST = 100
"""Of larger values no table is made."""

PRECISE = 1e-10
"""How closely a table must give what the text gives for values of its own, or it is not used."""

TEST = 2
"""Operations that a change costs which is dismissed by a table, as `mended` counts them."""

Fixed = Mapping[int, Repair]


@dataclass(frozen=True, slots=True)
class Table:
    """How a target follows what stands at a place, beside changes that are made already.

    Attributes:
        operands: What the place works with.
        scope: The variables there.
        here: What it gives.
        base: The target as it is.
        slopes: How each entry of the target follows each entry of that.
        gap: What the target lacks.
        least: A difference that counts as none.
        solvable: Whether some value of the place makes the target right.
    """

    operands: list[Any]
    scope: Scope
    here: Array
    base: Array
    slopes: Array
    gap: Array
    least: float
    solvable: bool

    def may(self, change: Change) -> bool:
        """Whether a change may make the target right; True where the table does not tell."""
        new = self._changed(change)
        if new is None:
            return False
        if not self._tells(new):
            return True
        if not self.solvable:
            return False
        with np.errstate(all="ignore"):
            left = self.gap - self.slopes @ (np.asarray(new, float) - self.here).ravel()
        return not largest(left) > self.least

    def value(self, change: Change) -> Array | None:
        """The target after a change; None where the table does not tell."""
        new = self._changed(change)
        if not self._tells(new):
            return None
        with np.errstate(all="ignore"):
            moved = self.slopes @ (np.asarray(new, float) - self.here).ravel()
        return np.asarray(self.base + moved.reshape(self.base.shape))

    def _changed(self, change: Change) -> Any:
        """What the place gives after a change; None where that raises."""
        try:
            with np.errstate(all="ignore"):
                return change(self.operands, self.scope)
        except Exception:  # noqa: BLE001 (a changed text may raise anything)
            return None

    def _tells(self, new: Any) -> bool:
        """Whether the table holds for what the place gives."""
        return _is_float(new) and np.shape(new) == self.here.shape


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

    def towards(self, target: str, fixed: Fixed) -> Towards:
        """What changes may make a target right, beside others that are made."""
        key = (target, *sorted((n, r.written("")) for n, r in fixed.items()))
        if key not in self._towards:
            self._towards[key] = Towards(self, target, dict(fixed))
        return self._towards[key]

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

    def may_mend(self, repair: Repair) -> bool:
        """Whether a change may make the target right; True where that is not known."""
        rerun = self.reach.mender.rerun
        assert rerun is not None
        root = self.reach.root(rerun.watched.places[repair.place].step)
        whole = self._table(root) if root is not None else None
        if whole is not None and not whole.solvable and self.reach.keeps_shape(repair):
            return False
        own = self._table(repair.place)
        if own is None:
            return repair.place not in self._apart
        rerun.work += TEST
        return own.may(repair.change)

    def value(self, repair: Repair) -> Array | None:
        """The target at the first point after a change; None where no table tells."""
        rerun = self.reach.mender.rerun
        own = self._table(repair.place)
        assert rerun is not None
        if own is None:
            return None
        rerun.work += TEST
        return own.value(repair.change)

    def _table(self, place: int) -> Table | None:
        """The table of a place, made when it is first asked for."""
        if place not in self._tables:
            self._tables[place] = self._made(place)
        return self._tables[place]

    def _made(self, number: int) -> Table | None:
        mender, target = self.reach.mender, self.target
        assert mender.rerun is not None
        place = mender.rerun.watched.places[number]
        if place.looped or not _is_float(place.value) or not 0 < np.size(place.value) <= MOST:
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
        if base is None or base.shape != true.shape or len(seen) != 1:
            return None
        here = np.asarray(given(place.kind, duplicate(seen[0][0])), float)
        scale = largest(here) or 1.0
        odd = np.random.default_rng(0).uniform(0.5, 1.5, size=here.size)
        found = []
        for move in (*np.eye(here.size), odd):
            value = under(_put(here + scale * move.reshape(here.shape)))
            if value is None or value.shape != base.shape:
                return None
            found.append((value - base).ravel() / scale)
        slopes, apart, gap = np.stack(found[:-1], axis=1), found[-1], (true - base).ravel()
        size = largest(base, true, scale * apart)
        # Not a number compares as false: where an entry is none, the table is not used.
        if not largest(scale * (apart - slopes @ odd)) <= PRECISE * size:
            return None
        least = allowance(mender.tolerance, gap, size)
        return Table(*seen[0], here, base, slopes, gap, least, spanned(directions(slopes), gap, least))


def _put(value: Array) -> Change:
    return lambda _operands, _scope: value.copy()


def _copied(value: Any) -> Any:
    """Arrays as they are now: later statements may work on them in place."""
    return value.copy() if isinstance(value, np.ndarray) else value


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating | np.ndarray) and np.asarray(value).dtype.kind == "f"


def _assigns(statement: ast.stmt, first: Place) -> bool:
    """Whether a statement gives one variable what stands at a place."""
    match statement:
        case ast.Assign(targets=[ast.Name()], value=value) | ast.AugAssign(target=ast.Name(), value=value):
            return ast.dump(first.node) == ast.dump(value)
    return False


def _keeps(place: Place, change: Change) -> bool:
    if not _is_float(place.value):
        return False
    try:
        with np.errstate(all="ignore"):
            new = change(place.operands, place.scope)
    except Exception:  # noqa: BLE001 (a changed text may raise anything)
        return False
    return _is_float(new) and np.shape(new) == np.shape(place.value)
