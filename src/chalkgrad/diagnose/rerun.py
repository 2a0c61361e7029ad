"""The user's function with some of its expressions changed: run in part where that can be, else whole."""

from __future__ import annotations

import ast
import contextlib
import io
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.capture import as_array, duplicate
from chalkgrad.diagnose.forms import Form
from chalkgrad.diagnose.own_source import element_of
from chalkgrad.diagnose.replay import RETURNED, Replay, Slice, Step, alike, straight, work_of
from chalkgrad.diagnose.trial import Trial
from chalkgrad.diagnose.watched import Change, Watched
from chalkgrad.verify.environment import Array


class Rerun:
    """One function at the points of one trial.

    Args:
        watched: The function with hooks.
        caller: How that is called.
        form: The form of calling that fits.
        trial: The calls of the function as it is.

    Attributes:
        at: The point of the run that is going on.
        work: Operations done so far, by the count of `replay`.
        left: The variables when it returned, or when it raised.
    """

    def __init__(self, watched: Watched, caller: Caller, form: Form, trial: Trial) -> None:
        self.watched = watched
        self.caller = caller
        self.form = form
        self.trial = trial
        self.at = 0
        self.work = 0
        self.whole = 0
        begun: list[dict[str, Any]] = []
        watched.recording = True
        for at in reversed(range(len(trial.points))):
            watched.left = {}
            self.run(at, {})
            begun.insert(0, watched.begun)
        watched.recording = False
        self.steps = [self._step(n) for n in range(len(watched.body))]
        self.whole = 10 + sum(s.work for s in self.steps)
        self.replay = self._replay(begun) if all(begun) else None
        seen = [p.scope for p in watched.places if p.scope]
        self.left = dict(watched.left or (max(seen, key=len) if seen else {}))
        self._slices: dict[tuple[frozenset[int], str], Slice | None] = {}

    @staticmethod
    def of(derived: Derived, caller: Caller, trial: Trial) -> Rerun | None:
        """A caller's function, made so that it can be changed; None where its source does not allow it."""
        watched = Watched.of(caller.backward)
        if watched is None:
            return None
        other = Caller(watched.function, derived, caller.forward, caller.statics)
        other.like(caller)
        form = next((f for f in other.forms() if f.is_like(trial.form)), None)
        return Rerun(watched, other, form, trial) if form is not None else None

    def _step(self, number: int) -> Step:
        """A statement of the body; the rounds of a loop as they were."""
        step = Step.of(*self.watched.body[number])
        own = sum(p.step == number for p in self.watched.places) * len(self.trial.points)
        looped = any(isinstance(n, ast.For) for n in ast.walk(step.plain))
        rounds = self.watched.passes[number] / own if looped and own else 0.0
        return replace(step, work=int(work_of(step.plain, 1) * max(1.0, rounds))) if rounds else step

    def _replay(self, begun: list[dict[str, Any]]) -> Replay | None:
        """The statements one by one, where they follow each other."""
        plain = [p for p, _ in self.watched.body]
        if not straight(plain):
            return None
        steps = self.steps[:-1]
        last, hooked = self.watched.body[-1]
        assert isinstance(last, ast.Return)
        assert isinstance(hooked, ast.Return)
        assert isinstance(hooked.value, ast.Call)
        program = self.caller.derived.program
        ends = {"": _end(last.value, hooked.value.args[0])}
        for name in self.caller.floats:
            one, other = (
                element_of(v, name, program, *self.trial.read) for v in (last.value, hooked.value.args[0])
            )
            if one is not None and other is not None:
                ends[f"={name}"] = _end(one, other)
        try:
            with quiet():
                return Replay(steps, ends, self.watched.names, begun)
        except (Exception, SystemExit):  # noqa: BLE001 (the user's statements may raise anything)
            return None

    # --- values ------------------------------------------------------------------------------------

    def reaches(self, place: int, target: str, given: frozenset[str] = frozenset()) -> bool:
        """Whether a target may depend on a place but by way of variables that are given."""
        if self.replay is None:
            return True
        step = self.watched.places[place].step
        return step <= self.replay.broken and step in self.replay.needed(target, given)

    def value(self, target: str, at: int, active: Mapping[int, Change]) -> Array | None:
        """A gradient ("=x") or a variable ("dx") under changes; None where it raises."""
        self.at = at
        if not active:
            return self._base(target, at)
        part: Slice | None = None
        if self.replay is not None:
            part = self._slice(frozenset(self.watched.places[n].step for n in active), target)
        if part is None:
            found = self.run(at, active)
            if target.startswith("="):
                return found.get(target[1:]) if found is not None else None
            return as_array(self.watched.left.get(target))
        return self._part(part, target, at, active)

    def _base(self, target: str, at: int) -> Array | None:
        if target.startswith("="):
            results = self.trial.results
            return results[at].gradients.get(target[1:]) if at < len(results) else None
        if self.replay is not None:
            return as_array(self.replay.states[at][-1].get(target))
        self.run(at, {})
        return as_array(self.watched.left.get(target))

    def _slice(self, steps: frozenset[int], target: str) -> Slice | None:
        """What a change of some statements makes run again, once it is seen to give what the whole gives."""
        key = (steps, target)
        if key not in self._slices and self.replay is not None:
            part = self.replay.slice(steps, target)
            known = self.replay.whole or not target.startswith("=")  # what raises returned nothing
            if part is not None and known and not alike(
                self._part(part, target, 0, {}), self._base(target, 0)
            ):  # fmt: skip
                self.replay = None
                return None
            self._slices[key] = part
        return self._slices.get(key)

    def _part(self, part: Slice, target: str, at: int, active: Mapping[int, Change]) -> Array | None:
        assert self.replay is not None
        self.work += part.work
        self.watched.active = dict(active)
        try:
            with np.errstate(all="ignore"):
                value = self.replay.value(part, target, at)
        except (Exception, SystemExit):  # noqa: BLE001 (a changed text may raise anything)
            return None
        finally:
            self.watched.active = {}
        if target.startswith("=") and target not in self.replay.ends:
            return self.caller.result(value, self.form).gradients.get(target[1:])
        return as_array(value)

    def conditions(self, at: int, active: Mapping[int, Change]) -> list[Any]:
        """What the text's conditions give under changes."""
        places = self.watched.places
        if not any(p.kind == "compare" for p in places):
            return []
        kept = [(p.operands, p.value, p.scope) for p in places]
        self.watched.recording = True
        try:
            self.run(at, active)
            return [p.value for p in places if p.kind == "compare"]
        finally:
            self.watched.recording = False
            for p, (operands, value, scope) in zip(places, kept, strict=True):
                p.operands, p.value, p.scope = operands, value, scope

    def follows(self, name: str, active: Mapping[int, Change]) -> bool:
        """Whether an input's gradient grows with those from above under changes, as every gradient does."""
        given = self.trial.prepared[0].arguments
        above = {n: 2 * np.asarray(given[n]) for t in self.caller.outputs if (n := f"d{t.name}") in given}
        both = (self.run(0, active), self.run(0, active, above)) if above else (None, None)
        once, twice = (found.get(name) if found is not None else None for found in both)
        if once is None or twice is None or once.shape != twice.shape:
            return not above
        scale = float(np.abs(once).max(initial=0.0))
        return scale > 0 and bool(np.abs(2 * once - twice).max(initial=0.0) <= 1e-6 * scale)

    def run(
        self, at: int, active: Mapping[int, Change], given: Mapping[str, Any] = MappingProxyType({})
    ) -> Mapping[str, Array] | None:
        """The gradients, by input, of the whole function with some places changed; None where it raises."""
        self.at = at
        self.work += self.whole
        self.watched.active = dict(active)
        self.watched.left = {}
        try:
            with np.errstate(all="ignore"), quiet():
                value = self.form.invoke(
                    {n: duplicate(v) for n, v in {**self.trial.prepared[at].arguments, **given}.items()}
                )
        except (Exception, SystemExit):  # noqa: BLE001 (a changed text may raise anything)
            return None
        finally:
            self.watched.active = {}
        return self.caller.result(value, self.form).gradients


def _end(plain: ast.expr | None, hooked: ast.expr) -> Step:
    """The statement that keeps what is returned."""
    kept = [
        ast.fix_missing_locations(
            ast.Assign([ast.Name(RETURNED, ast.Store(), lineno=1, col_offset=0)], v, lineno=1, col_offset=0)
        )
        for v in (plain or ast.Constant(None), hooked)
    ]
    return Step.of(kept[0], kept[1])


@contextlib.contextmanager
def quiet() -> Any:
    """What a function prints is not shown."""
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
        yield
