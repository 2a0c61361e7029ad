"""The smallest change of the user's own text that makes a gradient right, where no hypothesis does.

The derivation is one way to write a backward; the user's may be arranged otherwise, with a fault at a
place that no line of the derivation has. Then the fault is sought in the text itself: each place is
changed in the small ways of `repairs`, and what makes the numbers right at every point is the cause.
"""

from __future__ import annotations

import ast
import contextlib
import io
import time
from collections.abc import Iterator, Sequence

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.capture import as_array, duplicate
from chalkgrad.diagnose.graph import Graph
from chalkgrad.diagnose.own_variables import named
from chalkgrad.diagnose.repairs import Repair, ones, parts, repairs
from chalkgrad.diagnose.search import PAIR, Explanation, Reason
from chalkgrad.diagnose.trial import Trial
from chalkgrad.diagnose.watched import Watched
from chalkgrad.emit.names import identifier
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array

BUDGET = 0.9
"""Seconds of work for the changes of one check; a busy machine takes nothing from them."""
SLOW = 5e-3
"""Seconds of one call from which on too few changes could be tried."""


class Mender:
    """Changes of one function, tried at the points of one trial.

    Args:
        derived: The derivation.
        caller: How the function is called.
        trial: What it returned.
        tolerance: Relative difference that counts as equal.
    """

    def __init__(self, derived: Derived, caller: Caller, trial: Trial, tolerance: float = 1e-8) -> None:
        self.derived = derived
        self.trial = trial
        self.tolerance = tolerance
        self.watched = Watched.of(caller.backward)
        self.all: list[Repair] = []
        self.stop = 0.0
        if self.watched is None:
            return
        other = Caller(self.watched.function, derived, caller.forward, caller.statics)
        other.dtype = caller.dtype
        self.caller = other
        self.form = next((f for f in other.forms() if f.title == trial.form.title), None)
        if self.form is None:
            self.watched = None

    def explained(self, wanted: Tensor) -> Explanation | None:
        """One change, or one for each wrong variable on the way, that makes an input's gradient right."""
        if self.watched is None or not self._prepared():
            return None
        target = f"={wanted.name}"
        found = self._line_by_line(target)
        if found is None:
            alone = self._single(target, {})
            found = [alone] if alone is not None else None
        return self._told(wanted, found) if found else None

    def _line_by_line(self, target: str) -> list[Repair] | None:
        """One change for each wrong variable on the way to a gradient, those nearest to the output first."""
        fixed: dict[int, Repair] = {}
        for name in [*self._variables(), target]:
            if self._right(target, fixed):
                break
            if not self._right(name, fixed):
                found = self._single(name, fixed, share=0.5)
                if found is not None:
                    fixed[found.place] = found
        return list(fixed.values()) if fixed and self._right(target, fixed) else None

    def _told(self, wanted: Tensor, found: Sequence[Repair]) -> Explanation:
        line = next(d for d in self.derived.chosen.definitions if d.target is wanted.adjoint)
        assert self.watched is not None
        reasons = []
        for r in found:
            place = self.watched.places[r.place]
            text = f"in line {place.line}, `{ast.unparse(place.node)}` should be `{r.new}`"
            reasons.append(Reason(r.code, text, line))
        return Explanation(sum(r.cost for r in found) + PAIR * (len(found) - 1), tuple(reasons))

    # --- trying ------------------------------------------------------------------------------------

    def _prepared(self) -> bool:
        """The first run, in which every place is seen, and all changes of all places."""
        watched = self.watched
        assert watched is not None
        if self.stop:
            return bool(self.all)
        watched.recording = True
        found = self._run(0, {})
        watched.recording = False
        began = time.thread_time()
        self._run(0, {})
        if found is None or time.thread_time() - began > SLOW:
            self.stop = 1.0
            return False
        self.stop = time.thread_time() + BUDGET
        at_hand = parts(watched, {r.name: n for r, n in self.trial.points[0].env.sizes.items()})
        env = self.trial.points[0].env
        values = {
            t: np.asarray(env.array(t))
            for t in self.derived.program.tensors()
            if t.dtype == "float" and t in env.arrays
        }
        arrays = {n: a for n, v in watched.left.items() if (a := as_array(v)) is not None}
        ours = {n: t for t, n in named(values, arrays).items()}
        graph = Graph.of(self.derived)

        def cause(one: str, two: str) -> str:
            both = one in ours and two in ours
            return "preactivation" if both and graph.activates(ours[one], ours[two]) else "wrong_operand"

        for number, place in enumerate(watched.places):
            if place.operands:
                above = watched.places[place.above] if place.above >= 0 else None
                self.all += repairs(number, place, above, at_hand, cause)
                if place.kind != "number" and place.kind != "compare" and isinstance(
                    place.value, np.ndarray | float
                ):  # fmt: skip
                    self.all += ones(number, place)
        self.all.sort(key=lambda r: r.cost)
        return bool(self.all)

    def _run(self, at: int, active: dict[int, Repair]) -> dict[str, Array] | None:
        """The gradients, by input, of the function with some places changed; None where it raises."""
        watched = self.watched
        assert watched is not None
        assert self.form is not None
        watched.active = {n: r.change for n, r in active.items()}
        try:
            heard = io.StringIO()
            with (
                np.errstate(all="ignore"),
                contextlib.redirect_stdout(heard),
                contextlib.redirect_stderr(heard),
            ):
                value = self.form.invoke(
                    {n: duplicate(v) for n, v in self.trial.prepared[at].arguments.items()}
                )
        except (Exception, SystemExit):  # noqa: BLE001 (a changed text may raise anything)
            return None
        finally:
            watched.active = {}
        return dict(self.caller.result(value, self.form).gradients)

    def _single(self, target: str, fixed: dict[int, Repair], share: float = 1.0) -> Repair | None:
        """The simplest change that makes a target right, beside those that are made already.

        `share` is the part of the time left that it may take.
        """
        now = time.thread_time()
        stop = now + share * (self.stop - now)
        matter = self._matter(target, fixed)
        for repair in self.all:
            if time.thread_time() > stop:
                return None
            if repair.place in matter and repair.place not in fixed and self._right(
                target, {**fixed, repair.place: repair}
            ):  # fmt: skip
                return repair
        return None

    def _matter(self, target: str, fixed: dict[int, Repair]) -> set[int]:
        """The places on which a target depends."""
        before = self._value(target, 0, fixed)
        found = set()
        assert self.watched is not None
        if before is not None and not np.isfinite(before).all():
            return self._unbounded() - fixed.keys()
        sound = {n for n in self._variables() if n != target and self._right(n, fixed)}
        for number in {r.place for r in self.all} - fixed.keys():
            place = self.watched.places[number]
            if place.target in sound:
                continue
            if np.asarray(place.value).dtype.kind != "f":
                found.add(number)
                continue
            shaken = next(r for r in self.all if r.place == number)
            after = self._value(target, 0, {**fixed, number: shaken})
            if before is None or after is None or before.shape != after.shape or (before != after).any():
                found.add(number)
        return found

    def _unbounded(self) -> set[int]:
        """The places of the first statement with a value that is no finite number."""
        assert self.watched is not None
        places = self.watched.places
        wild = [p.statement for p in places if _wild(p.value)]
        return {n for n, p in enumerate(places) if wild and p.statement == min(wild)}

    def _right(self, target: str, active: dict[int, Repair]) -> bool:
        """Whether a target is what it should be at every point."""
        for at in range(len(self.trial.points)):
            value, true = self._value(target, at, active), self._true(target, at)
            if value is None or value.shape != true.shape or not np.isfinite(value).all():
                return False
            scale = float(np.abs(true).max(initial=0.0))
            if not np.abs(value - true).max(initial=0.0) <= self.tolerance * scale:
                return False
        return True

    def _value(self, target: str, at: int, active: dict[int, Repair]) -> Array | None:
        """A gradient ("=x") or a variable ("dx") under changes."""
        assert self.watched is not None
        self.watched.left = {}
        found = self._run(at, active)
        if target.startswith("="):
            value = (found or {}).get(target[1:])
        else:
            value = as_array(self.watched.left.get(target))
        return None if value is None or value.dtype.kind not in "fiu" else np.asarray(value, float)

    # --- what is right -----------------------------------------------------------------------------

    def _adjoints(self) -> dict[str, Tensor]:
        return {identifier(f"d{d.target.name}"): d.target for d in self.derived.staged.definitions}

    def _true(self, target: str, at: int) -> Array:
        env = self.trial.points[at].env
        if target.startswith("="):
            tensor = next(t for t in self.derived.wrt if t.name == target[1:])
            return np.asarray(self.trial.points[at].true[tensor], float)
        return np.asarray(env.array(self._adjoints()[target]), float)

    def _variables(self) -> Iterator[str]:
        """The user's variables that are called like an adjoint of the derivation."""
        assert self.watched is not None
        self._run(0, {})
        left = dict(self.watched.left)
        for name in self._adjoints():
            if name in left and np.shape(left[name]) == self._true(name, 0).shape:
                yield name


def _wild(value: object) -> bool:
    """Whether a value has entries that are no finite numbers."""
    array = as_array(value) if isinstance(value, np.ndarray | float) else None
    return array is not None and not bool(np.isfinite(array).all())
