"""The smallest change of the user's own text that makes a gradient right.

The derivation is one way to write a backward; the user's may be arranged otherwise, with a fault at a
place that no line of the derivation has. So the fault is sought in the text itself, too: each place is
changed in the small ways of `repairs`, and what makes the numbers right at every point is the cause.
"""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from operator import attrgetter

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.advice import Advice
from chalkgrad.diagnose.at_places import AtPlaces
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.capture import as_array
from chalkgrad.diagnose.context import ODD, emptied, flattened
from chalkgrad.diagnose.own_source import tree_of
from chalkgrad.diagnose.reach import Reach
from chalkgrad.diagnose.repair import Past, Repair
from chalkgrad.diagnose.repairs import LEAST_PART
from chalkgrad.diagnose.rerun import Rerun, quiet
from chalkgrad.diagnose.search import CLASH, Explanation, Reason
from chalkgrad.diagnose.targets import Targets
from chalkgrad.diagnose.throughout import throughout
from chalkgrad.diagnose.told import Teller
from chalkgrad.diagnose.trial import Trial
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array

BUDGET = 200_000
"""Operations on small arrays for the changes of one check: under a second. Counted rather than timed."""
PAIRS = 25_000
"""The same for changes beside another fault."""
DIVIDED = 2.5
"""What a division by an array costs, which undoes whatever factor is wrong: the derivation knows better."""
ALIKE = 0.2
"""By how much two changes may differ in cost and count as equally simple."""


class Mender(Targets):
    """Changes of one function, tried at the points of one trial.

    Args:
        derived: The derivation.
        caller: How the function is called.
        trial: What it returned.
        tolerance: Relative difference that counts as equal.
        advice: Knows the other settings at which a change has to hold.

    Attributes:
        made: The changes of the last explanation.
    """

    def __init__(
        self, derived: Derived, caller: Caller, trial: Trial, tolerance: float = 1e-8,
        advice: Advice | None = None,
    ) -> None:  # fmt: skip
        super().__init__(derived, trial, Rerun.of(derived, caller, trial), tolerance)
        self.advice = advice
        forward = tree_of(caller.forward) if caller.forward is not None else None
        self.at_places = AtPlaces(derived, trial, self.rerun, forward) if self.rerun is not None else None
        self.teller = Teller(derived, self.rerun.watched, self.spoils) if self.rerun is not None else None
        self._texts: dict[int, str] = {}
        self._settled: set[str] = set()
        self._conditions: list[list[object]] | None = None
        self._sound: set[str] | None = None
        self._sound_inputs: list[str] | None = None
        self._past: dict[tuple[object, ...], list[Past]] = {}
        self._simple: dict[tuple[int, ...], list[Repair]] = {}
        self._others: dict[tuple[int, ...], list[Repair]] = {}
        self.likely: frozenset[str] = frozenset()
        self.made: dict[int, Repair] = {}
        self.reach = Reach(self)

    def explained(
        self, wanted: Tensor, limit: float = 9.0, likely: Collection[str] = (), *, single: bool = False
    ) -> Explanation | None:
        """One change, or one for each wrong variable on the way, that makes an input's gradient right.

        Changes that cost more than `limit` are not tried. Of changes that cost about the same, one with a
        `likely` cause is taken. A `single` change is sought before variables are looked at one by one.
        """
        self.likely = frozenset(likely)
        if self.rerun is None:
            return None
        target = f"={wanted.name}"
        with quiet():
            found = None if single else self._line_by_line(target, limit)
            self._settled = set()
            found = self._alone(target, found, limit)
            if found is None:
                same = throughout(self.candidates(target, {}, limit), limit, lambda g: self.right(target, g))
                if same:
                    self.made = {r.place: r for r in same}
                    assert self.teller is not None
                    return self.teller.told_of_all(wanted, same)
        if not found:
            return None
        self.made = {r.place: r for r in found}
        return self.told(wanted, found)

    def _alone(self, target: str, found: list[Repair] | None, limit: float) -> list[Repair] | None:
        """A single change, where none is found yet, or none that holds at the layer's other settings.

        Where there are several, one alone at the first of their lines is better: a variable may hold
        something else than its name says.
        """
        assert self.rerun is not None
        holds = found is not None and self.holds_elsewhere(target, {r.place: r for r in found})
        if found is None or not holds:
            alone = self.single(target, {}, limit)
            return [alone] if alone is not None else found
        if len(found) > 1:
            alone = self.single(target, {}, min(limit, sum(r.cost for r in found)))
            places = self.rerun.watched.places
            if alone is not None and places[alone.place].statement == places[found[0].place].statement:
                return [alone]
        return found

    def _line_by_line(self, target: str, limit: float) -> list[Repair] | None:
        """One change for each wrong variable on the way to a gradient, those nearest to the output first."""
        fixed: dict[int, Repair] = {}
        self._settled = set()
        for name in [*self.leading(target), target]:
            if self.right(target, fixed):
                break
            if not self.right(name, fixed):
                found = self.single(name, fixed, limit, 0.5 if name != target else 1.0)
                if found is None:
                    continue
                fixed[found.place] = found
            self._settled.add(name)  # what makes the next one right does not change this one again
        return self._needed(target, fixed) if fixed and self.right(target, fixed) else None

    def _needed(self, target: str, fixed: dict[int, Repair]) -> list[Repair]:
        """Some changes but for two that undo each other: such a variable holds what its name does not say."""

        def without(*places: int) -> bool:
            rest = {n: r for n, r in fixed.items() if n not in places}
            return bool(rest) and self.right(target, rest)

        for one, other in combinations(list(fixed), 2):
            if {one, other} <= fixed.keys() and without(one, other) and not (without(one) or without(other)):
                fixed = {n: r for n, r in fixed.items() if n not in (one, other)}
        return list(fixed.values())

    def leading(self, target: str) -> list[str]:
        """The variables called like an adjoint on which a target may depend, nearest to the output first.

        But for one that is returned as it is, and should be: that is the target.
        """
        assert self.rerun is not None
        replay = self.rerun.replay
        if replay is None:
            return self.variables()
        steps = [replay.steps[k] for k in replay.needed(target) if k < len(replay.steps)]
        own, its = replay.returned(target), [t.adjoint for t in self.derived.wrt if f"={t.name}" == target]
        names = [n for n in self.variables() if not (n == own and self._adjoints[n] in its)]
        return [n for n in names if any(n in s.writes for s in steps)]

    def mends(self, name: str, fixed: dict[int, Repair], limit: float) -> Repair | None:
        """The simplest change that makes a variable or a gradient right beside others, sought a little."""
        self.likely = frozenset()
        return self.single(name, fixed, limit, 0.0, PAIRS // 2)

    def told(self, wanted: Tensor, found: Sequence[Repair]) -> Explanation:
        """Changes that make an input's gradient right together, in words."""
        assert self.teller is not None
        return self.teller.told(wanted, found)

    def reason(self, wanted: Tensor, repair: Repair) -> Reason:
        """A change in words."""
        assert self.teller is not None
        return self.teller.reason(wanted, repair)

    def hides(self, repair: Repair) -> bool:
        """Whether a change hides what stands there rather than mends it."""
        assert self.rerun is not None
        place = self.rerun.watched.places[repair.place]
        try:
            with np.errstate(all="ignore"):
                new = repair.change(place.operands, place.scope)
        except Exception:  # noqa: BLE001 (a changed text may raise anything)
            return False
        if emptied(place, new):
            return True
        if self._conditions is None:
            self._conditions = [self.rerun.conditions(at, {}) for at in range(len(self.trial.points))]
        active = {repair.place: repair.change}
        return any(flattened(b, self.rerun.conditions(at, active)) for at, b in enumerate(self._conditions))

    def severs(self, wanted: Tensor, repair: Repair) -> bool:
        """Whether a gradient no longer depends on those from above after a change: whatever it is then says
        nothing about what stood there."""
        assert self.rerun is not None
        with quiet():
            kept = self.rerun.follows(wanted.name, {repair.place: repair.change})
            return not kept and self.rerun.follows(wanted.name, {})

    def runs(self) -> bool:
        """Whether the whole text runs at the first point with the changes of the last explanation."""
        return self.rerun is not None and (
            self.rerun.run(0, {n: r.change for n, r in self.made.items()}) is not None
        )

    def at_all(self, wanted: Tensor, repair: Repair) -> list[Array] | None:
        """What a gradient becomes by a change at every point; None where it raises."""
        points = range(len(self.trial.points))
        found = [self.value(f"={wanted.name}", at, {repair.place: repair}) for at in points]
        return None if any(v is None for v in found) else [v for v in found if v is not None]

    # --- trying ------------------------------------------------------------------------------------

    def single(
        self, target: str, fixed: dict[int, Repair], limit: float, share: float = 1.0, least: int = 0,
        through: str = "",
    ) -> Repair | None:  # fmt: skip
        """The simplest change that makes a target right, beside those that are made already.

        `share` is the part of the work left that it may take, but for `least`, which it may take always. A
        change has to change the target `through`, too, if there is one. What was sought before is known.
        """
        assert self.rerun is not None
        may = max(share * (BUDGET - self.rerun.work), least)
        places = self.places(target, fixed)
        made = tuple(sorted((n, r.written("")) for n, r in fixed.items()))
        past = self._past.setdefault((target, made, through, places), [])
        for one in past:
            if one.answers(limit, self.likely, may):
                return one.found
        before = self.rerun.work
        found, whole = self._sought(target, fixed, limit, before + may, through)
        past.append(Past(limit, self.likely, np.inf if whole else self.rerun.work - before, found))
        return found

    def _sought(
        self, target: str, fixed: dict[int, Repair], limit: float, stop: float, through: str
    ) -> tuple[Repair | None, bool]:
        """The simplest change, and whether the work sufficed for all that cost no more than the limit."""
        assert self.rerun is not None
        first: Repair | None = None
        towards = self.reach.towards(target, fixed)
        for repair in towards.left(self.candidates(target, fixed, limit)):
            if repair.cost > limit:
                break
            if self.rerun.work > stop:
                return first, False
            active = {**fixed, repair.place: repair}
            if towards.may_mend(repair) and self.right(target, active):
                if through and not self.changes(through, repair):
                    continue
                if self.hides(repair) or not self.holds_elsewhere(target, active):
                    first, limit = first or repair, min(limit, repair.cost + ODD)
                    continue
                if self.spoils(repair):
                    repair = repair._replace(cost=repair.cost + CLASH)  # noqa: PLW2901
                    limit = min(limit, repair.cost)
                elif not self.likely or repair.code in self.likely:
                    return repair, True
                else:
                    limit = min(limit, repair.cost + ALIKE)
                if first is None or repair.cost < first.cost:
                    first = repair
        return first, True

    def holds_elsewhere(self, target: str, active: Mapping[int, Repair]) -> bool:
        """Whether changes of the text make a gradient right at the layer's other settings, too."""
        assert self.rerun is not None
        assert self.teller is not None
        if self.advice is None or not target.startswith("=") or not self.teller.lines([*active.values()]):
            return True
        changes = {n: r.change for n, r in active.items()}
        return self.advice.holds_elsewhere(self.rerun.watched, changes, target[1:])

    def changes(self, target: str, repair: Repair) -> bool:
        """Whether a target becomes another by a change."""
        assert self.rerun is not None
        if not self.rerun.reaches(repair.place, target):
            return False
        before, after = self.value(target, 0, {}), self.value(target, 0, {repair.place: repair})
        return before is None or after is None or not np.array_equal(before, after)

    def spoils(self, repair: Repair) -> bool:
        """Whether a change makes a gradient wrong that is right."""
        assert self.rerun is not None
        if self._sound_inputs is None:
            self._sound_inputs = [t.name for t in self.derived.wrt if self.right(f"={t.name}", {})]
        return any(
            self.rerun.reaches(repair.place, f"={n}") and not self.right(f"={n}", {repair.place: repair})
            for n in self._sound_inputs
        )

    def places(self, target: str, fixed: Collection[int], *, everywhere: bool = False) -> tuple[int, ...]:
        """The places on which a target may depend.

        Where variables are right they are left alone, unless it is asked for changes `everywhere`: what
        both gradients lack may be put in at one place of the text and at two of the derivation.
        """
        assert self.rerun is not None
        sound = set() if everywhere else (self._sound_names() | self._settled) - {target}
        found: list[int] = []
        for number, place in enumerate(self.rerun.watched.places):
            if number in fixed or place.target in sound or not place.operands:
                continue
            if isinstance(self.rerun.watched.body[place.step][0], ast.Expr):
                continue  # a call for its effect alone is no formula
            if self.rerun.reaches(number, target, frozenset(sound)):
                found.append(number)
        return tuple(found)

    def candidates(
        self, target: str, fixed: dict[int, Repair], limit: float = np.inf, *, everywhere: bool = False
    ) -> Iterator[Repair]:
        """All changes of the places on which a target may depend, simplest first, its own line's before."""
        for some in self.phases(target, fixed, limit, everywhere=everywhere):
            if not target.startswith("="):
                some = sorted(some, key=lambda r: (*self._order(r), self._assigns(r) != target))  # noqa: PLW2901
            yield from some

    def _assigns(self, repair: Repair) -> str:
        """The variable that the line of a change assigns."""
        assert self.rerun is not None
        return self.rerun.watched.places[repair.place].target

    def phases(
        self, target: str, fixed: dict[int, Repair], limit: float = np.inf, *,
        everywhere: bool = False, behind: Sequence[str] = (),
    ) -> Iterator[Sequence[Repair]]:  # fmt: skip
        """The changes of the places on which a target, and all `behind`, may depend, simplest first.

        Those that are cheaper than any part that is put in, and when these were tried all others, if some may
        cost no more than the limit.
        """
        assert self.rerun is not None
        assert self.at_places is not None
        numbers = self.places(target, fixed, everywhere=everywhere)
        numbers = tuple(n for n in numbers if all(self.rerun.reaches(n, other) for other in behind))
        before = self.value(target, 0, fixed)
        if before is not None and not np.isfinite(before).all():
            places = self.rerun.watched.places
            wild = min((p.statement for p in places if _wild(p.value)), default=len(places))
            numbers = tuple(n for n in numbers if places[n].statement <= wild)
        if numbers not in self._simple:
            some = [r for n in numbers for r in self.at_places.plain(n)]
            self._simple[numbers] = sorted(some, key=self._order)
        simple = self._simple[numbers]
        first = bisect_left(simple, LEAST_PART, key=attrgetter("cost"))
        yield simple[:first]
        if limit < LEAST_PART:
            return
        if numbers not in self._others:
            some = [r for n in numbers for r in (*self.at_places.plain(n), *self.at_places.put_in(n))]
            others = [r for r in some if r.cost >= LEAST_PART]
            self._others[numbers] = sorted(others, key=self._order)
        yield self._others[numbers]

    def _order(self, repair: Repair) -> tuple[float, bool]:
        """Simplest first; of changes as simple one word for another before what is put around a text."""
        assert self.rerun is not None
        if repair.place not in self._texts:
            self._texts[repair.place] = ast.unparse(self.rerun.watched.places[repair.place].node)
        return repair.cost, bool(repair.own) or f"({self._texts[repair.place]})" in repair.new

    def _sound_names(self) -> set[str]:
        """Variables that are right without any change."""
        if self._sound is None:
            self._sound = {n for n in self.variables() if self.right(n, {})}
        return self._sound


def _wild(value: object) -> bool:
    """Whether a value has entries that are no finite numbers."""
    array = as_array(value) if isinstance(value, np.ndarray | float) else None
    return array is not None and array.dtype.kind == "f" and not bool(np.isfinite(array).all())
