"""One change of one place of the user's text, and what it does with what stands there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chalkgrad.diagnose.at_hand import Part
from chalkgrad.diagnose.watched import OPERATIONS, REDUCED, Change, Place, Scope


class Repair(NamedTuple):
    """One change of one place.

    Attributes:
        place: Its number.
        code: The cause that it cures.
        new: The text that belongs there; with `own`, a pattern for that and the text that stands there.
        cost: How unlikely it is.
        change: The change itself.
        factor: Whether it scales the whole.
        own: The text of the part that comes in.
        alike: What it is besides its place, for a slip that may have been made throughout.
    """

    place: int
    code: str
    new: str
    cost: float
    change: Change
    factor: bool = False
    own: str = ""
    alike: str = ""

    def written(self, text: str) -> str:
        """What belongs where a text stands."""
        return self.new.format(text=text, own=self.own) if self.own else self.new

    @property
    def given(self) -> bool:
        """Whether the right value of a gradient is put in for a wrong one."""
        return "∂L/∂" in self.new or "∂L/∂" in self.own


@dataclass(frozen=True, slots=True)
class Past:
    """A search that was made: within what limits, how much work was done, and what it found."""

    limit: float
    likely: frozenset[str]
    work: float
    found: Repair | None

    def answers(self, limit: float, likely: frozenset[str], work: float) -> bool:
        """Whether a search within other limits would find the same."""
        if self.found is None:
            return limit <= self.limit and work <= self.work
        fits = not likely or likely == self.likely or self.found.code in likely
        return fits and self.found.cost <= limit


def given(kind: str, operands: list[Any]) -> Any:
    """What a place gives with its operands."""
    if kind in OPERATIONS:
        return OPERATIONS[kind](*operands)
    if kind in REDUCED:
        return getattr(np, kind)(operands[0], **operands[1])
    return operands[0]


def after(place: Place, function: Callable[[Any], Any]) -> Change:
    """A change of what the place gives as it is."""
    kind = place.kind

    def change(operands: list[Any], _scope: Scope) -> Any:
        return function(given(kind, operands))

    return change


class Beside:
    """What a place gives, put together with a part.

    Attributes:
        kind: What stands there.
        part: What comes in.
        by: How: elementwise, so that many parts may be put in at once.
    """

    __slots__ = ("by", "kind", "part")

    def __init__(self, kind: str, part: Part, by: Callable[[Any, Any], Any]) -> None:
        self.kind, self.part, self.by = kind, part, by

    def __call__(self, operands: list[Any], scope: Scope) -> Any:
        return self.by(given(self.kind, operands), self.part.read(scope))


def times_rest(value: Any, part: Any) -> Any:
    """By what a mask leaves out."""
    return value * (1.0 - part)


def times_more(value: Any, part: Any) -> Any:
    """By one and a part."""
    return value * (1 + part)


def times_less(value: Any, part: Any) -> Any:
    """By one less a part."""
    return value * (1 - part)


def over_more(value: Any, part: Any) -> Any:
    """Over one and a part."""
    return value / (1 + part)
