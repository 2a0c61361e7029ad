"""A layer with other settings: a stride of 1 and no padding hide what is done with them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

from chalkgrad.diagnose.advice import Setting
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.own_source import tree_of
from chalkgrad.diagnose.report import Diagnosis
from chalkgrad.diagnose.trial import Trial

READ = {"pad": "padding", "pool_height": "window", "pool_width": "window", "pool_size": "window",
        "kernel_size": "window"}  # fmt: skip
"""The static argument that stands behind a setting of another name."""


class HasSettings(Protocol):
    """What is needed of a check."""

    caller: Caller
    elsewhere: Callable[[], Sequence[Setting]]

    @property
    def trial(self) -> Trial | None: ...

    def run(self) -> Diagnosis: ...

    def takes_forward(self) -> bool: ...

    def setting(self) -> Setting: ...


class Moved:
    """A check of a layer as it is, and with other settings where the user's code reads any.

    Args:
        first: The check of the layer as it is.
        at: The check with some settings.
    """

    def __init__(self, first: HasSettings, at: Callable[[Mapping[str, int]], HasSettings]) -> None:
        self.first = first
        self.at = at
        first.elsewhere = self._settings

    def judged(self) -> Diagnosis:
        """The diagnosis: what is right as the layer is has to be right with other settings, too."""
        found = self.first.run()
        if self.other is None:
            return found
        given, other = self.other
        empty = "" if found.ok else _emptied(self.first)
        if empty:
            return self._told_without(empty, given, other.run())
        if not found.ok:
            return found
        other.elsewhere = lambda: [self.first.setting()]
        again = other.run()
        before = self.first.caller.statics
        own = {n: before[n] for n in given if before[n] is not None}
        return found if again.ok else told_with(again, given, f"with {_spelled(own)} it is right")

    def _told_without(self, empty: str, given: Mapping[str, int], found: Diagnosis) -> Diagnosis:
        """A diagnosis with other settings, where a slice is empty with a padding of 0 that hides all else."""
        statics = self.first.caller.statics
        zero = _spelled({n: v for n, v in statics.items() if type(v) is int and v == 0})
        hidden = f"with {zero} the slice {empty} is empty"
        if found.ok:
            return replace(found, notes=(*found.notes, f"right with {_spelled(given)}; {hidden}"))
        return told_with(found, given, hidden)

    @cached_property
    def other(self) -> tuple[Mapping[str, int], HasSettings] | None:
        """The first of the other settings with which the user's forward gives the layer's values."""
        caller = self.first.caller
        for given in moved(caller.statics, caller.options.read):
            check = self.at(given)
            if check.takes_forward():
                return given, check
        return None

    def _settings(self) -> list[Setting]:
        return [] if self.other is None else [self.other[1].setting()]


def _emptied(check: HasSettings) -> str:
    """A slice pad:-pad of the user's text, where some gradient has no entries at all and should have some."""
    trial, tree = check.trial, tree_of(check.caller.backward)
    if trial is None or trial.error or tree is None:
        return ""
    true = {t.name: v for t, v in trial.points[0].true.items()}
    if not any(g.size == 0 and n in true and true[n].size for n, g in trial.results[0].gradients.items()):
        return ""
    for node in ast.walk(tree):
        match node:
            case ast.Slice(ast.Name(lower), ast.UnaryOp(ast.USub(), ast.Name(upper))) if lower == upper:
                return f"{lower}:-{upper}"
    return ""


def moved(statics: Mapping[str, Any], read: Collection[str]) -> Iterator[dict[str, int]]:
    """Other values of the whole numbers among the static arguments that a user's code reads.

    All of them at once, which shows most, then each alone: not every program takes every combination. A
    stride that follows the window is left to overlap first.
    """
    names = [n for n in statics if n in {READ.get(r, r) for r in read}]
    whole = {n: statics[n] + 1 for n in names if type(statics[n]) is int}
    following = {n: max(whole.values()) - 1 for n in names if whole and statics[n] is None}
    tried: list[dict[str, int]] = [{**whole, **following}, whole]
    if len(whole) > 1:
        tried += [{n: value} for n, value in whole.items()]
    for given in tried:
        if given and given not in tried[: tried.index(given)]:
            yield given


def told_with(found: Diagnosis, given: Mapping[str, int], *notes: str) -> Diagnosis:
    """A diagnosis of code with settings, which are told, as is what it is like with others."""
    faults = tuple(replace(f, evidence=f"with {_spelled(given)}: {f.evidence}") for f in found.faults)
    return replace(found, faults=faults, notes=(*found.notes, *notes))


def _spelled(values: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} = {value}" for name, value in values.items())
