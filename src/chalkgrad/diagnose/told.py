"""Changes of the user's text in words, with the lines as they are and as they should be."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.explanation import PAIR, Explanation, Reason
from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.rewritten import LEFT_OUT, quoted, rewritten, tidy
from chalkgrad.diagnose.throughout import REPEATED
from chalkgrad.diagnose.watched import Place, Watched
from chalkgrad.expr.nodes import Tensor


class Teller:
    """Tells of changes of one text.

    Args:
        derived: The derivation.
        watched: The user's function.
        spoils: Whether a change makes a gradient wrong that is right.
    """

    def __init__(self, derived: Derived, watched: Watched, spoils: Callable[[Repair], bool]) -> None:
        self.derived = derived
        self.watched = watched
        self.spoils = spoils

    def told(self, wanted: Tensor, found: Sequence[Repair]) -> Explanation:
        """Changes that make an input's gradient right together."""
        reasons = tuple(self.reason(wanted, r, found) for r in found)
        return Explanation(sum(r.cost for r in found) + PAIR * (len(found) - 1), reasons)

    def told_of_all(self, wanted: Tensor, found: Sequence[Repair]) -> Explanation:
        """One slip that was made at several places."""
        also = f", and likewise at {'another place' if len(found) == 2 else f'{len(found) - 1} other places'}"
        first, lines = self.reason(wanted, found[0]), self.lines(found)
        yours, fix = ("\n".join(side) for side in zip(*lines, strict=True)) if lines else ("", "")
        bare = first.bare and f"{first.bare}{also}"
        reason = replace(first, text=f"{first.text}{also}", yours=yours, fix=fix, bare=bare)
        return Explanation(max(r.cost for r in found) + REPEATED, (reason,))

    def reason(self, wanted: Tensor, repair: Repair, together: Sequence[Repair] = ()) -> Reason:
        """A change in words; what else is changed in its line, of those made `together`, is shown with it."""
        line = next(d for d in self.derived.chosen.definitions if d.target is wanted.adjoint)
        place = self.watched.places[repair.place]
        lines = self.lines([repair, *(r for r in together if r is not repair and self._beside(r, repair))])
        yours, fix = lines[0] if lines else ("", "")
        told = Told.of(self.watched.body[place.step][0], place, repair, fix)
        if not fix:
            return Reason(repair.code, told.foreign, line, given=repair.given, bare=told.foreign)
        if self.spoils(repair):  # what cures one gradient and spoils another is no advice
            return Reason(repair.code, told.bare, line, given=repair.given, bare=told.bare)
        return Reason(repair.code, told.advice, line, yours, fix, repair.given, told.bare)

    def _beside(self, one: Repair, other: Repair) -> bool:
        """Whether two changes are of one line."""
        places = self.watched.places
        return places[one.place].statement == places[other.place].statement

    def lines(self, found: Sequence[Repair]) -> list[tuple[str, str]]:
        """The lines that changes are of, as they are and as they should be; none where a change needs a value
        that the user's text has no variable for."""
        places = self.watched.places
        lines: dict[int, list[Repair]] = {}
        for r in found:
            lines.setdefault(places[r.place].statement, []).append(r)
        shown = []
        for some in lines.values():
            place = places[some[0].place]
            nodes = [(places[r.place].node, r) for r in sorted(some, key=attrgetter("place"))]
            changes = [(node, r.written(ast.unparse(node))) for node, r in nodes]
            known = {*place.scope, *self.watched.names, *dir(builtins)}
            shown.append(rewritten(self.watched.body[place.step][0], changes, known))
        return shown if all(fix for _, fix in shown) else []


@dataclass(frozen=True, slots=True)
class Told:
    """A change in words.

    Attributes:
        advice: What should stand there.
        bare: Where it is wrong, and no more.
        foreign: What belongs there, where the user's text has no variable for it.
    """

    advice: str
    bare: str
    foreign: str

    @staticmethod
    def of(statement: ast.stmt, place: Place, repair: Repair, fix: str) -> Told:
        """The words for a change of one place, after which its line is `fix`."""
        text = ast.unparse(place.node)
        new = repair.written(text)
        here = f"in line {place.line}, `{text}`"
        one, other = quoted(statement, place.node, new)
        advice = f"in line {place.line}, `{one}` should be `{other}`"
        if fix == LEFT_OUT:
            advice = f"line {place.line} does not belong there"
        if place.looped and new == f"{place.stored or place.target} + {text}":
            advice = (
                f"in line {place.line}, `=` should be `+=`: each round of the loop overwrites the one before"
            )
        return Told(advice, f"{here} is not what it should be", f"{here} stands where {tidy(new)} belongs")
