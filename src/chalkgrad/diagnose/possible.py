"""Changed formulas that cannot give what was returned, told apart from the others without following each.

What was returned has to come of some value of the formula's adjoint, or the line is dismissed with all its
changes. Where it may, the changes of one place of the line are put in together, as one more axis: the line
is evaluated once for all of them. Nothing is decided here but that a change is out of the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chalkgrad.diagnose.hypotheses import Addend, Edit, Line, Place
from chalkgrad.diagnose.labelled import Evaluation, Labelled, Value, spread
from chalkgrad.diagnose.spoiled_axes import Path
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Range,
    Reduce,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import children, free_indices, put
from chalkgrad.verify.environment import Array

if TYPE_CHECKING:
    from chalkgrad.diagnose.search import Search

SLACK = 2.0
"""By how much more than its tolerance a change that is dismissed misses what was returned."""

QUICK = (Add, Mul, Pow, Sum, Reduce, Apply, Indicator)
"""What has a quick case in the evaluator, so that one more axis passes through it."""


class Places:
    """The changes of each place of a derivation's formulas at one point, evaluated together.

    Args:
        edits: All changes.
        base: The evaluation at the point.

    Attributes:
        facts: For a change of one place, by id: where it is, and whether the line keeps the axes that it has.
    """

    def __init__(self, edits: Sequence[Edit], base: Evaluation) -> None:
        self.base = base
        self._edits: dict[Place, list[Edit]] = {}
        self._scopes: dict[Place, frozenset[Index]] = {}
        self.facts: dict[int, tuple[Place, bool]] = {}
        for edit in edits:
            if edit.node is not None:
                self._edits.setdefault(edit.place, []).append(edit)
                scope = self._scope(edit.place, edit.expected)
                self.facts[id(edit)] = edit.place, free_indices(edit.node) <= scope
        self._values: dict[Place, list[tuple[list[int], Array]]] = {}

    def all(self) -> Iterator[Place]:
        """The places that have changes."""
        yield from self._edits

    def _scope(self, place: Place, line: Definition) -> frozenset[Index]:
        """The indices that have a value at a place."""
        if place not in self._scopes:
            around = _around(line.body, place[2])
            bound = (i for e in around if isinstance(e, Sum | Reduce) for i in e.indices)
            self._scopes[place] = frozenset((*line.indices, *bound))
        return self._scopes[place]

    def values(self, place: Place) -> list[tuple[list[int], Array]]:
        """What the changes of a place make of the line: which they are, and the line with one more axis."""
        if place not in self._values:
            self._values[place] = list(self._made(place))
        return self._values[place]

    def _made(self, place: Place) -> Iterator[tuple[list[int], Array]]:
        edits = self._edits[place]
        line = edits[0].expected
        if not all(isinstance(e, QUICK) for e in _around(line.body, place[2])):
            return
        alike: dict[frozenset[Index], list[tuple[Edit, Labelled]]] = {}
        for edit in edits:
            if self.facts[id(edit)][1] and edit.node is not None:
                with np.errstate(all="ignore"):
                    found = self.base.value(edit.node)
                alike.setdefault(frozenset(found.labels), []).append((edit, found))
        for some in alike.values():
            labels = some[0][1].labels
            stack = np.stack([spread(v, labels) for _, v in some], axis=-1)
            array = self._line(line, place[2], labels, stack)
            if array is not None:
                yield [id(e) for e, _ in some], array

    def _line(self, line: Definition, path: Path, labels: tuple[Index, ...], stack: Array) -> Array | None:
        """The line with a stack of values at a place; None where that is beyond the quick evaluator."""
        along = Index("°", Range("°", stack.shape[-1]))
        hole = Tensor("°", tuple(i.range for i in labels), "float", "value")
        evaluation = Evaluation(self.base.env, {hole: Value(stack, (along,))}, self.base)
        try:
            with np.errstate(all="ignore"):
                found = evaluation.defined(line.indices, put(line.body, path, Access(hole, labels)))
        except (ChalkgradError, ValueError, IndexError):
            return None
        return found.array if found.extra == (along,) else None


class Possible:
    """What may have given the gradients that were returned for some inputs at the first point.

    Args:
        search: Holds the tables and the changes.
        returned: What was returned for each input.
    """

    def __init__(self, search: Search, returned: Mapping[Tensor, Array]) -> None:
        self._search = search
        self._returned = {t.adjoint: array for t, array in returned.items()}
        self._wanted = tuple(returned)
        self._lines: dict[Line, bool] = {}
        self._leads: dict[Line, bool] = {}
        self._places: dict[Place, tuple[bool, bool, set[int]]] = {}

    def addend(self, addend: Addend) -> bool:
        """Whether a formula without one of its parts, or with more of it, may have given them."""
        own = frozenset(self._search.indices[addend.form, addend.target])
        return self._line((addend.form, addend.target)) or not free_indices(addend.without) <= own

    def edit(self, edit: Edit) -> bool:
        """Whether a changed formula may have given them."""
        fact = self._search.places.facts.get(id(edit))
        if fact is None:
            return all(self._search.reaches(edit, t) for t in self._wanted)
        place, keeps_axes = fact
        if place not in self._places:
            self._places[place] = self._at(place)
        leads, some, out = self._places[place]
        # An axis left over gives more than a value of the adjoint.
        return leads and (not keeps_axes or (some and id(edit) not in out))

    def _at(self, place: Place) -> tuple[bool, bool, set[int]]:
        """Whether a place leads to all of them, whether its line may have given them, and by which changes it
        has not."""
        line = place[:2]
        if line not in self._leads:
            self._leads[line] = all(self._search.leads(*line, t) for t in self._wanted)
        leads = self._leads[line]
        some = leads and self._line(line)
        return leads, some, self._dismissed(place) if some else set()

    def _line(self, line: Line) -> bool:
        """Whether some value of a line's adjoint may have given them."""
        if line[1] in self._returned:
            return True
        if line not in self._lines:
            table = self._search.table(*line, 0, soon=True)
            self._lines[line] = table is None or table.allows(self._returned, self._search.tolerance)
        return self._lines[line]

    def _dismissed(self, place: Place) -> set[int]:
        """The changes of a place that make a gradient other than what was returned."""
        found: set[int] = set()
        for edits, line in self._search.places.values(place):
            for adjoint, returned in self._returned.items():
                gradients = _gradients(self._search, place, adjoint, line)
                if gradients is not None and gradients.shape[:-1] == returned.shape:
                    apart = self._apart(gradients, returned)
                    found |= {e for e, is_apart in zip(edits, apart, strict=True) if is_apart}
        return found

    def _apart(self, gradients: Array, returned: Array) -> Array:
        """Which of a stack of gradients are others than what was returned, by more than rounding."""
        flat = gradients.reshape(returned.size, -1)
        with np.errstate(all="ignore"):
            size = np.maximum(np.abs(flat).max(axis=0, initial=0.0), np.abs(returned).max(initial=0.0))
            gap = np.abs(flat - returned.reshape(-1, 1)).max(axis=0, initial=0.0)
            return np.asarray(~(gap <= SLACK * self._search.tolerance * size))


def gradients_by_place(search: Search, wanted: Tensor) -> Iterator[tuple[list[int], Array]]:
    """What changes make of a gradient at the first point, those of one place together: which they are, by id,
    and the gradient with one more axis."""
    for place in search.places.all():
        if search.leads(place[0], place[1], wanted):
            for edits, line in search.places.values(place):
                gradients = _gradients(search, place, wanted.adjoint, line)
                if gradients is not None:
                    yield edits, gradients


def _gradients(search: Search, place: Place, adjoint: Tensor, line: Array) -> Array | None:
    """What a stack of values of a line makes of a gradient; None where that is not known."""
    form, target, _ = place
    if adjoint is target:
        return line
    table = search.table(form, target, 0, soon=True)
    return None if table is None else table.gradients(adjoint, line)


def _around(body: Expr, path: Path) -> Iterator[Expr]:
    """The nodes around a place, from the top."""
    for step in path:
        yield body
        body = children(body)[step]
