"""What the formulas give with other values than a point's: changed in place, or of a forward with a slip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.capture import as_array
from chalkgrad.diagnose.points import Point, with_inputs
from chalkgrad.diagnose.search import Explanation, Reason, Search
from chalkgrad.diagnose.trial import Trial
from chalkgrad.diagnose.variants import in_one_line, variants, varied
from chalkgrad.diagnose.words import words
from chalkgrad.expr.nodes import Definition, Program, Tensor
from chalkgrad.expr.ops import tensors_in
from chalkgrad.verify.environment import Array


class OtherValues:
    """Gradients that follow from other values than a backward was given.

    Args:
        derived: The derivation.
        trial: What was called with what.
        search: Compares at the points of the trial.
        spelled: The user's own name for an argument.
    """

    def __init__(self, derived: Derived, trial: Trial, search: Search, spelled: Callable[[str], str]) -> None:
        self.derived, self.trial, self.search, self.spelled = derived, trial, search, spelled
        self.points = trial.points
        self._left: dict[int, Point | None] = {}

    def stale(self, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
        """What the formulas give with the arguments as the call left them."""
        if not any(c.mutated for c in self.trial.calls):
            return
        values = []
        for at, made in enumerate(self.trial.calls):
            if at not in self._left:
                self._left[at] = self._left_by(at, made.contents)
            point = self._left[at]
            if point is None:
                return
            values.append(point.true[wanted])
        if self.search.holds(lambda at: values[at], observed):
            names = ", ".join(self.spelled(n) for n in self.trial.calls[0].mutated if n)
            text = f"{names} is changed in place, and the changed values are used for d{wanted.name}"
            yield Explanation(0.9, (Reason("mutates_input", text, self.search.line(wanted)),))

    def _left_by(self, at: int, contents: object) -> Point | None:
        point = self.points[at]
        assert isinstance(contents, dict)
        arrays: dict[Tensor, Array] = {}
        ups: dict[Tensor, Array] = {}
        for name, value in contents.items():
            for t in self.derived.program.inputs:
                if t.name == name and isinstance(value, np.ndarray) and value.shape == np.shape(
                    point.env.array(t)
                ):  # fmt: skip
                    arrays[t] = value
            for o in self.derived.program.outputs:
                if f"d{o.name}" == name and isinstance(value, np.ndarray):
                    ups[o.adjoint] = value
        above = contents.get("grad_output")  # a framework's backward, called raw
        if isinstance(above, tuple):
            floats = (o for o in self.derived.program.outputs if o.dtype == "float")
            for o, value in zip(floats, above, strict=False):
                array = as_array(value)
                if array is not None:
                    ups[o.adjoint] = np.asarray(array, float)
        cached = contents.get("cache")
        if isinstance(cached, tuple) and len(cached) == len(self.derived.program.inputs):
            pairs_ = zip(self.derived.program.inputs, cached, strict=True)
            arrays.update(
                {
                    t: v
                    for t, v in pairs_
                    if isinstance(v, np.ndarray) and v.shape == np.shape(point.env.array(t))
                }
            )
        moved = Point(point.env.having(ups), point.true, point.magnitude, point.parameters)
        try:
            return with_inputs(self.derived, moved, arrays, {})
        except ArithmeticError:
            return None

    def variants(self, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
        """What the formulas give with a parameter forgotten or misplaced in the forward values."""
        line = self.search.line(wanted)
        for code, text, forward in variants(self.derived.program):
            there = self._there(forward)
            if self.search.holds(lambda at, there=there: _gradient(there(at), wanted), observed):  # type: ignore[misc]
                yield Explanation(1.3, (Reason(code, text, line),))
            elif there(0) is not None:
                yield from self._in_one_line(wanted, observed, Reason(code, text, line), there)

    def _there(self, forward: Program) -> Callable[[int], Point | None]:
        """The points with another forward's values, each worked out when it is asked for."""
        bases = self.search.bases
        return lru_cache(None)(lambda at: varied(self.derived, forward, self.points[at], bases[at]))

    def _in_one_line(
        self, wanted: Tensor, observed: Sequence[Array], why: Reason, there: Callable[[int], Point | None]
    ) -> Iterator[Explanation]:
        """The same slip, made in one adjoint alone."""
        for d in self.derived.staged.definitions:
            if not any(t.role == "value" for t in tensors_in(d.body)):
                continue

            def predict(at: int, line: Definition = d) -> Array | None:
                other, here = there(at), self.points[at]
                if other is None:
                    return None
                return in_one_line(self.derived, line, here, other, self.search.bases[at], wanted)

            if self.search.holds(predict, observed):
                text = words(f"{why.text}, in ", d.target)
                yield Explanation(1.6, (Reason(why.code, text, d),))


def _gradient(point: Point | None, wanted: Tensor) -> Array | None:
    return None if point is None else point.true[wanted]
