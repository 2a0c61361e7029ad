"""Under which conditions a part of a formula counts: what a branch, or a factor that may be 0, lets through.

where(c, a, b)     a counts where c holds, b where it does not
1(c) a             a counts where c holds
a t,  t = 1(c) b   a counts where c holds: t is 0 elsewhere
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chalkgrad.expr.nodes import (
    BINDERS,
    MINUS_ONE,
    ONE,
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
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import (
    canonical,
    children,
    free_indices,
    is_const,
    ordered,
    substitute,
    tensors_in,
    walk,
)
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.rules.bounds import Bounds

OPPOSITE = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "=="}


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition, whether it must hold or fail, and whether it chooses a branch or is a factor."""

    condition: Expr
    holds: bool = True
    branch: bool = False

    @property
    def key(self) -> Expr:
        """One object for all guards that say the same: x > 0, 0 < x, not x <= 0."""
        match self.condition:
            case Indicator(op, left, right):
                op = op if self.holds else OPPOSITE[op]
                if op in (">", ">="):
                    op, left, right = {">": "<", ">=": "<="}[op], right, left
                if op in ("==", "!="):
                    left, right = ordered((canonical(left), canonical(right)))
                return canonical(Indicator(op, left, right))
        return canonical(self.condition if self.holds else Add((ONE, Mul((MINUS_ONE, self.condition)))))

    def at(self, mapping: Mapping[Index, Expr]) -> Guard:
        """The same guard with indices replaced."""
        return replace(self, condition=substitute(self.condition, mapping))


Guards = Mapping[Expr, Guard]
"""Guards that all apply, by their keys."""


def keyed(guards: Iterable[Guard]) -> dict[Expr, Guard]:
    """Guards by their keys."""
    return {g.key: g for g in guards}


def common(sets: Sequence[Guards]) -> dict[Expr, Guard]:
    """The guards that are in every set."""
    first, rest = (sets[0], sets[1:]) if sets else ({}, ())
    return {key: g for key, g in first.items() if all(key in other for other in rest)}


def outside(guards: Guards, bound: Iterable[Index]) -> dict[Expr, Guard]:
    """The guards that say nothing of the bound indices."""
    inside = frozenset(bound)
    return {key: g for key, g in guards.items() if not inside & free_indices(g.condition)}


class Conditions:
    """What holds where a value is not 0, for the values of a list of definitions.

    Args:
        definitions: In order of evaluation.
    """

    def __init__(self, definitions: Sequence[Definition]) -> None:
        self._of: dict[Tensor, tuple[tuple[Index, ...], dict[Expr, Guard]]] = {}
        for d in definitions:
            found = self.of(d.body)
            if found:
                self._of[d.target] = (d.indices, found)

    def of(self, e: Expr) -> dict[Expr, Guard]:
        """The guards without which the expression is exactly 0."""
        match e:
            case Access(tensor, indices) if tensor in self._of:
                own, found = self._of[tensor]
                mapping = dict(zip(own, indices, strict=True))
                return keyed(g.at(mapping) for g in found.values())
            case Indicator() | Access():
                return keyed([Guard(e)]) if is_condition(e) else {}
            case Mul(factors):
                return {key: g for f in factors for key, g in self.of(f).items()}
            case Add(terms):
                opposite = negated(e)
                return when(opposite, False) if opposite else common([self.of(t) for t in terms])
            case Sum(indices, body):
                return outside(self.of(body), indices)
            case Pow(base, Const(power)) if power > 0:
                return self.of(base)
            case Apply("where", (c, yes, no)):
                branches = [
                    {**self.of(branch), **taken}
                    for branch, taken in ((yes, when(c, True)), (no, when(c, False)))
                    if not is_const(branch, 0)
                ]
                return common(branches)
        return {}

    def inside(self, e: Expr, guards: Guards) -> list[tuple[Expr, Guards]]:
        """The direct parts of an expression, each with the guards under which it counts."""
        match e:
            case Apply("where", (c, yes, no)):
                return [
                    (c, guards),
                    (yes, {**guards, **when(c, True, branch=True)}),
                    (no, {**guards, **when(c, False, branch=True)}),
                ]
            case Mul(factors):
                own = [self.of(f) for f in factors]
                return [
                    (f, {**{k: g for m, o in enumerate(own) if m != n for k, g in o.items()}, **guards})
                    for n, f in enumerate(factors)
                ]
            case _ if isinstance(e, BINDERS):
                free = outside(guards, e.indices)
                return [(kid, free) for kid in children(e)]
        return [(kid, guards) for kid in children(e)]


def is_condition(e: Expr) -> bool:
    """Whether the expression is 0 or 1 by what it is: a comparison, a mask, a product of such."""
    if isinstance(e, Mul):
        return bool(e.factors) and all(is_condition(f) for f in e.factors)
    return isinstance(e, Indicator) or (isinstance(e, Access) and e.tensor.dtype == "bool")


def negated(e: Expr) -> Expr | None:
    """The condition c behind 1 − c; None for any other expression."""
    match e:
        case Add((one, Mul((minus, c)))) | Add((Mul((minus, c)), one)):
            return c if is_const(one, 1) and is_const(minus, -1) and is_condition(c) else None
    return None


def when(c: Expr, holds: bool, *, branch: bool = False) -> dict[Expr, Guard]:
    """The guards of a branch."""
    opposite = negated(c)
    if opposite is not None:
        return when(opposite, not holds, branch=branch)
    if not is_condition(c):
        return {}
    parts = c.factors if isinstance(c, Mul) and holds else (c,)
    return keyed(Guard(p, holds, branch) for p in parts)


def risk(e: Expr, bounds: Bounds) -> Expr | None:
    """The argument of a function that ends somewhere; None where the argument stays away from that end."""
    match e:
        case Apply(fn, (argument,)) if PRIMITIVES[fn].above is not None:
            end = PRIMITIVES[fn].above
        case Pow(_, Const(Fraction() as power)) if power > 0 and power.denominator == 1:
            return None
        case Pow(argument, _):
            end = 0.0
        case _:
            return None
    assert end is not None
    return None if moving(argument) is None or bounds.of(argument)[0] > end else argument


def moving(e: Expr) -> Expr | None:
    """The expression, if it is not the same number everywhere."""
    return e if free_indices(e) or any(t.role != "parameter" for t in tensors_in(e)) else None


def is_conditional(d: Definition) -> bool:
    """Whether the definition says where something counts."""
    return any(is_condition(e) or (isinstance(e, Apply) and e.fn == "where") for e in walk(d.body))


class Reads:
    """Under which guards each definition's value is read.

    Args:
        definitions: In order of evaluation.
        kept: Values that somebody outside reads, always.
    """

    def __init__(self, definitions: Sequence[Definition], kept: frozenset[Tensor]) -> None:
        self.definitions = definitions
        self.conditions = Conditions(definitions)
        self.own = {d.target: d for d in definitions}
        self.bounds = Bounds(definitions)
        self._reads: dict[Tensor, list[Guards]] = {t: [{}] for t in kept}
        for d in reversed(definitions):
            for e, guards in self.parts(d.body, self.of(d.target)):
                if isinstance(e, Access) and e.tensor in self.own:
                    self._reads.setdefault(e.tensor, []).append(self._at(e, guards))

    def of(self, t: Tensor) -> dict[Expr, Guard]:
        """The guards that all reads of a value have."""
        return common(self._reads.get(t, []))

    def parts(self, e: Expr, guards: Guards) -> Iterator[tuple[Expr, Guards]]:
        """The expression and everything inside, each with the guards under which it counts."""
        yield e, guards
        for kid, inner in self.conditions.inside(e, guards):
            yield from self.parts(kid, inner)

    def _at(self, e: Access, guards: Guards) -> Guards:
        """The guards in the letters of the definition that is read."""
        plain = [i for i in e.indices if isinstance(i, Index)]
        if len(plain) != len(e.indices) or len(set(plain)) != len(plain):
            return {}
        mapping: dict[Index, Expr] = dict(zip(plain, self.own[e.tensor].indices, strict=True))
        return keyed(g.at(mapping) for g in guards.values() if free_indices(g.condition) <= set(plain))


def unguarded(definitions: Sequence[Definition], outputs: Iterable[Tensor]) -> list[Definition]:
    """The definitions that hold wherever they may be read.

    r = √x under where(x > 0, r, x) says nothing of negative x: there, x is not r².
    """
    bounds = Bounds(definitions)
    risky = [d for d in definitions if any(risk(e, bounds) is not None for e in walk(d.body))]
    if not risky or not any(is_conditional(d) for d in definitions):
        return list(definitions)
    reads = Reads(definitions, frozenset(outputs))
    return [d for d in definitions if d not in risky or not reads.of(d.target)]
