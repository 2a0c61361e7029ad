"""The changes of each place of one text, with what is at hand to put in, made when they are asked for."""

from __future__ import annotations

import ast
from itertools import islice

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.at_hand import AtHand, parts
from chalkgrad.diagnose.capture import as_array
from chalkgrad.diagnose.context import Context
from chalkgrad.diagnose.derived_parts import DerivedParts
from chalkgrad.diagnose.graph import Graph
from chalkgrad.diagnose.overwritten import overwritten
from chalkgrad.diagnose.own_variables import named
from chalkgrad.diagnose.rearranged import rearranged, turned_at_the_end
from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.repairs import put_in, repairs
from chalkgrad.diagnose.rerun import Rerun
from chalkgrad.diagnose.slips import slips
from chalkgrad.diagnose.trial import Trial
from chalkgrad.diagnose.watched import Place
from chalkgrad.expr.nodes import Tensor

CURES_ALL = 1.5
"""What it costs more to put the right gradient in place of a wrong one."""

PRODUCTS = 150
"""So many products of the derivation's factors are at hand."""


class AtPlaces:
    """The changes of one text, place by place.

    Args:
        derived: The derivation.
        trial: What the function returned.
        rerun: Runs it with changes.
        forward: The syntax of the user's forward, where that is known.
    """

    def __init__(
        self, derived: Derived, trial: Trial, rerun: Rerun, forward: ast.FunctionDef | ast.Lambda | None
    ) -> None:
        self.derived, self.trial, self.rerun, self.forward = derived, trial, rerun, forward
        self._plain: dict[int, list[Repair]] = {}
        self._put_in: dict[int, list[Repair]] = {}
        self._at_hand: AtHand | None = None
        self._context: Context | None = None
        self._names: dict[str, Tensor] = {}
        self._graph = Graph.of(derived)
        loops = [n for s, _ in rerun.watched.body for n in ast.walk(s) if isinstance(n, ast.For)]
        self._looped = {n.id for f in loops for n in ast.walk(f.target) if isinstance(n, ast.Name)}

    def plain(self, number: int) -> list[Repair]:
        """The changes of one place, but for parts that are put in."""
        if number not in self._plain:
            place, above = self._place(number)
            names = self.rerun.watched.names
            made = [*overwritten(number, place, names), *slips(number, place, names)]
            made += rearranged(number, place, names, self._looped)
            if number == 0 or self._place(number - 1)[0].statement != place.statement:
                made += turned_at_the_end(number, place)
            made += repairs(number, place, above, self._parts(), self._cause)
            self._plain[number] = self._reads().weighed(place, made)
        return self._plain[number]

    def put_in(self, number: int) -> list[Repair]:
        """The parts that may be put in at one place, none of which costs less than `LEAST_PART`."""
        if number not in self._put_in:
            place, above = self._place(number)
            shapes = {np.shape(v) for v in self.trial.points[0].true.values()} if place.above < 0 else set()
            made = list(put_in(number, place, above, self._parts(), shapes))
            self._put_in[number] = self._reads().weighed(place, made)
        return self._put_in[number]

    def _place(self, number: int) -> tuple[Place, Place | None]:
        places = self.rerun.watched.places
        return places[number], places[places[number].above] if places[number].above >= 0 else None

    def _reads(self) -> Context:
        """What the text reads where."""
        if self._context is None:
            self._context = Context(self.rerun.watched)
        return self._context

    def _parts(self) -> AtHand:
        """What a change may put in."""
        if self._at_hand is None:
            env = self.trial.points[0].env
            values = {
                t: np.asarray(env.array(t))
                for t in self.derived.program.tensors()
                if t.dtype == "float" and t in env.arrays
            }
            left = self.rerun.left
            arrays = {n: a for n, v in left.items() if (a := as_array(v)) is not None}
            self._names = {n: t for t, n in named(values, arrays).items()}
            sizes = {r.name: n for r, n in env.sizes.items()}
            own = DerivedParts(self.derived, self.trial.points, self.rerun, self._names)
            more = [*own.known(values), *islice(own.products(), PRODUCTS)]
            found = parts(self.rerun.watched, left, sizes, self.forward, more)
            self._at_hand = AtHand([own.steady(p) for p in found])
        return self._at_hand

    def _cause(self, one: str, two: str) -> tuple[str, float]:
        """The cause when one variable stands for another, and what it costs beside others.

        The right gradient in place of a variable that is none of ours cures whatever is wrong with that.
        """
        both = one in self._names and two in self._names
        near = both and self._graph.activates(self._names[one], self._names[two])
        cures_all = two.startswith("∂L/∂") and one not in self._names
        return "preactivation" if near else "wrong_operand", CURES_ALL if cures_all else 0.0
