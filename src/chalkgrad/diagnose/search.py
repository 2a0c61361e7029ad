"""Which hypothesis explains the numbers: tried at one point, confirmed at the others."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from chalkgrad.derivation import Backward, Derived
from chalkgrad.diagnose.carried import Carried, carried
from chalkgrad.diagnose.changed import Changed
from chalkgrad.diagnose.explanation import PAIR, Explanation, Reason, ratio_cost, reasons_of
from chalkgrad.diagnose.hypotheses import Addend, Edit, hypotheses
from chalkgrad.diagnose.labelled import Evaluation, Value
from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.possible import Places, Possible
from chalkgrad.diagnose.ratios import Ratio, name_ratio
from chalkgrad.diagnose.words import words
from chalkgrad.expr.nodes import Definition, Expr, Index, Tensor
from chalkgrad.expr.ops import tensors_in
from chalkgrad.verify.environment import Array

FEW = 3
"""So many hypotheses about one adjoint are evaluated line by line before a table is made for the others."""

CLASH = 0.3
"""What an explanation costs more that would have spoiled a gradient which is right."""

Predictor = Callable[[int], Array | None]
"""What a hypothesis says that an argument's gradient is at a point."""


@dataclass
class Search:
    """Hypotheses about one derivation, evaluated at the points of one check.

    Args:
        derived: The derivation.
        points: Where the user's code was called.
        tolerance: Relative difference that counts as equal.
        budget: So many formulas are evaluated in the search for pairs.
    """

    derived: Derived
    points: Sequence[Point]
    tolerance: float = 1e-8
    budget: int = 4_000
    bases: list[Evaluation] = field(init=False)
    indices: dict[tuple[str, Tensor], tuple[Index, ...]] = field(init=False)
    _known: dict[tuple[int, int], Changed] = field(init=False, default_factory=dict)
    _tables: dict[tuple[str, Tensor, int], Carried | None] = field(init=False, default_factory=dict)
    _asked: Counter[tuple[str, Tensor, int]] = field(init=False, default_factory=Counter)
    diagonals: dict[tuple[Tensor, Tensor, int], Array] = field(init=False, default_factory=dict)
    _stop: int | None = field(init=False, default=None)
    _work: int = field(init=False, default=0)
    _ways: dict[tuple[str, Tensor], frozenset[Tensor]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.indices = {
            (b.form, d.target): d.indices
            for b in (self.derived.staged, self.derived.closed)
            for d in b.definitions
        }
        self.bases = [Evaluation(p.env) for p in self.points]

    @cached_property
    def addends(self) -> list[Addend]:
        """The parts that may be left out or scaled."""
        return _hypotheses(self.derived)[0]

    @cached_property
    def edits(self) -> list[Edit]:
        """The changes of one place; kept here, since much is known of each by its identity."""
        return _hypotheses(self.derived)[1]

    @cached_property
    def likeliest(self) -> list[Edit]:
        """The changes of one place, simplest first."""
        return sorted(self.edits, key=lambda e: e.cost)

    @cached_property
    def places(self) -> Places:
        """The same place by place, at the first point."""
        return Places(self.edits, self.bases[0])

    # --- predictions -------------------------------------------------------------------------------

    def form(self, name: str) -> Backward:
        """The staged or the closed derivation."""
        return self.derived.staged if name == "staged" else self.derived.closed

    def predict(self, form: str, bodies: Mapping[Tensor, Expr], at: int) -> dict[Tensor, Value]:
        """The adjoints that the changed formulas give, those alone that change."""
        evaluation = Evaluation(self.points[at].env, base=self.bases[at])
        before = len(evaluation.changed)
        with np.errstate(all="ignore"):
            evaluation.run(self.form(form).definitions, bodies)
        self._work += 1 + len(evaluation.changed) - before
        return evaluation.changed

    def leads(self, form: str, target: Tensor, wanted: Tensor) -> bool:
        """Whether an adjoint is one on which an input's gradient depends in a form."""
        key = (form, wanted)
        if key not in self._ways:
            found = {wanted.adjoint}
            for d in reversed(self.form(form).definitions):
                if d.target in found:
                    found |= tensors_in(d.body)
            self._ways[key] = frozenset(found)
        return target in self._ways[key]

    def reaches(self, edit: Edit, wanted: Tensor) -> bool:
        """Whether an edit may change an input's gradient."""
        return any(self.leads(edit.form, target, wanted) for target, _ in edit.bodies)

    def edited(self, edit: Edit, at: int) -> Changed:
        """The adjoints under an edit, remembered."""
        key = (id(edit), at)
        if key not in self._known:
            self._known[key] = Changed(self, edit.form, dict(edit.bodies), at)
        return self._known[key]

    def without(self, addend: Addend, at: int) -> Changed:
        """The adjoints with an addend left out, remembered."""
        key = (id(addend), at)
        if key not in self._known:
            self._known[key] = Changed(self, addend.form, {addend.target: addend.without}, at)
        return self._known[key]

    def line_alone(self, form: str, target: Tensor, body: Expr, at: int) -> Value | None:
        """What a changed formula gives for its own adjoint."""
        own = next((d for d in self.form(form).definitions if d.target is target), None)
        if own is None:
            return None
        self._work += 2
        with np.errstate(all="ignore"):
            return Evaluation(self.points[at].env, base=self.bases[at]).defined(own.indices, body)

    def table(self, form: str, target: Tensor, at: int, *, soon: bool = False) -> Carried | None:
        """How the gradients follow an adjoint; made when it is asked for often enough to be worth it."""
        key = (form, target, at)
        if key not in self._tables:
            self._asked[key] += 1
            if self._asked[key] <= FEW and not soon:
                return None
            inputs = self.derived.wrt
            self._tables[key] = carried(self.form(form).definitions, target, inputs, self.bases[at])
        return self._tables[key]

    def worked(self, lines: int) -> None:
        """Count lines as done: those that a table saves as well, so that it changes no result."""
        self._work += lines

    def edit_predictor(self, edit: Edit, wanted: Tensor) -> Predictor:
        """The edit's prediction for one input."""
        return lambda at: _array(self.edited(edit, at).get(wanted.adjoint))

    def delta(self, addend: Addend, wanted: Tensor, at: int) -> Array | None:
        """What an addend contributes to one input's gradient."""
        rest = _array(self.without(addend, at).get(wanted.adjoint))
        return None if rest is None else self.points[at].true[wanted] - rest

    # --- comparison --------------------------------------------------------------------------------

    def equal(self, a: Array, b: Array) -> bool:
        """Whether two arrays agree but for rounding."""
        if a.shape != b.shape or not np.isfinite(a).all():
            return False
        scale = max(float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
        return bool(np.abs(a - b).max(initial=0.0) <= self.tolerance * scale)

    def holds(self, predictor: Predictor, observed: Sequence[Array]) -> bool:
        """Whether the prediction is what was returned, at every point."""
        for at, returned in enumerate(observed):
            predicted = predictor(at)
            if predicted is None or not self.equal(predicted, returned):
                return False
        return True

    def ratio(self, predictor: Predictor, observed: Sequence[Array]) -> Ratio | None:
        """The ratio of what was returned to a prediction, if it is one at each point and has a name."""
        found, sizes = [], []
        for at, returned in enumerate(observed):
            predicted = predictor(at)
            if predicted is None or predicted.shape != returned.shape:
                return None
            if not np.any(predicted) and not np.any(returned):
                continue  # dead units: this point says nothing
            square = float((predicted * predicted).sum())
            if not square > 0 or not np.isfinite(square):
                return None
            value = float((predicted * returned).sum()) / square
            if not self.equal(value * predicted, returned):
                return None
            found.append(value)
            sizes.append(self.points[at].env.sizes)
        parameters = {t.name: v for t, v in self.points[0].parameters.items()}
        return name_ratio(found, sizes, parameters) if found else None

    # --- explanations ------------------------------------------------------------------------------

    def common(self, observed: Mapping[Tensor, Sequence[Array]]) -> list[Edit]:
        """The edits that explain several inputs' gradients at once, those that may be the simplest."""
        found: list[Edit] = []
        possible = Possible(self, {t: arrays[0] for t, arrays in observed.items()})
        for edit in self.likeliest:
            if found and edit.cost > found[0].cost + CLASH:
                break
            if possible.edit(edit) and all(
                self.holds(self.edit_predictor(edit, t), arrays) for t, arrays in observed.items()
            ):
                found.append(edit)
        return found

    def singles(
        self, wanted: Tensor, observed: Sequence[Array], most: float = 9.0, among: Sequence[Edit] = ()
    ) -> Iterator[Explanation]:
        """The single causes that explain one input's gradient, but for those that cannot be the simplest.

        No edit that costs more than `most` is among them, and none but those `among` which it is sought.
        """
        found = list(self._ratios(wanted, observed))
        # Halved everywhere: the mean over an axis that had two entries at every point explains it as
        # well, but less simply.
        chance = 0.4 if any(r.code == "constant_factor" for e in found for r in e.reasons) else 0.0
        found += self._addends(wanted, observed)
        yield from found
        best = min((e.cost for e in found), default=most)
        possible = Possible(self, {wanted: observed[0]})
        for edit in among or self.likeliest:
            if edit.cost > min(most, best + CLASH):
                return
            if not possible.edit(edit) or not self.holds(self.edit_predictor(edit, wanted), observed):
                continue
            own = edit.target is wanted.adjoint
            cost = edit.cost + (0.0 if own else 0.15) + chance
            best = min(best, cost)
            yield Explanation(cost, (Reason(edit.code, edit.text, edit.expected),), (edit,))

    def _ratios(self, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
        ratio = self.ratio(lambda at: self.points[at].true[wanted], observed)
        if ratio is not None:
            line = self.line(wanted)
            whole = line.body
            reasons = self.reasons(ratio, whole, line, f"d{wanted.name}")
            if reasons:
                yield Explanation(ratio_cost(ratio, reasons), reasons)

    def _addends(self, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
        possible = Possible(self, {wanted: observed[0]})
        for addend in self.addends:
            if not self.leads(addend.form, addend.target, wanted) or not possible.addend(addend):
                continue
            scales = []
            for at, returned in enumerate(observed):
                part = self.delta(addend, wanted, at)
                if part is None:
                    break
                scale = self._scale(part, self.points[at].true[wanted], returned)
                if scale is None:
                    break
                scales.append(scale)
            if len(scales) < len(observed):
                continue
            ratio = name_ratio(scales, [p.env.sizes for p in self.points])
            if ratio is None or (addend.whole and addend.target is wanted.adjoint):
                continue
            yield from self._scaled(addend, ratio, addend.target is wanted.adjoint)

    def _scaled(self, addend: Addend, ratio: Ratio, own: bool) -> Iterator[Explanation]:
        extra = 0.0 if own else 0.15
        if ratio.zero:
            reason = Reason(addend.code, addend.text, addend.expected)
            yield Explanation(addend.cost + extra, (reason,))
            return
        name = str(words(addend.target) if addend.whole else words("the term ", addend.term))
        reasons = self.reasons(ratio, addend.term, addend.expected, name)
        if reasons:
            yield Explanation(ratio_cost(ratio, reasons) + 0.2 + extra, reasons)

    def _scale(self, part: Array, true: Array, returned: Array) -> float | None:
        """c such that true + (c - 1) part is what was returned."""
        if part.shape != returned.shape:
            return None
        square = float((part * part).sum())
        if not square > (self.tolerance * float(np.abs(true).max(initial=0.0))) ** 2:
            return None
        gap = returned - true
        extra = float((part * gap).sum()) / square
        scale = max(float(np.abs(true).max(initial=0.0)), float(np.abs(returned).max(initial=0.0)))
        close = np.abs(gap - extra * part).max(initial=0.0) <= self.tolerance * scale
        return 1 + extra if close else None

    def line(self, wanted: Tensor) -> Definition:
        """The derivation's line for an input."""
        return next(d for d in self.derived.chosen.definitions if d.target is wanted.adjoint)

    def reasons(self, ratio: Ratio, term: Expr, line: Definition, name: str) -> tuple[Reason, ...]:
        """The causes that a ratio consists of: a sign, sums for means, a constant."""
        return reasons_of(self.derived, ratio, term, line, name)

    def elsewhere(self, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
        """The gradient of another input, or of an intermediate value."""
        for other in self.derived.wrt:
            if other is wanted:
                continue
            ratio = self.ratio(lambda at, o=other: self.points[at].true[o], observed)  # type: ignore[misc]
            if ratio is None or ratio.zero or not ratio.plain:
                continue
            text = f"what is returned for d{wanted.name} is d{other.name}"
            own = Reason("wrong_argument", text, self.line(wanted))
            if ratio.text == "1":
                yield Explanation(1.35, (own,))
            else:
                more = self.reasons(ratio, self.line(wanted).body, self.line(wanted), f"d{other.name}")
                yield Explanation(2.4, (own, *more))
        for d in self.derived.staged.definitions:
            if d.target in {t.adjoint for t in self.derived.wrt}:
                continue
            values = lambda at, t=d.target: np.asarray(self.points[at].env.array(t))  # noqa: E731
            if self.holds(values, observed):
                text = f"what is returned for d{wanted.name} is the gradient of {d.target.name}"
                yield Explanation(2.75, (Reason("wrong_argument", text, self.line(wanted)),))

    def exhausted(self) -> bool:
        """Whether the work for pairs, of all arguments together, is done: counted rather than timed, so that
        a slow machine finds the same as a fast one."""
        if self._stop is None:
            self._stop = self._work + self.budget
        return self._work > self._stop


_KEPT: OrderedDict[int, tuple[Derived, list[Addend], list[Edit]]] = OrderedDict()


def _hypotheses(derived: Derived) -> tuple[list[Addend], list[Edit]]:
    """The hypotheses about a derivation, made once; hashing a whole record would take longer."""
    if id(derived) not in _KEPT:
        _KEPT[id(derived)] = (derived, *hypotheses(derived))
        if len(_KEPT) > 64:
            _KEPT.popitem(last=False)
    return _KEPT[id(derived)][1:]


def _array(value: Value | None) -> Array | None:
    return None if value is None or value.extra else value.array


__all__ = ["PAIR", "Explanation", "Predictor", "Reason", "Search"]
