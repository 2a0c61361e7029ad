"""A layer with other settings: a stride of 1 and no padding hide what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

from chalkgrad.diagnose.advice import Setting
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.report import Diagnosis

READ = {"pad": "padding", "pool_height": "window", "pool_width": "window", "pool_size": "window",
        "kernel_size": "window"}  # fmt: skip
"""The static argument that stands behind a setting of another name."""


class HasSettings(Protocol):
    """What is needed of a check."""

    caller: Caller
    elsewhere: Callable[[], Sequence[Setting]]

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
        if not found.ok or self.other is None:
            return found
        given, other = self.other
        other.elsewhere = lambda: [self.first.setting()]
        again = other.run()
        return found if again.ok else told_with(again, self.first.caller.statics, given)

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


def told_with(found: Diagnosis, before: Mapping[str, Any], given: Mapping[str, int]) -> Diagnosis:
    """A diagnosis of code that is right with the settings as they were before, and wrong with those given."""
    faults = tuple(replace(f, evidence=f"with {_spelled(given)}: {f.evidence}") for f in found.faults)
    own = {name: before[name] for name in given if before[name] is not None}
    return replace(found, faults=faults, notes=(*found.notes, f"with {_spelled(own)} it is right"))


def _spelled(values: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} = {value}" for name, value in values.items())
