"""What a wrong backward may have done, generated from the derivation.

Every place of every adjoint's formula, staged and closed, is spoiled in the ways that people spoil
it. A hypothesis is a formula again: evaluated, it says what the user's code would have returned.

    Addend  a part that enters linearly: left out, with the wrong sign, scaled by any constant
    Edit    one place changed otherwise: a factor, a sum, an operand, an activation
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from chalkgrad.derivation import Backward, Derived
from chalkgrad.diagnose.graph import Graph
from chalkgrad.diagnose.spoiled_axes import Path
from chalkgrad.diagnose.spoiler import Spoiler, has_sum
from chalkgrad.diagnose.words import Words, words
from chalkgrad.expr.nodes import ONE, ZERO, Add, Definition, Expr, Mul, Sum, Tensor
from chalkgrad.expr.ops import children, put, rebuild, tensors_in, walk

TWO = 60
"""How much deeper two terms left out together count, which is less likely than one."""

MANY = 6
"""Of sums of more terms no two are left out together."""


Bodies = tuple[tuple[Tensor, Expr], ...]
"""New formulas by adjoint."""

Line = tuple[str, Tensor]
"""A form, and the adjoint that the line defines."""

Place = tuple[str, Tensor, Path]
"""A place of one formula: form, adjoint, and the way to it from the top."""


@dataclass(frozen=True, eq=False)
class Edit:
    """One place of one formula changed, or several formulas.

    Attributes:
        code: The cause.
        form: "staged" or "closed".
        expected: The line that holds.
        text: The evidence, in words.
        cost: How unlikely it is, beside others.
        node: What stands at the place.
        path: The way to the place from the top of the line.
        several: The changed formulas where they are not of one place.
    """

    code: str
    form: str
    expected: Definition
    text: Words | str
    cost: float
    node: Expr | None = None
    path: Path = ()
    several: Bodies = ()

    @cached_property
    def bodies(self) -> Bodies:
        """The changed formulas, made when they are asked for: most never are."""
        if self.node is None:
            return self.several
        return ((self.expected.target, put(self.expected.body, self.path, self.node)),)

    @property
    def target(self) -> Tensor:
        """The adjoint whose formula is changed, or the first of them."""
        return self.expected.target if self.node is not None else self.several[0][0]

    @cached_property
    def place(self) -> Place:
        """Where it is."""
        return self.form, self.target, self.path

    @cached_property
    def line(self) -> Line:
        """Which formula is changed."""
        return self.form, self.target


@dataclass(frozen=True, slots=True)
class Addend:
    """A part of one formula that enters linearly.

    Attributes:
        form: "staged" or "closed".
        target: The adjoint whose formula holds it.
        without: The formula without it.
        term: The part.
        expected: The line that holds.
        code: The cause if it is left out.
        text: The evidence if it is left out.
        cost: How unlikely that is.
        whole: Whether it is all of the formula.
    """

    form: str
    target: Tensor
    without: Expr
    term: Expr
    expected: Definition
    code: str
    text: Words | str
    cost: float
    whole: bool = False


def hypotheses(derived: Derived) -> tuple[list[Addend], list[Edit]]:
    """All hypotheses about one derivation, without repetitions."""
    graph = Graph.of(derived)
    addends: list[Addend] = []
    edits: list[Edit] = []
    seen: set[tuple[str, Tensor, Path, Expr]] = set()
    known = {d.target: d.body for d in derived.staged.definitions}
    for backward in (derived.staged, derived.closed):
        for d in backward.definitions:
            if backward.form == "closed" and known.get(d.target) is d.body:
                continue
            addends += _addends(backward, d, graph)
            for change in Spoiler(d, graph, derived).everywhere(d.body, d.indices):
                key = (backward.form, d.target, change.path, change.node)
                if key not in seen:
                    seen.add(key)
                    found = Edit(
                        change.code, backward.form, d, change.text, change.cost, change.node, change.path
                    )
                    edits.append(found)
    return addends, [*edits, *_statistics(derived, graph)]


# --- addends ----------------------------------------------------------------------------------------


def _addends(backward: Backward, d: Definition, graph: Graph) -> Iterator[Addend]:
    """The whole formula, and every term under sums and products only."""
    if backward.form == "staged" or d.target in backward.wanted:
        text = words(d.target, " is taken as 0")
        code = "missing_path" if d.target not in backward.wanted else "missing_term"
        yield Addend(backward.form, d.target, ZERO, d.body, d, code, text, 2.0, whole=True)
    for term, without, depth in _linear_terms(d.body):
        code, text = graph.describe(d, term, depth == 0 and backward.form == "staged")
        elementary = not any(t.role == "adjoint" for t in tensors_in(term)) and not has_sum(term)
        cost = 1.35 if code == "missing_path" else 1.4 if elementary else 1.7
        if _complement(term, d.body):  # y (1 - y) without its second factor rather than without -y
            cost = 1.8
        yield Addend(backward.form, d.target, without, term, d, code, text, cost + 0.01 * depth)


def _complement(term: Expr, e: Expr) -> bool:
    """Whether the term stands beside a 1 alone, as in 1 - y, in a product."""
    return any(
        isinstance(n, Add) and len(n.terms) == 2 and ONE in n.terms and term in n.terms and n is not e
        for n in walk(e)
    )


def _linear_terms(e: Expr, depth: int = 0) -> Iterator[tuple[Expr, Expr, int]]:
    """Each term of an addition that the whole depends on linearly, with the whole without it."""
    if isinstance(e, Add):
        for place, term in enumerate(e.terms):
            rest = (*e.terms[:place], *e.terms[place + 1 :])
            yield term, rest[0] if len(rest) == 1 else Add(rest), depth
        for one, two in combinations(e.terms, 2) if 2 < len(e.terms) <= MANY else ():
            rest = tuple(t for t in e.terms if t is not one and t is not two)
            yield Add((one, two)), rest[0] if len(rest) == 1 else Add(rest), depth + TWO
    if isinstance(e, Add | Mul | Sum):
        kids = children(e)
        for place, kid in enumerate(kids):
            for term, without, below in _linear_terms(kid, depth + 1):
                yield term, rebuild(e, (*kids[:place], without, *kids[place + 1 :])), below


def _statistics(derived: Derived, graph: Graph) -> Iterator[Edit]:
    """Means over the data whose own dependence on the data is forgotten, all of them at once."""
    found = [d for d in derived.staged.definitions if d.target in {t.adjoint for t in graph.statistics}]
    if not found:
        return
    names = " and ".join(t.name for t in graph.statistics)
    text = f"{names} are treated as constants, but they depend on the data" if len(found) > 1 else (
        f"{names} is treated as a constant, but it depends on the data"
    )  # fmt: skip
    line = next((d for d in derived.chosen.definitions if d.target in derived.chosen.wanted), found[0])
    bodies = tuple((d.target, ZERO) for d in found)
    cost = 1.2 if len(found) > 1 else 1.55
    yield Edit("statistics_constant", "staged", line, text, cost, several=bodies)
