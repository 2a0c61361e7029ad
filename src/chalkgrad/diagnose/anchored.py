"""The derivation followed along the user's own intermediate gradients: which line is the first wrong one.

Where the user's code has a variable dv for our ∂L/∂v, what it holds is taken as given for every line
behind it. So each line is judged on its own: a wrong dv and a wrong sign in dx are two faults of one
line each, and a wrong line far up is found where it stands.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chalkgrad.derivation import Backward, Derived
from chalkgrad.diagnose.capture import as_array
from chalkgrad.diagnose.labelled import Evaluation
from chalkgrad.diagnose.names import PREFIXES, SELF, match
from chalkgrad.diagnose.own_variables import equal
from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.search import PAIR, Explanation, Search
from chalkgrad.emit.names import identifier
from chalkgrad.expr.nodes import Definition, Tensor
from chalkgrad.expr.ops import tensors_in
from chalkgrad.verify.environment import Array

Held = Sequence[Mapping[str, Array]]
"""What the user's variables hold, by name, at each point."""

NUMBERS = frozenset({"sign", "constant_factor", "sum_for_mean", "mean_for_sum"})
"""Causes that a later line may undo: a variable need not hold what its name says."""


class Anchored:
    """A derivation whose intermediate adjoints are those of the user, where there is a variable for them.

    Args:
        derived: The derivation.
        points: Where the user's code was called.
        held: What its variables held there.
        tolerance: Relative difference that counts as equal.
    """

    def __init__(self, derived: Derived, points: Sequence[Point], held: Held, tolerance: float) -> None:
        self.derived = derived
        self.points = points
        self.tolerance = tolerance
        wanted = {t.adjoint for t in derived.wrt}
        names = adjoint_names(derived)
        called = called_after(derived, points[0], held[0]) if held else {}
        self.anchors: dict[Tensor, list[Array]] = {}
        for d in derived.staged.definitions:
            if d.target not in wanted and d.target not in derived.upstream:
                found = _variable(d.target, points, held, names, called)
                if found is not None:
                    self.anchors[d.target] = found
        self._explained: dict[Tensor, tuple[bool, Explanation | None]] = {}
        self._searches: dict[Tensor, Search | None] = {}

    def explained(self, wanted: Tensor, observed: Sequence[Array]) -> Explanation | None:
        """One cause for each wrong line on the way to an input's gradient; None where one has none."""
        found: list[Explanation] = []
        for anchor in self._behind(wanted.adjoint):
            right, why = self._judged(anchor)
            if not right and why is None:
                return None
            if why is not None:
                found.append(why)
        search = self._search(wanted.adjoint)
        if search is None:
            return None
        true = [p.true[wanted] for p in search.points]
        if any(t.shape != o.shape for t, o in zip(true, observed, strict=True)):
            return None
        if not search.holds(lambda at: true[at], observed):
            own = _simplest(search, wanted, observed)
            if own is None:
                return None
            found.append(own)
        if not found:
            return None
        reasons = tuple(dict.fromkeys(r for e in found for r in e.reasons))
        whole = Explanation(sum(e.cost for e in found) + PAIR * (len(found) - 1), reasons)
        fewer = (self._without(a).explained(wanted, observed) for a in self._scaled(wanted) if len(found) > 1)
        return min([whole, *(e for e in fewer if e is not None)], key=lambda e: e.cost)

    def _scaled(self, wanted: Tensor) -> list[Tensor]:
        """The user's variables that are off by a number: two that cancel are the user's way to write it."""
        whys = {a: self._judged(a)[1] for a in self._behind(wanted.adjoint)}
        return [a for a, e in whys.items() if e is not None and e.reasons[0].code in NUMBERS]

    def _without(self, anchor: Tensor) -> Anchored:
        """The same where one of the user's variables is taken for none of the derivation's."""
        other = copy.copy(self)
        other.anchors = {a: v for a, v in self.anchors.items() if a is not anchor}
        other._explained, other._searches = {}, {}
        return other

    def following(self, wanted: Tensor) -> list[Array] | None:
        """The gradient that follows from the user's intermediate ones; None where none of them is wrong."""
        if all(self._judged(a)[0] for a in self._behind(wanted.adjoint)):
            return None
        search = self._search(wanted.adjoint)
        return None if search is None else [p.true[wanted] for p in search.points]

    def contradicts(self, explanation: Explanation) -> bool:
        """Whether a line that is said to be wrong is one whose variable is right in the user's code."""
        return any(self.right(r.expected.target) for r in explanation.reasons)

    def right(self, adjoint: Tensor) -> bool:
        """Whether the user's code has a variable for an adjoint, which is what it should be."""
        return adjoint in self.anchors and all(
            self._close(own, np.asarray(p.env.array(adjoint), float))
            for own, p in zip(self.anchors[adjoint], self.points, strict=True)
        )

    def _close(self, own: Array, true: Array) -> bool:
        scale = float(np.abs(true).max(initial=0.0))
        return bool(np.abs(own - true).max(initial=0.0) <= self.tolerance * scale)

    def upstream_reasons(self, wanted: Tensor) -> list[Explanation]:
        """Why the intermediate gradients behind an input's are wrong."""
        return [e for a in self._behind(wanted.adjoint) if (e := self._judged(a)[1]) is not None]

    # --- lines -------------------------------------------------------------------------------------

    def _judged(self, anchor: Tensor) -> tuple[bool, Explanation | None]:
        """Whether the user's variable follows from those before it, and if not, why."""
        if anchor not in self._explained:
            of = Tensor(anchor.name, anchor.axes, "float", "value")
            search = self._search(anchor)
            if search is None or search.holds(lambda at: search.points[at].true[of], self.anchors[anchor]):
                self._explained[anchor] = True, None
            else:
                self._explained[anchor] = False, _simplest(search, of, self.anchors[anchor])
        return self._explained[anchor]

    def _behind(self, target: Tensor) -> list[Tensor]:
        """The user's variables on which an adjoint depends, those nearest to the output first."""
        found: set[Tensor] = set()
        waiting = [target]
        while waiting:
            for d in self._lines(waiting.pop(), self.derived.staged):
                near = {t for t in tensors_in(d.body) if t in self.anchors} - found
                found |= near
                waiting += near
        return [a for a in self.anchors if a in found and a is not target]

    def _lines(self, target: Tensor, form: Backward) -> list[Definition]:
        """The definitions from the user's variables to a target."""
        own = {d.target: d for d in form.definitions}
        needed: set[Tensor] = set()
        waiting = [target]
        while waiting:
            one = waiting.pop()
            if one in own and one not in needed:
                needed.add(one)
                waiting += [t for t in tensors_in(own[one].body) if t not in self.anchors]
        return [d for d in form.definitions if d.target in needed]

    def _search(self, target: Tensor) -> Search | None:
        """Hypotheses about the lines to one target alone."""
        if target not in self._searches:
            self._searches[target] = self._local(target)
        return self._searches[target]

    def _local(self, target: Tensor) -> Search | None:
        staged = self._lines(target, self.derived.staged)
        if not staged:
            return None
        of = next((t for t in self.derived.wrt if t.adjoint is target), None)
        of = of or Tensor(target.name, target.axes, "float", "value")
        closed = self._lines(target, self.derived.closed)
        back = Backward("staged", tuple(staged), (target,))
        local = replace(
            self.derived,
            wrt=(of,),
            upstream=(*self.derived.upstream, *self.anchors),
            staged=back,
            closed=Backward("closed", tuple(closed), (target,)),
            chosen=back,
        )
        points = [self._point(at, of, staged) for at in range(len(self.points))]
        return Search(local, points, self.tolerance)

    def _point(self, at: int, of: Tensor, lines: Sequence[Definition]) -> Point:
        """The point with the user's values for the intermediate gradients."""
        point = self.points[at]
        given = {t: values[at] for t, values in self.anchors.items() if t is not of.adjoint}
        evaluation = Evaluation(point.env.having(given))
        with np.errstate(all="ignore"):
            for d in lines:
                evaluation.having(d.target, evaluation.defined(d.indices, d.body))
        found = {d.target: evaluation.array(d.target) for d in lines}
        env = point.env.having({**given, **found})
        return Point(env, {of: np.asarray(found[of.adjoint])}, point.magnitude, point.parameters)


def _simplest(search: Search, wanted: Tensor, observed: Sequence[Array]) -> Explanation | None:
    found: Iterator[Explanation] = search.singles(wanted, observed)
    return min(found, key=lambda e: e.cost, default=None)


def _variable(
    adjoint: Tensor, points: Sequence[Point], held: Held, names: Sequence[str], called: Mapping[str, Tensor]
) -> list[Array] | None:
    """The values of the variable that is called like an adjoint and has its shape, at all points."""
    for name in names_of(adjoint, held[0] if held else {}, names, called):
        values = [h.get(name) for h in held]
        shapes = [np.shape(p.env.array(adjoint)) for p in points]
        if all(
            v is not None and v.size == np.prod(s, dtype=int) and v.dtype.kind == "f" and np.isfinite(v).all()
            and v.shape in (s, (1, *s), (*s, 1))
            for v, s in zip(values, shapes, strict=True)
        ):  # fmt: skip
            return [np.asarray(v, float).reshape(s) for v, s in zip(values, shapes, strict=True)]
    return None


def adjoint_names(derived: Derived) -> list[str]:
    """The names of what a derivation has adjoints of."""
    return [d.target.name for d in derived.staged.definitions]


def called_after(derived: Derived, point: Point, own: Mapping[str, Any]) -> dict[str, Tensor]:
    """The adjoint for each variable that is called after another: ∂L/∂r for dstd, where std holds r."""
    targets = {d.target for d in derived.staged.definitions}
    arrays = point.env.arrays
    tensors = [
        t for t in derived.program.tensors() if t.dtype == "float" and t.adjoint in targets and t in arrays
    ]
    found: dict[str, Tensor] = {}
    for name in own:
        plain = name.removeprefix(SELF)
        base = next((b for b in (plain[1:], SELF + plain[1:]) if plain[0] == "d" and b in own), None)
        value = as_array(own[base]) if base is not None else None
        same = [t for t in tensors if value is not None and equal(value, np.asarray(arrays[t]))]
        if len(same) == 1:
            found[name] = same[0].adjoint
    return found


def names_of(
    adjoint: Tensor, own: Mapping[str, Any], names: Sequence[str], called: Mapping[str, Tensor]
) -> Iterator[str]:
    """What a variable for an adjoint may be called, of those that there are.

    A name that is another adjoint's own, of those with these `names`, is not meant for this one.
    """
    yield identifier(f"d{adjoint.name}")
    for name in own:
        for prefix in PREFIXES[1:]:
            if name.startswith(prefix) and match(name[len(prefix) :], names) == adjoint.name:
                yield name
    yield from (name for name, target in called.items() if target is adjoint)
