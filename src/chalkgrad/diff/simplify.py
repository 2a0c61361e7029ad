"""From an expression to its closed form, with every line on the way.

Multiply out, collapse indicators, call groups of factors by their names again, use lemmas, cancel,
and pull common factors in front. Whether multiplying out helped is decided by cost: the form that
takes fewer operations is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chalkgrad.derivation import Stage, Step
from chalkgrad.expr.cost import expression_flops
from chalkgrad.expr.letters import fresh_index
from chalkgrad.expr.nodes import (
    ONE,
    Access,
    Add,
    Apply,
    Definition,
    Expr,
    Indicator,
    Opaque,
    Program,
    Reduce,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import (
    canonical,
    children,
    flat_key,
    free_indices,
    inline,
    map_children,
    tensors_in,
    walk,
)
from chalkgrad.rules.affine import solve_indices
from chalkgrad.rules.comparisons import by_signs, has_comparisons, three_ways
from chalkgrad.rules.conditions import unguarded
from chalkgrad.rules.contraction import Collapse, contract_all
from chalkgrad.rules.factoring import Condition, absorb, choose, condition_of, undistribute
from chalkgrad.rules.fractions import one_fraction
from chalkgrad.rules.identities import NEATER, apply_identities
from chalkgrad.rules.masked import with_masks
from chalkgrad.rules.polynomial import Monomial, collect, expand, to_expr
from chalkgrad.rules.relations import (
    Relation,
    mentions_sum,
    name_sums,
    relations,
    sum_relations,
    with_relations,
)

MAX_ROUNDS = 8
"""Re-substitution and lemmas alternate at most this often; each round lowers the weight."""

MAX_INLINE = 4
"""A lemma's proof puts at most this many definitions in."""


@dataclass(frozen=True, slots=True)
class Lemma:
    """A sum that the definitions make simple, with its proof: Σ_i c_id = 0, Σ_k p_ik = 1."""

    lhs: Expr
    rhs: Expr
    steps: tuple[Step, ...]

    def stage(self) -> Stage:
        return Stage("lemma", "A lemma", self.lhs, self.steps)


Simplified = tuple[Expr, list[Step], list[Lemma]]
"""The closed form, the lines that lead to it, the lemmas they use."""


@dataclass(slots=True)
class Knowledge:
    """What may be used about the forward values: their definitions as relations, and proved lemmas."""

    definitions: tuple[Definition, ...]
    named: list[Relation]
    sums: list[Relation]
    conditions: frozenset[Condition] = frozenset()
    """The comparisons that the forward pass makes."""
    solve: bool = True
    """Whether index equations (u = s·h + p) are solved where that takes guards. Code keeps those: it
    scatters instead."""
    lemmas: dict[Expr, Lemma | None] = field(default_factory=dict)
    simplified: dict[Expr, Simplified] = field(default_factory=dict)
    """What `simplify` found: the same substitution is tried again after others were made."""
    common: dict[Expr, Simplified] = field(default_factory=dict)
    """What it found without solving any equation, which holds whether equations are solved or not."""
    solved: int = 0
    """How often equations were solved so far."""

    @staticmethod
    def of(program: Program, solve: bool = True) -> Knowledge:
        """The relations that a program's definitions state."""
        definitions = program.definitions
        compared = (n for d in definitions for n in walk(d.body) if isinstance(n, Indicator))
        conditions = frozenset(map(condition_of, compared))
        always = unguarded(definitions, program.outputs)
        return Knowledge(definitions, relations(always), sum_relations(definitions), conditions, solve)


def simplify(e: Expr, knowledge: Knowledge) -> Simplified:
    """The cheaper of the multiplied-out and the gently tidied form, its steps and the lemmas used."""
    if e not in knowledge.simplified:
        before = knowledge.solved
        found = knowledge.common.get(e) or _simplify(e, knowledge)
        knowledge.simplified[e] = found
        if knowledge.solve and knowledge.solved == before:
            knowledge.common[e] = found
    return knowledge.simplified[e]


def _simplify(e: Expr, knowledge: Knowledge) -> Simplified:
    candidates = []
    for distribute in (False, True):
        result, steps, lemmas = _Simplifier(knowledge, distribute).run(e)
        candidates.append((score(result), distribute, result, steps, lemmas))
        if not distribute and not _has_products_of_sums(e):
            break
    # Where both ways lead to one form, multiplying out is how it is done on the blackboard.
    best = min(candidates, key=lambda c: (c[0], any(step.rule == "absorb" for step in c[3]), c[1]))
    return best[2], best[3], best[4]


def score(e: Expr) -> tuple[float, int, int]:
    """Operations first, then how much there is to read: t² before t·x, which is another name."""
    nodes = list(walk(e))
    return expression_flops(e), len(nodes), sum(isinstance(n, Access) for n in nodes)


def _has_products_of_sums(e: Expr) -> bool:
    return any(isinstance(n, Add) for n in walk(e))


@dataclass(slots=True)
class _Simplifier:
    knowledge: Knowledge
    distribute: bool
    steps: list[Step] = field(default_factory=list)
    lemmas: list[Lemma] = field(default_factory=list)
    current: Expr | None = None

    def run(self, e: Expr) -> tuple[Expr, list[Step], list[Lemma]]:
        self.current = e
        poly = expand(e, self.distribute)
        self._note(to_expr(poly), "distribute" if self.distribute else "arithmetic",
                   "multiply out and take the sums apart" if self.distribute else "in order",
                   minor=not self.distribute)  # fmt: skip
        for _ in range(MAX_ROUNDS):
            poly = self._contract(poly)
            poly = self._rename(self._mask(poly))
            again = self._sums(poly)
            if again is None:
                break
            poly = again
        poly = collect(poly)
        self._note(to_expr(poly), "collect", "equal terms are added, opposite ones cancel")
        poly = self._compare(poly)
        assert self.current is not None
        factored = undistribute(to_expr(poly))
        if expression_flops(factored) <= expression_flops(self.current):
            self._note(factored, "un-distribute", "common factors in front")
        self._note(one_fraction(self.current), "one-fraction", "over one denominator, where terms cancel")
        absorbed = absorb(self.current)
        self._note(absorbed, "absorb", "under the indicator the factor cancels")
        chosen = choose(self.current, self.knowledge.conditions)
        self._note(chosen, "choose", "a condition and its opposite: one of the two holds")
        if any(isinstance(n, Apply) and n.fn == "sigmoid" for n in walk(self.current)):
            neater, used = apply_identities(factored, NEATER)
            if used:
                self._note(neater, used[0].name, used[0].because)
        return self.current, self.steps, self.lemmas

    def _note(
        self, after: Expr, rule: str, because: str, minor: bool = False, milestone: bool = False
    ) -> None:
        assert self.current is not None
        if canonical(after) is not canonical(self.current):
            self.steps.append(Step(self.current, after, rule, because, minor, milestone))
            self.current = after
        elif after is not self.current:
            self.current = after if not self.steps else self._replace_last(after)

    def _replace_last(self, after: Expr) -> Expr:
        """The same line in better order: it replaces the line above instead of following it."""
        last = self.steps.pop()
        self.steps.append(Step(last.before, after, last.rule, last.because, last.minor, last.milestone))
        return after

    def _compare(self, poly: list[Monomial]) -> list[Monomial]:
        """Comparisons of values in their simplest form, and those together that cover every case."""
        assert self.current is not None
        if not has_comparisons(self.current):
            return poly
        signs = by_signs(self.current)
        if signs is not self.current:
            self._note(signs, "sign", "what compares two multiples of a value compares it with zero")
            poly = collect(expand(signs, self.distribute))
        new, changed = three_ways(poly)
        if changed:
            self._note(to_expr(new), "trichotomy", "one of larger, equal and smaller holds")
        return new

    def _contract(self, poly: Sequence[Monomial]) -> list[Monomial]:
        new, used = contract_all(poly)
        equates = any(isinstance(n, Indicator) for m in poly for n in walk(to_expr([m])))
        otherwise = "the indicator equates its sides" if equates else "what is zero drops out"
        reason = "; ".join(dict.fromkeys(c.because for c in used)) or otherwise
        self._note(to_expr(new), "contract-indicator", reason)
        self.lemmas.extend(one_label(c) for c in used if isinstance(c.value, Access))
        return self._solve(new)

    def _solve(self, poly: list[Monomial]) -> list[Monomial]:
        """Index equations solved, with their guards."""
        solved: list[Monomial] = []
        reasons: list[str] = []
        for m in poly:
            new, used = solve_indices(m, bare=not self.knowledge.solve)
            reasons.extend(s.because for s in used)
            if new is not None:
                solved.append(new)
        if reasons:
            self.knowledge.solved += 1
            self._note(to_expr(solved), "solve-index", "; ".join(dict.fromkeys(reasons)), milestone=True)
            if self.distribute:
                return expand(to_expr(solved))  # the index may have stood for a sum: 2 (1 − d) − 1
        return solved

    def _mask(self, poly: list[Monomial]) -> list[Monomial]:
        new, used = with_masks(poly, self.knowledge.definitions)
        if used:
            reason = "where a comparison holds, the smaller and the larger of its sides are known"
            self._note(to_expr(new), "masked-value", reason)
        return new

    def _rename(self, poly: Sequence[Monomial]) -> list[Monomial]:
        new, used = with_relations(poly, self.knowledge.named)
        names = "; ".join(dict.fromkeys(str(r.definition) for r in used))
        self._note(to_expr(new), "re-substitute", names, milestone=True)
        return new

    def _sums(self, poly: Sequence[Monomial]) -> list[Monomial] | None:
        """Sums that have a name or a lemma; None where there is none."""
        e = to_expr(collect(poly))
        named, used = name_sums(e, self.knowledge.sums)
        if used:
            names = "; ".join(dict.fromkeys(str(r.definition) for r in used))
            self._note(named, "sum-is-named", names)
        with_lemmas, lemmas = apply_lemmas(named, self.knowledge)
        if lemmas:
            self.lemmas.extend(lemmas)
            said = "; ".join(f"{lemma.lhs} = {lemma.rhs}" for lemma in lemmas)
            self._note(with_lemmas, "lemma", said, milestone=True)
        return expand(with_lemmas, self.distribute) if used or lemmas else None


# --- lemmas -------------------------------------------------------------------------------------


def one_label(collapse: Collapse) -> Lemma:
    """Σ_k 1(k = y_i) = 1: an integer label is exactly one of the values that k takes."""
    index = fresh_index(collapse.index.range, {i.name for i in free_indices(collapse.value)})
    pair = sorted((index, collapse.value), key=flat_key)
    lhs = Sum((index,), Indicator("==", pair[0], pair[1]))
    return Lemma(lhs, ONE, (Step(lhs, ONE, "one-label", "every observation has exactly one label"),))


def apply_lemmas(e: Expr, knowledge: Knowledge) -> tuple[Expr, list[Lemma]]:
    """Every Σ over forward values that a lemma settles, replaced."""
    used: list[Lemma] = []

    def visit(node: Expr) -> Expr:
        if not mentions_sum(node):
            return node
        if isinstance(node, Sum):
            lemma = prove(node, knowledge)
            if lemma is not None:
                used.append(lemma)
                return lemma.rhs
        return map_children(node, visit)

    return visit(e), used


def prove(node: Sum, knowledge: Knowledge) -> Lemma | None:
    """A lemma for Σ over forward values: put definitions in until no sum is left, or give up."""
    key = canonical(node)
    if key not in knowledge.lemmas:
        knowledge.lemmas[key] = None  # a sum is no lemma for itself
        knowledge.lemmas[key] = _prove(node, knowledge)
    return knowledge.lemmas[key]


def _prove(node: Sum, knowledge: Knowledge) -> Lemma | None:
    known = {d.target: d for d in knowledge.definitions}
    read = tensors_in(node)
    if any(t.role == "adjoint" for t in read) or not any(t in known for t in read):
        return None
    steps: list[Step] = []
    current: Expr = node
    for _ in range(MAX_INLINE):
        current = _settle(current, knowledge, steps)
        if not any(isinstance(n, Sum) for n in walk(current)):
            simple = len(expand(current)) <= 1 and len(list(walk(current))) <= len(list(walk(node)))
            return Lemma(node, current, tuple(steps)) if simple and steps else None
        definition = _to_inline(current, known, knowledge)
        if definition is None:
            return None
        opened = inline(current, definition.access, definition.body)
        steps.append(Step(current, opened, "definition", str(definition)))
        current = opened
    return None


def _settle(e: Expr, knowledge: Knowledge, steps: list[Step]) -> Expr:
    """Multiply out, collapse, use named sums and cancel, until nothing changes."""
    for _ in range(MAX_ROUNDS):
        poly, used = contract_all(expand(e))
        plain = to_expr(collect(poly))
        if canonical(plain) is not canonical(e):
            rule = "contract-indicator" if used else "collect"
            because = (
                "; ".join(dict.fromkeys(c.because for c in used))
                or "multiplied out; what is constant leaves the sum"
            )
            steps.append(Step(e, plain, rule, because))
        named, relations_used = name_sums(plain, knowledge.sums)
        if not relations_used:
            return plain
        steps.append(
            Step(
                plain,
                named,
                "sum-is-named",
                "; ".join(dict.fromkeys(str(r.definition) for r in relations_used)),
            )
        )
        e = named
    return e


def _to_inline(e: Expr, known: dict[Tensor, Definition], knowledge: Knowledge) -> Definition | None:
    """The latest definition that stands under a sum and is made of products and sums alone."""
    summed = {t for n in walk(e) if isinstance(n, Sum) for t in _under(n)}
    for definition in reversed(knowledge.definitions):
        if definition.target in summed and definition.target in known:
            return definition
    return None


def _under(node: Sum) -> set[Tensor]:
    """Tensors read with an index that the sum binds, not inside functions: no sum is taken apart there."""
    bound, found = frozenset(node.indices), set()
    pending = [node.body]
    while pending:
        n = pending.pop()
        if free_indices(n).isdisjoint(bound) or isinstance(n, Apply | Indicator | Reduce | Opaque):
            continue
        if isinstance(n, Access):
            found.add(n.tensor)
        pending.extend(children(n))
    return found
