"""The closed derivation: adjoints substituted into each other as long as that saves work.

An adjoint is substituted when computing it once by name is no cheaper than having it multiplied
out where it is used: the adjoint of x̂ melts into batch norm's three terms, that of a layer's scores
stays a name that dX, dW and db share. The measure is `chalkgrad.expr.cost.flops`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from chalkgrad.derivation import Stage, Step
from chalkgrad.diff.simplify import Knowledge, Lemma, Simplified, simplify
from chalkgrad.expr.cost import elements, flops, traffic
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Const,
    Definition,
    Expr,
    Indicator,
    Opaque,
    Pow,
    Program,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import canonical, free_indices, inline, map_children, rename_bound, tensors_in, walk
from chalkgrad.expr.text import tensor_name
from chalkgrad.rules.calculus import clean
from chalkgrad.rules.factoring import common_denominator, opposite_sum, with_opposites
from chalkgrad.rules.partial_sums import read_off_partial_sums
from chalkgrad.rules.polynomial import factors_of, tidy

SLACK = 1 / 8
"""A substitution may cost this part of a pass over the adjoint more and still be made: lower-order
terms (work on a vector beside work on a matrix) are not what a name should be kept for."""


SHORT = 14
"""A formula of at most this many nodes, without a Σ, may be written more than once."""


@dataclass(slots=True)
class _Entry:
    """One adjoint on its way to its closed form."""

    definition: Definition
    steps: tuple[Step, ...] = ()
    lemmas: tuple[Lemma, ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """The closed definitions, and the stages that show how they came about."""

    definitions: tuple[Definition, ...]
    stages: tuple[Stage, ...]
    cost: float


def cost(definitions: tuple[Definition, ...]) -> float:
    """Operations, and numbers read and written, at nominal sizes."""
    return flops(definitions) + traffic(definitions)


def _with_one_denominator(entry: _Entry) -> _Entry:
    """The last line as people write it, factors in front: (γ s / N) (N G − Σ G − x̂ Σ G x̂)."""
    body = entry.definition.body
    written = common_denominator(body)
    if canonical(written) is canonical(body):
        return entry
    fewer = _divided(written) < _divided(body)
    because = "one denominator" if fewer else "common factors in front"
    step = Step(body, written, "un-distribute", because, milestone=True)
    return _Entry(replace(entry.definition, body=written), (*entry.steps, step), entry.lemmas)


def _divided(e: Expr) -> int:
    """How often the expression is divided by a size."""
    return sum(isinstance(n, Pow) and isinstance(n.base, Size) for n in walk(e))


def _with_signs_aligned(entries: dict[Tensor, _Entry]) -> dict[Tensor, _Entry]:
    """y − x as −(x − y) where x − y stands in an earlier line: one array, worked out once.

    That is for code, and for counting what a form costs; to read, y − x is as good.
    """
    if sum(any(isinstance(n, Add) for n in walk(e.definition.body)) for e in entries.values()) < 2:
        return entries
    known: dict[Expr, Expr] = {}
    result: dict[Tensor, _Entry] = {}
    for target, entry in entries.items():
        body = entry.definition.body
        written = tidy(aligned) if (aligned := with_opposites(body, known)) is not body else body
        if written is not body:
            step = Step(body, written, "un-distribute", "the difference as it stands above", minor=True)
            entry = _Entry(  # noqa: PLW2901
                replace(entry.definition, body=written), (*entry.steps, step), entry.lemmas
            )
        result[target] = entry
        known.update({opposite_sum(n): n for n in walk(written) if isinstance(n, Add)})
    return result


def close(
    program: Program, staged: tuple[Definition, ...], wanted: tuple[Tensor, ...], *, solve: bool = True
) -> Closed:
    """Eliminate adjoints from the output towards the inputs, each where it pays."""
    knowledge = Knowledge.of(program, solve)
    knowledge.common = _common(program.definitions, program.sizes)
    entries = {d.target: _simplified(_Entry(d), knowledge) for d in _without_constants(staged, wanted)}
    melted: list[_Entry] = []
    while True:
        tried = len(entries)
        for tensor in _order([t for t in entries if t not in wanted], entries, short_first=not solve):
            if _must_cost_more(entries, tensor, program):
                continue
            trial = _eliminate(entries, tensor, knowledge)
            gone = entries[tensor].definition
            if _is_one_number(gone, solve) or _pays(entries, trial, gone):
                melted.append(entries[tensor])
                entries = trial
        # What one substitution made simpler may now let another pay.
        if len(entries) in (tried, len(wanted)):
            break
    aligned = _with_signs_aligned(entries)
    plain = tuple(e.definition for e in aligned.values())
    entries = {t: _with_one_denominator(e) for t, e in entries.items()} if solve else aligned
    stages = _stages(staged, [*melted, *entries.values()])
    return Closed(tuple(e.definition for e in entries.values()), tuple(stages), cost(plain))


@lru_cache(16)
def _common(_definitions: tuple[Definition, ...], _sizes: tuple[object, ...]) -> dict[Expr, Simplified]:
    """What derivations of one forward for the page and for code have in common, begun empty."""
    return {}


def _order(tensors: list[Tensor], entries: dict[Tensor, _Entry], short_first: bool = False) -> list[Tensor]:
    """Small adjoints first (a norm's statistics), then those nearest the inputs.

    Args:
        short_first: Among those of one size the short formulas first. These melt anyway, and what reads them
            is simpler and quicker to try when they have; but the lines would be told in another order.
    """
    places = {t: n for n, t in enumerate(entries)}

    def key(t: Tensor) -> tuple[float, bool, int]:
        d = entries[t].definition
        return elements(d.indices), short_first and not _is_short(d.body), -places[t]

    return sorted(tensors, key=key)


def _stages(staged: tuple[Definition, ...], entries: list[_Entry]) -> list[Stage]:
    """The way to each adjoint's closed form, in the order of the sweep; lemmas where first used."""
    order = {d.target: place for place, d in enumerate(staged)}
    stages: list[Stage] = []
    shown: set[str] = set()
    for entry in sorted(entries, key=lambda e: order[e.definition.target]):
        for lemma in entry.lemmas:
            if str(lemma.lhs) not in shown:
                shown.add(str(lemma.lhs))
                stages.append(lemma.stage())
        if entry.steps:
            title = f"The gradient of {tensor_name(entry.definition.target).removeprefix('dL/d')}, closed"
            stages.append(Stage("closed", title, entry.definition.access, entry.steps))
    return stages


def _without_constants(staged: tuple[Definition, ...], wanted: tuple[Tensor, ...]) -> list[Definition]:
    """Adjoints that are plain numbers (that of the loss is 1) put in where they are used."""
    kept = list(staged)
    for d in staged:
        if isinstance(d.body, Const) and d.target not in wanted:
            kept = [replace(k, body=clean_all(inline(k.body, d.access, d.body))) for k in kept if k is not d]
    return kept


def clean_all(e: Expr) -> Expr:
    """Written ones and zeros dropped everywhere."""
    return clean(map_children(e, clean_all))


def _objective(entries: dict[Tensor, _Entry]) -> float:
    return flops(read_off_partial_sums([e.definition for e in entries.values()]))


def _pays(before: dict[Tensor, _Entry], after: dict[Tensor, _Entry], gone: Definition) -> bool:
    """Whether eliminating `gone` saves work, or costs nothing to speak of and leaves less to read."""
    change = _objective(after) - _objective(before)
    slack = SLACK * elements(gone.indices)
    if change > slack:
        return False
    return change < -slack or _is_short(gone.body) or _length(after) <= _length(before)


def _is_one_number(d: Definition, page: bool) -> bool:
    """Whether an adjoint is a short number that needs no name: 1/N in each entry, or 1/(2 r) for a norm.

    Code keeps the name of a single number, which it works out once; an array of equal ones it need not fill.
    """
    return _is_short(d.body) and not free_indices(d.body) and (page or bool(d.indices))


def _is_short(body: Expr) -> bool:
    return sum(1 for _ in walk(body)) <= SHORT and not any(isinstance(n, Sum) for n in walk(body))


def _must_cost_more(entries: dict[Tensor, _Entry], tensor: Tensor, program: Program) -> bool:
    """Whether a bound already says that eliminating `tensor` does not pay, so that it need not be tried.

    A product put in for its name is multiplied out anew inside each contraction, as in Σ_i x_id da_ij,
    where none of its factors can meet another of the same array or definition. All that may be saved
    is its own work and that of the lines that use it otherwise.
    """
    gone = entries[tensor].definition
    factors = [f for f in factors_of(gone.body) if free_indices(f) == frozenset(gone.indices)]
    if len(factors) < 2 or any(isinstance(n, Sum | Indicator | Reduce | Opaque) for n in walk(gone.body)):
        return False
    users = [e.definition for t, e in entries.items() if t is not tensor]
    users = [d for d in users if tensor in tensors_in(d.body)]
    times = [_separate_contractions(d.body, gone, program) for d in users]
    near = _family(gone, program)
    at_stake = [_only_with(d, near) for d, n in zip(users, times, strict=True) if not n]
    more = sum(times) * (len(factors) - 1) * elements(gone.indices)
    return more - flops([gone, *at_stake]) > SLACK * elements(gone.indices)


def _family(gone: Definition, program: Program) -> frozenset[Tensor]:
    """What gone's formula may meet: its own arrays, and those that a definition ties to them."""
    inner = tensors_in(gone.body)
    families = ({d.target, *tensors_in(d.body)} for d in program.definitions)
    return frozenset({gone.target, *inner}.union(*(family for family in families if family & inner)))


def _only_with(d: Definition, near: frozenset[Tensor]) -> Definition:
    """The definition with those of its terms alone that read one of these arrays."""
    terms = d.body.terms if isinstance(d.body, Add) else (d.body,)
    return replace(d, body=Add(tuple(t for t in terms if near & tensors_in(t))))


def _separate_contractions(body: Expr, gone: Definition, program: Program) -> int:
    """How many sums contract gone's name with arrays that have nothing to do with its formula.

    0 where it is also read in any other way.
    """
    if _family(gone, program) & (tensors_in(body) - {gone.target}):
        return 0
    sums = [n for n in walk(body) if isinstance(n, Sum) and gone.target in tensors_in(n.body)]
    reads = sum(isinstance(n, Access) and n.tensor is gone.target for n in walk(body))
    if len(sums) != reads or any(not _contracts(n, gone.target) for n in sums):
        return 0
    return len(sums)


def _contracts(e: Sum, tensor: Tensor) -> bool:
    """Whether the sum is Σ_i (… name[i …] …) with another factor that has i and indices of its own."""
    factors = factors_of(e.body)
    own = next((f for f in factors if isinstance(f, Access) and f.tensor is tensor), None)
    if own is None or not free_indices(own).issuperset(e.indices):
        return False
    rest = (free_indices(f) for f in factors if f is not own)
    return any(free.issuperset(e.indices) and free - free_indices(own) for free in rest)


def _length(entries: dict[Tensor, _Entry]) -> int:
    return sum(1 for e in entries.values() for _ in walk(e.definition.body))


def _simplified(entry: _Entry, knowledge: Knowledge) -> _Entry:
    body, steps, lemmas = simplify(entry.definition.body, knowledge)
    return _Entry(
        replace(entry.definition, body=body), entry.steps + tuple(steps), entry.lemmas + tuple(lemmas)
    )


def _eliminate(entries: dict[Tensor, _Entry], tensor: Tensor, knowledge: Knowledge) -> dict[Tensor, _Entry]:
    """The definitions without `tensor`'s: its formula stands wherever it was used."""
    gone = entries[tensor]
    return {
        target: _put_in(entry, gone, knowledge) if tensor in tensors_in(entry.definition.body) else entry
        for target, entry in entries.items()
        if target is not tensor
    }


def _put_in(entry: _Entry, gone: _Entry, knowledge: Knowledge) -> _Entry:
    """One definition with another's formula in place of its name, simplified."""
    source = gone.definition
    opened = inline(entry.definition.body, source.access, source.body)
    # A Σ_k put beside a free k would be right, but nobody could read it.
    opened = rename_bound(opened, {i.name for i in free_indices(opened)})
    step = Step(entry.definition.body, opened, "substitute", f"{tensor_name(source.target)} put in")
    opened_entry = _Entry(
        replace(entry.definition, body=opened), (*entry.steps, step), entry.lemmas + gone.lemmas
    )
    return _simplified(opened_entry, knowledge)
