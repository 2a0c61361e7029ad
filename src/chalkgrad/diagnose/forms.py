"""What a way of calling a backward consists of, and what came back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalkgrad.diagnose.capture import Call
from chalkgrad.diagnose.points import Point
from chalkgrad.verify.environment import Array


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that is ready: its point (a forward may draw a mask), arguments, and the forward's call."""

    point: Point
    arguments: Mapping[str, Any]
    forward: Call | None = None
    out: Any = None


@dataclass(frozen=True, slots=True)
class Form:
    """One way to call a backward.

    Attributes:
        title: In words, as `backward(dout, cache)`.
        prepare: Makes the arguments at a point.
        invoke: Calls the function with them.
        upstream: Whether the gradient from above is an argument; a loss may take none.
        valued: Whether the function returns the loss before the gradients, as CS231n's losses do.
        order: The inputs in the order in which their gradients come back; the layer's if empty.
        note: What is worth a remark where it fits.
    """

    title: str
    prepare: Callable[[Point], Prepared]
    invoke: Callable[[dict[str, Any]], Any]
    upstream: bool = True
    valued: bool = False
    order: tuple[str, ...] = ()
    note: str = ""

    def is_like(self, other: Form) -> bool:
        """Whether two forms call a function in the same way."""
        return (self.title, self.order) == (other.title, other.order)


@dataclass(frozen=True, slots=True)
class Result:
    """The gradients that a call gave, by input name.

    Attributes:
        gradients: Raw arrays, as returned.
        missing: Inputs without a gradient, with what stood in its place.
        excused: Inputs without a gradient that are data, such as a loss's targets.
        problem: What is wrong with the returned object as a whole; empty if nothing.
        order: The inputs in the order in which the gradients were read, where they are no dictionary.
        loss: The value of the loss, where it came along.
        lead: Where that stood: 1 before the gradients, -1 behind them, 0 nowhere.
    """

    gradients: Mapping[str, Array]
    missing: Mapping[str, str] = field(default_factory=dict)
    excused: tuple[str, ...] = ()
    problem: str = ""
    order: tuple[str, ...] = ()
    loss: Any = None
    lead: int = 0
