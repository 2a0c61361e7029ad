"""From what was returned to faults: the simplest hypotheses that explain the numbers, as sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose import differences
from chalkgrad.diagnose.advice import Advice
from chalkgrad.diagnose.anchored import Anchored, Held
from chalkgrad.diagnose.common_cause import agreed, beside, shared
from chalkgrad.diagnose.hypotheses import Edit
from chalkgrad.diagnose.located import located
from chalkgrad.diagnose.mended import DIVIDED, Mender
from chalkgrad.diagnose.other_values import OtherValues
from chalkgrad.diagnose.pairs import diagonals, pairs
from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.search import CLASH, PAIR, Explanation, Reason, Search
from chalkgrad.diagnose.trial import Trial
from chalkgrad.diagnose.twofold import collapsed as collapsed_hypotheses
from chalkgrad.diagnose.twofold import turned, twofold
from chalkgrad.diagnose.views import collapsed, head, summed_away, unsummed, views
from chalkgrad.diagnose.words import Words, shown
from chalkgrad.expr.nodes import Definition, Tensor
from chalkgrad.verify.environment import Array

GOOD = 2.45
"""An explanation that costs no more ends the search before the text and pairs are tried."""


SURE = 2.0
"""An explanation along the user's own lines that costs no more needs no other beside it."""

OWN_TEXT = 0.2
"""By how much a change of the user's text may cost more than what the derivation says, and be preferred."""

WHOLE = frozenset({"wrong_argument", "statistics_constant", "diagonal_only", "mutates_input"})
"""Causes that concern all of a gradient: a change of the text that cures them has to be simpler."""

ALONE = frozenset({"shape", "mutates_input", "nondeterministic", "precision", "wrong_argument"})
"""Causes that no other gradient's cause bears on."""

UNLIKELY = 9.0
"""What no explanation costs."""

INFINITE = "entries that are no finite numbers"

SIMPLE = 1.5
"""What explains a difference as small as a rounding has to be as simple as this."""


class Judge:
    """Explains the wrong gradients of one trial.

    Args:
        derived: The derivation.
        trial: The calls, all of which returned something.
        wrong: Names of the inputs whose gradients are wrong.
        held: What the variables of the user's function held at each point, where that is known.
        spelled: The user's own name for an argument.
        mender: Seeks the fault in the user's text where the derivation's lines do not have it.
        advice: Tries what is advised before it is.
    """

    def __init__(self, derived: Derived, trial: Trial, wrong: Sequence[str], held: Held = (),
        spelled: Callable[[str], str] = str, mender: Mender | None = None, advice: Advice | None = None,
    ) -> None:  # fmt: skip
        self.derived = derived
        self.trial = trial
        self.wrong = tuple(wrong)
        self.spelled = spelled
        self.mender = mender
        self.advice = advice if advice is not None else Advice(None, tuple)
        self.points = trial.points
        single = any(
            g.dtype.kind == "f" and g.dtype.itemsize < 8 for r in trial.results for g in r.gradients.values()
        )
        tolerance = 1e-4 if single else 1e-8
        self.search = Search(derived, self.points, tolerance)
        if mender is not None:
            mender.tolerance = tolerance
        self.anchored = Anchored(derived, self.points, held, tolerance) if held else None
        self.other_values = OtherValues(derived, trial, self.search, spelled)
        self.inputs = {t.name: t for t in derived.wrt}
        self.costs: dict[str, float] = {}
        self._causes: list[tuple[dict[int, Repair], Explanation]] = []
        self._textless: set[tuple[tuple[str, str], ...]] = set()

    def faults(self) -> list[Fault]:
        """One or two faults for each wrong gradient."""
        # Large gradients first: they leave the fewest changes of the text that may explain them.
        order = sorted(self.wrong, key=lambda n: -self.points[0].true[self.inputs[n]].size)
        by_name = {name: self._alone(self.inputs[name]) for name in order}
        alone = {name: by_name[name] for name in self.wrong}
        sure = agreed({n: e for n, e in alone.items() if isinstance(e, Explanation)})
        found = {
            name: e if isinstance(e, list) else self._faults(self.inputs[name], e, name in sure)
            for name, e in alone.items()
        }
        return [f for faults in (self._shared(found) or found).values() for f in faults]

    @cached_property
    def _common(self) -> tuple[list[Edit], set[str]]:
        """Edits of one formula behind all wrong gradients, or all but one, and the names of those.

        Where there are some, only they count for these gradients.
        """
        wrong = {self.inputs[n]: self._observed(self.inputs[n]) for n in self.wrong}
        fitting = {
            t: arrays
            for t, arrays in wrong.items()
            if len(arrays) == len(self.points)
            and all(a.shape == p.true[t].shape for a, p in zip(arrays, self.points, strict=True))
        }
        for some in (fitting, *({t: a for t, a in fitting.items() if t is not one} for one in fitting)):
            found = self.search.common(some) if len(some) > 1 else []
            found = [e for e in found if self.anchored is None or not self.anchored.right(e.expected.target)]
            if found:
                return found, {t.name for t in some}
        return [], set()

    def _among(self, wanted: Tensor) -> list[Edit]:
        """The edits that count for one input's gradient; empty if any may."""
        edits, names = self._common
        return edits if wanted.name in names else []

    def _shared(self, found: dict[str, list[Fault]]) -> dict[str, list[Fault]]:
        """One cause for all gradients where each has another by itself: one slip is likelier than two."""
        causes = {frozenset(_family(f.cause) for f in faults) for faults in found.values()}
        alone = {c for some in causes for c in some} & ALONE
        if self.mender is None or len(causes) < 2 or alone or len(self.costs) < len(found):
            return {}
        wanted = [self.inputs[name] for name in found]
        common = shared(self.mender, wanted, max(self.costs.values()) + PAIR)
        if common is None:
            return {}
        return {
            t.name: self._told(replace(common, reasons=tuple(
                replace(r, expected=self.search.line(t)) for r in common.reasons
            )), t)
            for t in wanted
        }  # fmt: skip

    def _told(self, explanation: Explanation, wanted: Tensor) -> list[Fault]:
        """An explanation of one input's gradient as faults."""
        worst = differences.worst(wanted, self._observed(wanted), self.points)
        return [
            self.advice.fault(wanted.name, r, lambda text: _sentence(text, worst), shown(r.expected))
            for r in explanation.reasons
        ]

    def _alone(self, wanted: Tensor) -> Explanation | list[Fault] | None:
        """The simplest single cause for one input's gradient; faults where no other is sought."""
        line = self.search.line(wanted)
        missing = next((r.missing[wanted.name] for r in self.trial.results if wanted.name in r.missing), None)
        if missing is not None:
            text = f"no gradient for {wanted.name} was returned: {missing}."
            return [Fault(wanted.name, "shape", text, shown(line))]
        observed = self._observed(wanted)
        if not all(np.isfinite(o).all() for o in observed):
            mended = self.mender.explained(wanted) if self.mender is not None else None
            if mended is not None:
                return [
                    self.advice.fault(
                        wanted.name, r, lambda text: f"d{wanted.name} has {INFINITE}; {text}.", shown(line)
                    )
                    for r in mended.reasons
                ]
            return [Fault(wanted.name, "unknown", f"d{wanted.name} has {INFINITE}.", shown(line))]
        most = self._most(wanted, observed)
        return self._known(wanted, most) or self._told_by_text(
            wanted, self._explained(wanted, observed, most), most
        )

    def _known(self, wanted: Tensor, most: float) -> Explanation | None:
        """The cause of another gradient whose change of the text makes this one right, too."""
        for made, explanation in self._causes:
            if explanation.cost <= most and self.mender and self.mender.right(f"={wanted.name}", made):
                line = self.search.line(wanted)
                return replace(
                    explanation, reasons=tuple(replace(r, expected=line) for r in explanation.reasons)
                )
        return None

    def _observed(self, wanted: Tensor) -> list[Array]:
        """What was returned for an input, at each point."""
        return [np.asarray(o, float) for o in self.trial.observed(wanted.name) or ()]

    def _most(self, wanted: Tensor, observed: Sequence[Array]) -> float:
        """What a cause may cost: what explains a difference as small as a rounding has to be simple."""
        return SIMPLE if differences.lost_digits(wanted, observed, self.points) else DIVIDED

    def _faults(self, wanted: Tensor, explanation: Explanation | None, sure: bool) -> list[Fault]:
        """One or two faults of one input's gradient; two are not sought where one is `sure`."""
        line, observed = self.search.line(wanted), self._observed(wanted)
        lost = differences.lost_digits(wanted, observed, self.points)
        most = SIMPLE if lost else DIVIDED
        unsure = explanation is None or (explanation.cost > GOOD and len(explanation.reasons) == 1)
        if unsure and not lost and not sure:
            two = beside(self.mender, wanted, self.wrong, most) if self.mender is not None else None
            if two is None:
                two = min(self._two(wanted, observed, explanation), key=lambda e: e.cost, default=None)
            if two is not None and (explanation is None or two.cost < explanation.cost):
                explanation = two
        if lost and (explanation is None or explanation.cost > SIMPLE):
            return [
                Fault(wanted.name, "precision", lost, shown(line), "Compute in the precision of the inputs.")
            ]
        if explanation is None and self.mender is not None:
            explanation = located(self.mender, wanted)
        if explanation is None:
            self.costs[wanted.name] = UNLIKELY
            text = f"no usual mistake gives these numbers; {differences.where(wanted, observed, self.points)}"
            return [Fault(wanted.name, "unknown", text, shown(line))]
        self.costs[wanted.name] = explanation.cost
        return self._told(explanation, wanted)

    def _explained(self, wanted: Tensor, observed: Sequence[Array], most: float) -> Explanation | None:
        found = list(self._by_shape(wanted, observed))
        if found:
            return min(found, key=lambda e: e.cost)
        if self.anchored is not None and self.anchored.anchors:
            line_by_line = self.anchored.explained(wanted, observed)
            if line_by_line is not None and not self._contradicted(line_by_line):
                found = [line_by_line, *self._elsewhere(wanted, observed)]
        if not found or (min(e.cost for e in found) > SURE and len(found[0].reasons) == 1):
            found += self._by_value(wanted, observed, SIMPLE if most == SIMPLE else UNLIKELY)
        found = [e for e in found if not self._contradicted(e)]
        return min(found, key=lambda e: e.cost, default=None)

    def _contradicted(self, explanation: Explanation) -> bool:
        """Whether a variable that is right in the user's code is said to be wrong (ds may be scaled)."""
        read = self.mender is not None and self.mender.rerun is not None
        return read and self.anchored is not None and self.anchored.contradicts(explanation)

    def _told_by_text(self, wanted: Tensor, derived: Explanation | None, most: float) -> Explanation | None:
        """The explanation by a change of the user's own text, where it is as simple as the derivation's.

        Many a fault gives the same numbers as another one in a line of the derivation that the user has
        not written: the text tells which it was. Where both say the same, the derivation's words teach more.
        """
        codes = {r.code for r in derived.reasons} if derived is not None else set()
        more = 0.0 if codes & WHOLE else OWN_TEXT
        limit = min(derived.cost + more, most) if derived is not None else 9.0 if most == DIVIDED else most
        likely = {c for code in codes for c in _alike(code)}
        cause = tuple((r.code, str(r.text)) for r in derived.reasons) if derived is not None else ()
        if cause in self._textless:  # a change that stands for it had made the other gradient right, too
            return derived
        mended = self.mender.explained(wanted, limit, likely) if self.mender is not None else None
        if mended is None and derived is not None:
            self._textless.add(cause)
        told = self._both(derived, mended, limit, more)
        by_text = mended is not None and told is not None and told is not derived
        if by_text and told is not None and self.mender is not None and len(told.reasons) == 1:
            self._causes.append((self.mender.made, told))
        return told

    def _both(
        self, derived: Explanation | None, mended: Explanation | None, limit: float, more: float
    ) -> Explanation | None:
        """What the derivation and the text say, in one."""
        if mended is None or derived is None:
            return mended or derived
        codes = {r.code for r in derived.reasons}
        same = {_family(r.code) for r in mended.reasons} == {_family(r.code) for r in derived.reasons}
        # An activation taken for its argument is a wrong operand that has a name of its own.
        # So is a mean, which is a size too many where the text has it.
        named = {"preactivation": "wrong_operand", "mean_for_sum": "constant_factor"}
        same |= [r.code for r in mended.reasons] == [named.get(c) for c in codes]
        if same and len(derived.reasons) == len(mended.reasons) == len(codes):
            order = [_family(r.code) for r in derived.reasons]
            own = sorted(mended.reasons, key=lambda r: [*order, _family(r.code)].index(_family(r.code)))
            pairs = zip(derived.reasons, own, strict=True)
            return replace(derived, reasons=tuple(replace(r, yours=m.yours, fix=m.fix) for r, m in pairs))
        # Two changes are bounded one by one: together they are compared with what else explains the numbers.
        limit = limit if len(mended.reasons) == 1 else derived.cost + more * len(mended.reasons)
        if same or mended.cost > limit:
            return derived
        said = {_family(r.code): r.text for r in derived.reasons} if len(mended.reasons) > 1 else {}
        return replace(
            mended, reasons=tuple(replace(r, text=said.get(_family(r.code), r.text)) for r in mended.reasons)
        )

    def _two(
        self, wanted: Tensor, observed: Sequence[Array], alone: Explanation | None
    ) -> Iterator[Explanation]:
        """Two causes at once that are simpler than what explains the numbers alone."""
        most = alone.cost if alone is not None else np.inf
        read = self.mender is not None and self.mender.rerun is not None
        alike = observed[0].shape == self.points[0].true[wanted].shape
        search = twofold if alike else turned
        found = list(search(self.search, self.mender, wanted, most)) if self.mender is not None else []
        yield from found
        if not found and not alike:
            yield from collapsed_hypotheses(self.search, wanted, observed)
        elif not found and (alone is None or not read):  # where the text is known, it tells
            yield from pairs(self.search, wanted, observed)

    def _by_value(self, wanted: Tensor, observed: Sequence[Array], most: float) -> Iterator[Explanation]:
        found = [
            *self._elsewhere(wanted, observed),
            *self.search.singles(wanted, observed, most, self._among(wanted)),
        ]
        found = [self._weighed(e, wanted) for e in found]
        if most > SIMPLE and min((e.cost for e in found), default=9.0) > 1.0:
            found += diagonals(self.search, wanted, observed)
        yield from found

    def _elsewhere(self, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
        """What follows from other values than those that were given, and gradients of something else."""
        yield from self.other_values.stale(wanted, observed)
        yield from self.other_values.variants(wanted, observed)
        yield from self.search.elsewhere(wanted, observed)

    def _weighed(self, explanation: Explanation, wanted: Tensor) -> Explanation:
        """Costlier if the same mistake would have spoiled a gradient that is right."""
        if not explanation.edits:
            return explanation
        spoiled = self.search.edited(explanation.edits[0], 0)
        others = [t for t in self.derived.wrt if t is not wanted and t.name not in self.wrong]
        clash = any(
            t.adjoint in spoiled and not self.search.equal(spoiled[t.adjoint].array, self.points[0].true[t])
            for t in others
        )
        cost = explanation.cost + (CLASH if clash else 0.0)
        return Explanation(cost, explanation.reasons, explanation.edits)

    # --- shapes ------------------------------------------------------------------------------------

    def _by_shape(self, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
        line = self.search.line(wanted)
        readings = list(views(wanted, observed, self.points))
        if not readings:
            return
        yield from self.search.elsewhere(wanted, observed)
        yield from self._collapsed(wanted, observed, line)
        for view in readings:
            own = Reason(view.code, view.text, line)
            if view.arrays is None:
                yield Explanation(view.cost + 3.0, (own,))
                continue
            if self.search.holds(lambda at: self.points[at].true[wanted], view.arrays):
                yield Explanation(view.cost, (own,))
                continue
            below = list(self.search.singles(wanted, view.arrays, among=self._common[0]))
            below = below or list(self.search.singles(wanted, view.arrays))
            by_lines = self.anchored.explained(wanted, view.arrays) if self.anchored is not None else None
            below += [by_lines] if by_lines is not None else []
            if below:
                simplest = min(below, key=lambda e: e.cost)
                reasons = (own, *(r for r in simplest.reasons if r.code != own.code))
                yield Explanation(view.cost + simplest.cost + 0.6, reasons)
            else:
                yield Explanation(view.cost + 3.5, (own,))

    def _collapsed(
        self, wanted: Tensor, observed: Sequence[Array], line: Definition
    ) -> Iterator[Explanation]:
        """The right gradient, or what follows from the user's own intermediate ones, summed too far."""
        true = [p.true[wanted] for p in self.points]
        for axes in unsummed(observed, true):
            text = (
                f"{head(wanted, observed, true)}: it is not summed over axis {' and '.join(map(str, axes))}"
            )
            yield Explanation(1.01, (Reason("missing_sum", text, line),))
        for axes in collapsed(wanted, observed, true):
            yield Explanation(1.2, (Reason("extra_sum", summed_away(wanted, observed, axes), line),))
        following = self.anchored.following(wanted) if self.anchored is not None else None
        if following is not None and self.anchored is not None:
            why = self.anchored.upstream_reasons(wanted)
            for axes in collapsed(wanted, observed, following):
                own = Reason("extra_sum", summed_away(wanted, observed, axes), line)
                reasons = (own, *(r for e in why for r in e.reasons))
                yield Explanation(1.8 + sum(e.cost for e in why), reasons)


def _alike(code: str) -> set[str]:
    """A cause and its other names; a number may be a size that is the same at all points."""
    if code == "constant_factor":
        return {code, "sum_for_mean"}
    return {"missing_term", "missing_path"} if code in ("missing_term", "missing_path") else {code}


def _family(code: str) -> str:
    """A cause; a path is a term."""
    return "missing_term" if code == "missing_path" else code


def _sentence(said: Words | str, worst: str) -> str:
    text = str(said).rstrip(".")
    return f"{text}; {worst}." if worst else f"{text}."
