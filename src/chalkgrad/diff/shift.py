"""Exponentials under a sum, shifted by their largest exponent where nothing can notice.

    e_k = exp f_k becomes exp(f_k − m), m = max_k f_k

What is linear in the e_k (Σ_k w_k e_k, their mean) is then exp(−m) times what it was; a value's degree says
how often. A shift is invisible where every output has degree 0, as the quotient of two such sums has, and
log Σ is m + log Σ again. Where every reader of e_k masks it, the largest is taken of what the mask lets
through, and the rest is exp(−∞).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chalkgrad.derivation import Stage, Step
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Program,
    Reduce,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import (
    canonical,
    children,
    free_indices,
    index_names,
    inline,
    is_const,
    map_children,
    rename_bound,
    substitute,
    tensors_in,
    walk,
)
from chalkgrad.rules.conditions import Guard, Reads

Place = tuple[Expr, ...]
"""The indices of a value along the axes that the shift has."""

Degree = Mapping[Place, Fraction]
"""How often exp(−m) is a factor, for each place that m is read at; nothing where it is none."""

LOWEST = Const(float("-inf"))


class VisibleError(Exception):
    """The shift would change a value, so it is not made."""


@dataclass(frozen=True, slots=True)
class Exponential:
    """An exponential under a sum.

    Attributes:
        definition: e[.., k] = exp(f).
        summed: The positions of e's axes that the sum goes over.
        total: The first definition that sums, whose letters the maximum takes.
        over: That sum.
        read: How it reads e.
    """

    definition: Definition
    summed: tuple[int, ...]
    total: Definition
    over: Sum
    read: Access

    @property
    def score(self) -> Expr:
        assert isinstance(self.definition.body, Apply)
        return self.definition.body.args[0]

    def outer(self, indices: Sequence[Expr]) -> Place:
        """The indices along the axes that no sum goes over."""
        return tuple(i for n, i in enumerate(indices) if n not in self.summed)


def exponentials(program: Program) -> list[Definition]:
    """The definitions that are exponentials and no outputs."""
    return [d for d in program.definitions if is_exponential(d) and d.target not in program.outputs]


def is_exponential(d: Definition) -> bool:
    """Whether the value is exp of something."""
    return isinstance(d.body, Apply) and d.body.fn == "exp"


def multiple(number: Fraction, e: Expr) -> Expr:
    """number · e, the number not written where it is 1."""
    return e if number == 1 else Mul((Const(number), e))


def summed(program: Program, target: Tensor) -> Exponential | None:
    """The exponential of this name with the first sum over it, which may read it by other names."""
    e = next(d for d in program.definitions if d.target is target)
    if _already_shifted(e.body):
        return None
    named: list[Definition] = []
    for d in program.definitions:
        body = d.body
        for other in reversed(named):
            body = inline(body, other.access, other.body)
        for s in (n for n in walk(body) if isinstance(n, Sum)):
            for read in (a for a in _factors(s.body) if a.tensor is target):
                places = tuple(n for n, i in enumerate(read.indices) if i in s.indices)
                if places and all(isinstance(i, Index) for i in read.indices):
                    return Exponential(e, places, d, s, read)
        if target in tensors_in(body):
            named.append(replace(d, body=body))
    return None


def _factors(e: Expr) -> Iterator[Access]:
    """The accesses that stand in the terms of a sum as factors."""
    match e:
        case Access():
            yield e
        case Add() | Mul() | Sum() | Apply("where"):
            for kid in children(e):
                yield from _factors(kid)


def _already_shifted(e: Expr) -> bool:
    """exp(f − max f) as the user wrote it needs no second shift."""
    return any(isinstance(n, Reduce) and n.op == "max" for n in walk(e))


class Degrees:
    """How each value moves with the shift of an exponential.

    Raises:
        VisibleError: Where a value does not move by one power of exp(−m), or an output moves at all.
    """

    def __init__(self, program: Program, e: Exponential) -> None:
        own = tuple(n for n in range(len(e.definition.indices)) if n not in e.summed)
        self._of: dict[Tensor, tuple[Fraction, tuple[int, ...]]] = {e.definition.target: (Fraction(1), own)}
        for d in program.definitions:
            found = self.of(d.body) if d.target is not e.definition.target else {}
            if not found:
                continue
            ((place, degree),) = found.items() if len(found) == 1 else (((), Fraction(0)),)
            positions = tuple(d.indices.index(i) for i in place if isinstance(i, Index) and i in d.indices)
            if d.target in program.outputs or not degree or len(positions) != len(place):
                raise VisibleError
            self._of[d.target] = (degree, positions)

    @property
    def moved(self) -> frozenset[Tensor]:
        """The values that the shift changes."""
        return frozenset(self._of)

    def of(self, e: Expr) -> Degree:
        """The degree of an expression."""
        if not self.moved & tensors_in(e):
            return {}
        match e:
            case Access(tensor, indices) if tensor in self._of:
                degree, positions = self._of[tensor]
                return {tuple(indices[n] for n in positions): degree}
            case Mul(factors):
                found: dict[Place, Fraction] = {}
                for factor in factors:
                    for place, degree in self.of(factor).items():
                        found[place] = found.get(place, Fraction(0)) + degree
                return {place: degree for place, degree in found.items() if degree}
            case Pow(base, Const(Fraction() as power)):
                return {place: degree * power for place, degree in self.of(base).items()}
            case Apply("sqrt", (base,)):
                return {place: degree / 2 for place, degree in self.of(base).items()}
            case Add(terms):
                return self._same(terms)
            case Apply("where", (condition, yes, no)):
                return self._same((yes, no)) if not self.of(condition) else self._visible()
            case Sum(indices, body) | Reduce("max" | "min", indices, body):
                return self._free(self.of(body), indices)
            case Apply("log", (argument,)):
                return {} if len(self.of(argument)) <= 1 else self._visible()
            case Indicator(_, left, right):
                self._same((left, right))
                return {}
        return {} if all(not self.of(kid) for kid in children(e)) else self._visible()

    def _same(self, parts: Sequence[Expr]) -> Degree:
        """The degree that all parts have; 0 has every degree."""
        degrees = [self.of(part) for part in parts if not is_const(part, 0)]
        return degrees[0] if all(d == degrees[0] for d in degrees) else self._visible()

    def _free(self, degree: Degree, bound: Sequence[Index]) -> Degree:
        """The degree, if it is the same for all values of the bound indices."""
        inside = frozenset(bound)
        fixed = all(inside.isdisjoint(free_indices(i)) for place in degree for i in place)
        return degree if fixed else self._visible()

    def _visible(self) -> Degree:
        raise VisibleError


def shifted(program: Program, e: Exponential, stages: list[Stage]) -> tuple[Program, Tensor]:
    """The program with the exponential shifted, and by what; each line that reads it, before and after.

    Raises:
        VisibleError: Where somebody could notice.
    """
    degrees = Degrees(program, e)
    largest, body = _largest(program, e)
    definitions: list[Definition] = []
    for d in program.definitions:
        if d.target is e.definition.target:
            definitions += [largest, replace(d, body=body)]
            continue
        definitions.append(replace(d, body=_with_maximum(d.body, degrees, largest.target)))
    made = replace(program, definitions=tuple(definitions))
    stages += [s for d in program.definitions for s in _shown(d, program, made, degrees.moved, largest)]
    return made, largest.target


def _largest(program: Program, e: Exponential) -> tuple[Definition, Expr]:
    """The largest exponent's definition, and the shifted exponential."""
    taken = {t.name for t in program.tensors()} | {i.name for d in program.definitions for i in d.indices}
    name = next(n for n in ("m", "top", "fmax", *(f"m{k}" for k in range(2, 99))) if n not in taken)
    letters: dict[Index, Expr] = dict(zip(e.definition.indices, e.read.indices, strict=True))
    outer = [i for i in e.outer(e.read.indices) if isinstance(i, Index)]
    over = tuple(i for i in e.over.indices if i in e.read.indices)
    guards = _guards(program, e)
    body = Reduce("max", over, substitute(_under(guards, e.score), letters))
    m = Definition(Tensor(name, tuple(i.range for i in outer), "float", "value"), tuple(outer), body)
    at = Access(m.target, e.outer(e.definition.indices))
    inside = Add((e.score, Mul((Const(Fraction(-1)), at))))
    return m, Apply("exp", (_under(guards, inside),))


def _guards(program: Program, e: Exponential) -> list[Guard]:
    """What masks the exponential wherever it is read, as far as it is known before."""
    place = program.definitions.index(e.definition)
    known = {*program.inputs, *(t for t, _ in program.parameters)}
    known |= {d.target for d in program.definitions[:place]}
    found = Reads(program.definitions, frozenset(program.outputs)).of(e.definition.target).values()
    return [g for g in found if tensors_in(g.condition) <= known]


def _under(guards: Sequence[Guard], e: Expr) -> Expr:
    """The exponent, −∞ where a guard lets nothing through."""
    for g in guards:
        e = Apply("where", (g.condition, *((e, LOWEST) if g.holds else (LOWEST, e))))
    return e


def _with_maximum(e: Expr, degrees: Degrees, m: Tensor) -> Expr:
    """The same value by what was shifted: log Σ is m + log Σ again."""
    new = map_children(e, lambda kid: _with_maximum(kid, degrees, m))
    if isinstance(e, Apply) and e.fn == "log":
        for place, degree in degrees.of(e.args[0]).items():
            assert isinstance(new, Apply)
            return Add((multiple(degree, Access(m, place)), new))
    return new


def _shown(
    d: Definition, program: Program, made: Program, moved: frozenset[Tensor], largest: Definition
) -> list[Stage]:
    """The shift on a line that reads what was shifted and does not move itself, everything written out."""
    if d.target in moved or not moved & tensors_in(d.body):
        return []
    after = next(other for other in made.definitions if other.target is d.target)
    because = "shifting all scores by one number changes nothing, and exp of a number ≤ 0 cannot overflow"
    before, after_it = (_written_out(x, p, moved, largest) for x, p in ((d, program), (after, made)))
    if canonical(before) is canonical(after_it) or free_indices(before) != free_indices(after_it):
        return []
    step = Step(before, after_it, "shift-by-maximum", because, milestone=True)
    return [Stage("stable", f"{d.target.name}, safe for large inputs", d.access, (step,))]


def _written_out(d: Definition, program: Program, moved: frozenset[Tensor], largest: Definition) -> Expr:
    """The line with everything that the shift moves put in, each Σ and max under a letter of its own."""
    taken, body = {i.name for i in d.indices}, d.body
    for other in reversed(program.definitions):
        if other.target in moved:
            inside = rename_bound(other.body, taken)
            taken |= index_names(inside) - {i.name for i in free_indices(inside)}
            body = inline(body, other.access, inside)
    return inline(body, largest.access, rename_bound(largest.body, taken))
