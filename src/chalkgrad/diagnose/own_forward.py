"""The user's own forward: how it is called, what it kept, and the mask that it drew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.capture import Call, as_array, call
from chalkgrad.diagnose.names import is_settings, match_all, required
from chalkgrad.diagnose.options import Options
from chalkgrad.diagnose.points import Point, with_inputs

MOST = 5
"""Of so many inputs at most all orders are tried."""


class OwnForward:
    """A forward that returns (out, cache), or the output alone.

    Args:
        function: The user's forward.
        derived: The layer's derivation.
        options: What it may be told besides the inputs.
        values: The inputs at a point.

    Attributes:
        order: The inputs in the order in which it takes them, once that is known.
        keeps: Whether it returned a cache, once it has run.
    """

    def __init__(
        self, function: Callable[..., Any], derived: Derived, options: Options,
        values: Callable[[Point], Mapping[str, Any]],
    ) -> None:  # fmt: skip
        self.function, self.derived, self.options, self.values = function, derived, options, values
        self.inputs = derived.program.inputs
        self.names = [t.name for t in self.inputs]
        self.outputs = [t for t in derived.program.outputs if t.dtype == "float"]
        self.order: tuple[str, ...] | None = None
        self.keeps: bool | None = None

    def at(self, point: Point) -> tuple[Point, Any, Call, Any]:
        """Run it; the point with the mask that it drew itself, the cache, the call, and the output."""
        read = required(self.function)
        must, may, _ = read if read is not None else ([], [], True)
        options = self.options.optional(point, may, self.values(point))
        run = self._run(point, must, options, self._placed(point, must, options))
        out, cache = self._apart(run.value)
        if not run.error:
            self.keeps = cache is not None
        return self._adopted(point, must, out), cache, run, out

    def _apart(self, value: Any) -> tuple[Any, Any]:
        """The output, or several, and the cache; a layer of several outputs may return no more than them."""
        if not isinstance(value, tuple | list) or len(value) < 2:
            return value, None
        arrays = [as_array(v) for v in value]
        alone = len(value) == len(self.outputs) and all(
            a is not None and a.ndim == len(t.axes) for a, t in zip(arrays, self.outputs, strict=True)
        )
        *outs, cache = (*value, None) if alone else value
        return (outs[0] if len(outs) == 1 else tuple(outs)), cache

    def _run(self, point: Point, must: list[str], options: dict[str, Any], order: Sequence[str]) -> Call:
        """Call the user's forward with the inputs in an order."""
        forward, values = self.function, self.values(point)
        given = self.options.positional(point, must, [(n, values[n]) for n in order])

        def invoke(arguments: dict[str, Any]) -> Any:
            *args, by_name = arguments.values()
            return forward(*args, **by_name)

        state = np.random.get_state()
        np.random.seed(0)  # a CS231n forward draws its mask from the global generator
        try:
            return call(invoke, {**given, "": options})
        finally:
            np.random.set_state(state)

    def _placed(self, point: Point, must: list[str], options: dict[str, Any]) -> tuple[str, ...]:
        """The inputs in the order in which the user's forward takes them: by their names, or else the first
        order in which it gives the layer's value."""
        if self.order is None:
            data = self.options.data(must, self.names)
            found = match_all(data, self.names) if must else None  # *inputs come in the order of the layer
            self.order = tuple(self.names) if found is None else tuple(found[n] for n in data)
            if found is None and len(data) == len(self.names) <= MOST and not self._gives(
                self._run(point, must, options, self.order), point
            ):  # fmt: skip
                orders = (o for o in permutations(self.names)
                          if self._gives(self._run(point, must, options, o), point))  # fmt: skip
                self.order = next(orders, self.order)
        return self.order

    def _gives(self, run: Call, point: Point) -> bool:
        """Whether a forward gave the layer's first output."""
        value = run.value[0] if isinstance(run.value, tuple | list) and run.value else run.value
        got, want = as_array(value), np.asarray(point.env.array(self.outputs[0]))
        return got is not None and got.shape == want.shape and np.allclose(got, want, rtol=1e-3, atol=1e-6)

    def _adopted(self, point: Point, must: list[str], out: Any) -> Point:
        """The point with the mask that the user's forward drew, read off its output."""
        masks = [t for t in self.inputs if t.dtype == "bool"]
        got = as_array(out)
        taken = match_all([n for n in must if not is_settings(n)], self.names)
        if len(masks) != 1 or got is None or (taken and masks[0].name in taken.values()):
            return point
        mask = masks[0]
        if got.shape != np.shape(point.env.array(mask)) or any(n.lower() == "mask" for n in must):
            return point
        best, distance = point, np.inf
        rates = {t: v for t, v in point.parameters.items() if 0 < v < 1}
        for keep in (False, True):  # p is the chance to drop in some years of the course, to keep in others
            trial = {t: 1 - v for t, v in rates.items()} if keep else {}
            moved = with_inputs(self.derived, point, {mask: got != 0}, trial)
            apart = float(np.abs(np.asarray(moved.env.array(self.outputs[0])) - got).max(initial=0.0))
            if apart < distance:
                best, distance = moved, apart
        return best
