"""Whether what a report advises holds: the user's text is run as it would be with the advice taken.

It has to make the gradient right that it is given for, at the points of the trial and at every other setting
(a stride, a padding, the defaults of parameters) at which the text was judged.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from chalkgrad.diagnose.applied import Change, applied
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.capture import call
from chalkgrad.diagnose.explanation import Reason
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.trial import Bounds, Trial, wrong_arguments
from chalkgrad.diagnose.watched import Change as PlaceChange
from chalkgrad.diagnose.watched import Watched


@dataclass(frozen=True)
class Setting:
    """A layer with some settings, and how the user's function was called there.

    Attributes:
        caller: How the function is called.
        trial: The calls.
        bounds: What counts as rounding.
        timeout: Seconds that one call may take.
    """

    caller: Caller
    trial: Trial
    bounds: Bounds
    timeout: float | None = None

    def right(self, function: Any) -> frozenset[str]:
        """The inputs whose gradients another function gives that is called in the same way."""
        caller = self.caller
        other = Caller(function, caller.derived, caller.forward, caller.statics)
        other.like(caller)
        form = next((f for f in other.forms() if f.is_like(self.trial.form)), None)
        if form is None or not self.trial.prepared:
            return frozenset()
        found = {t.name for t in caller.derived.wrt}
        for prepared in self.trial.prepared:
            made = call(form.invoke, prepared.arguments, self.timeout)
            got = {} if made.error else other.result(made.value, form).gradients
            for t in caller.derived.wrt:
                gradient = got.get(t.name)
                if gradient is None or gradient.shape != prepared.point.true[t].shape or self.bounds.exceeded(
                    prepared.point, t, gradient
                ):  # fmt: skip
                    found.discard(t.name)
            if not found:
                break
        return frozenset(found)

    @cached_property
    def sound(self) -> frozenset[str]:
        """The inputs whose gradients are right as the text is."""
        if self.trial.error or not self.trial.results:
            return frozenset()
        wrong = wrong_arguments(self.caller.derived, self.trial, self.bounds)
        got = frozenset.intersection(*(frozenset(r.gradients) for r in self.trial.results))
        return got - frozenset(wrong)


class Advice:
    """What may be advised about one function.

    Args:
        function: The user's.
        settings: Where a change has to make a gradient right; asked for when there is a change to try.
    """

    def __init__(self, function: Any, settings: Callable[[], Sequence[Setting]]) -> None:
        self.function = function
        self._settings = settings
        self._places: Sequence[Setting] | None = None
        self._bare: dict[str, str] = {}
        self._known: dict[tuple[Change, ...], list[list[frozenset[str]]]] = {}

    @property
    def settings(self) -> Sequence[Setting]:
        """Where a change has to hold."""
        if self._places is None:
            self._places = self._settings()
        return self._places

    def holds(self, argument: str, changes: Sequence[Change]) -> bool:
        """Whether the text with some changes gives an input's gradient at every setting, and spoils none."""
        made = split(changes)
        if not made or any(_says_nothing(*change) for change in made):
            return False
        key = tuple(made)
        if key not in self._known:
            self._known[key] = [
                [s.right(function) for s in self.settings] for function in applied(self.function, made)
            ]
        return any(
            all(argument in right and s.sound <= right for s, right in zip(self.settings, each, strict=True))
            for each in self._known[key]
        )

    def holds_elsewhere(self, watched: Watched, changes: Mapping[int, PlaceChange], name: str) -> bool:
        """Whether changes of some places give an input's gradient at all settings but the first."""
        watched.active = dict(changes)
        try:
            return all(name in s.right(watched.function) for s in self.settings[1:])
        finally:
            watched.active = {}

    def fault(self, argument: str, reason: Reason, said: Callable[[str], str], because: str) -> Fault:
        """A reason as a fault; what is said of it should its advice not hold is kept."""
        found = Fault(argument, reason.code, said(str(reason.text)), because, reason.fix, reason.yours)
        if reason.bare:
            self._bare[found.evidence] = said(reason.bare)
        return found

    def after(self, words: str, fault: Fault) -> Fault:
        """A fault with other words before what is said of it."""
        found = replace(fault, evidence=f"{words}{fault.evidence}")
        if fault.evidence in self._bare:
            self._bare[found.evidence] = f"{words}{self._bare[fault.evidence]}"
        return found

    def placed(self, fault: Fault) -> bool:
        """Whether a fault says where in the user's text it is, though its advice does not hold alone."""
        return fault.evidence in self._bare.values()

    def given(self, faults: Sequence[Fault]) -> list[Fault]:
        """The faults, those without lines that do not hold when they are written in place of the user's.

        Lines of two faults of a gradient may hold together.
        """
        of: dict[str, list[Change]] = {}
        for f in faults:
            if f.argument is not None and f.yours and f.fix:
                of.setdefault(f.argument, []).append((f.yours, f.fix))
        whole = {a for a, some in of.items() if len(set(some)) > 1 and self.holds(a, some)}
        found = [f if f.argument in whole or self._holds(f) else self._without(f) for f in faults]
        if len(of) > 1 and sum(bool(f.yours) for f in found) < sum(map(len, of.values())):
            every = [change for some in of.values() for change in some]
            if all(self.holds(a, every) for a in of):  # it may not run until the last of them is mended
                return list(faults)
        return found

    def _holds(self, fault: Fault) -> bool:
        if fault.argument is None or not (fault.yours and fault.fix):
            return True
        return self.holds(fault.argument, [(fault.yours, fault.fix)])

    def _without(self, fault: Fault) -> Fault:
        """A fault without the advice."""
        evidence = self._bare.get(fault.evidence, fault.evidence)
        return replace(fault, evidence=evidence, yours="", fix="")


def _says_nothing(yours: str, fix: str) -> bool:
    """Whether a line has e / e or e - e that it had not: that is no formula that anybody should write."""
    return len(_undone(fix)) > len(_undone(yours))


def _undone(text: str) -> list[str]:
    """What is taken from itself, or divided by itself."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(left, ast.Div(), right) if ast.unparse(right) in _parts(left, ast.Mult):
                found.append(ast.unparse(node))
            case ast.BinOp(left, ast.Sub(), right) if ast.unparse(right) in _parts(left, ast.Add):
                found.append(ast.unparse(node))
    return found


def _parts(node: ast.expr, of: type[ast.operator]) -> list[str]:
    """The factors of a product, or the summands of a sum."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, of):
        return [*_parts(node.left, of), *_parts(node.right, of)]
    return [ast.unparse(node)]


def split(changes: Sequence[Change]) -> list[Change]:
    """Changes of several lines in one as changes of one line each."""
    found: list[Change] = []
    for yours, fix in changes:
        old, new = yours.splitlines(), fix.splitlines()
        found += zip(old, new, strict=True) if len(old) > 1 and len(old) == len(new) else [(yours, fix)]
    return list(dict.fromkeys(found))
