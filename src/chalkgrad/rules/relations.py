"""Definitions as relations among names, used in whichever direction makes the result simpler.

    re-substitute   p = e/z, x̂ = c·s, s = (v+ε)^−½: a group of factors is called by its name again
    sum-is-named    z = Σ_j e_j, μ = (1/N) Σ_i x_i: a sum that a definition already has

Each use lowers the weight of a monomial (see `weight`), so re-substitution ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from chalkgrad.expr.guarded import guards_for, is_guard
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Pow,
    Reduce,
    Size,
    Sum,
)
from chalkgrad.expr.ops import (
    CACHE,
    canonical,
    children,
    flat_key,
    free_indices,
    map_children,
    substitute,
    walk,
)
from chalkgrad.rules.matching import Binding, match
from chalkgrad.rules.polynomial import (
    Monomial,
    Powers,
    collect,
    expand,
    factors_of,
    monomial,
    plain,
    to_expr,
)


def weight(atom: Expr) -> Fraction:
    """How much a factor counts when two ways to write a monomial are compared."""
    match atom:
        case Size() | Const():
            return Fraction(1, 2)
        case Access(_, indices) if not all(isinstance(i, Index) for i in indices):
            return Fraction(3, 2)  # q_i is better than the p[i, y_i] that it is
        case Access() | Index() | Indicator():
            return Fraction(1)
        case Apply() | Pow():
            return Fraction(2) + sum((weight(k) for k in children(atom)), Fraction(0))
        case Sum() | Reduce():
            return Fraction(4) + weight(atom.body)
    return Fraction(2) + sum((weight(k) for k in children(atom)), Fraction(0))


DIVISION = Fraction(9, 8)
"""A factor below the fraction bar counts this many times one above it: s is better than 1/r."""


@dataclass(frozen=True, slots=True)
class Relation:
    """target = coeff · Π factor^power, read from a definition whose body is one monomial."""

    definition: Definition
    coeff: Fraction
    powers: tuple[tuple[Expr, Fraction], ...]

    @property
    def variables(self) -> tuple[Index, ...]:
        return self.definition.indices


def relations(definitions: Sequence[Definition]) -> list[Relation]:
    """The definitions that are monomials in other values. Later names come first: they say more."""
    found = []
    for d in reversed(definitions):
        poly = expand(d.body, distribute=False)
        if len(poly) == 1 and not poly[0].bound:
            m = poly[0]
            if m.powers and not _is_copy(m):
                found.append(Relation(d, m.coeff, m.powers))
    return found


def _is_copy(m: Monomial) -> bool:
    """Whether the monomial is another array's entry, in whole or times a number."""
    (atom, power), *rest = m.powers
    whole = isinstance(atom, Access) and all(isinstance(i, Index) for i in atom.indices)
    return not rest and power == 1 and whole


def sum_relations(definitions: Sequence[Definition]) -> list[Relation]:
    """The definitions that are one Σ, perhaps divided by sizes."""
    found = []
    for d in reversed(definitions):
        e = to_expr(collect(expand(d.body, distribute=False)))
        coeff = Fraction(1)
        powers: list[tuple[Expr, Fraction]] = []
        for f in factors_of(e):
            match f:
                case Const(Fraction() as value):
                    coeff *= value
                case Pow(Size() as base, Const(Fraction() as power)):
                    powers.append((base, power))
                case _:
                    powers.append((f, Fraction(1)))
        sums = [a for a, _ in powers if isinstance(a, Sum)]
        if len(sums) == 1 and all(isinstance(a, Sum | Size) for a, _ in powers):
            found.append(Relation(d, coeff, tuple(powers)))
    return found


# --- factors that have a name -------------------------------------------------------------------


def resubstitute(m: Monomial, known: Sequence[Relation]) -> tuple[Monomial, list[Relation]]:
    """The monomial with groups of factors called by their names while that lowers its weight."""
    used: list[Relation] = []
    while True:
        best: tuple[Fraction, Monomial, Relation] | None = None
        for relation in known:
            for candidate in _rewrites(m, relation):
                gain = _weight(m) - _weight(candidate)
                if gain > 0 and (best is None or _better(gain, candidate, best)):
                    best = (gain, candidate, relation)
        if best is None:
            return m, used
        m = best[1]
        used.append(best[2])


def _better(gain: Fraction, candidate: Monomial, best: tuple[Fraction, Monomial, Relation]) -> bool:
    """Whether a rewriting gains more; equal gains are decided by the result, not by who came first."""
    if gain != best[0]:
        return gain > best[0]
    return flat_key(canonical(plain(candidate))) < flat_key(canonical(plain(best[1])))


def _weight(m: Monomial) -> Fraction:
    return sum((weight(a) * abs(p) * (DIVISION if p < 0 else 1) for a, p in m.powers), Fraction(0))


def _rewrites(m: Monomial, relation: Relation) -> Iterator[Monomial]:
    """The monomial with target^n put for the relation's body^n, for each place where it fits."""
    powers = dict(m.powers)
    for binding in _fits(relation, m):
        if not all(v in binding for v in relation.variables):
            continue
        body = [(_instance(a, binding), p) for a, p in relation.powers]
        ratios = [powers[a] / p for a, p in body if a in powers]
        if len(ratios) != len(body):
            continue
        for n in _multiplicities(ratios):
            target = Access(relation.definition.target, tuple(binding[v] for v in relation.variables))
            new: Powers = dict(powers)
            for a, p in body:
                new[a] = new[a] - n * p
            new |= _still_needed(new)
            new[target] = new.get(target, Fraction(0)) + n
            made = monomial(m.coeff / relation.coeff**n, m.bound, new)
            if made is not None:
                yield made


def _still_needed(powers: Powers) -> Powers:
    """Comparisons that went into a name, though what is left reads outside of its array without them."""
    gone = tuple(a for a, p in powers.items() if p == 0 and is_guard(a))
    left = [a for a, p in powers.items() if p != 0] if gone else []
    return {guard: Fraction(1) for a in left for guard in guards_for(a, gone)}


def _instance(e: Expr, binding: Binding) -> Expr:
    mapping = {k: v for k, v in binding.items() if isinstance(k, Index)}
    return substitute(e, mapping)


def _fits(relation: Relation, m: Monomial) -> Iterator[Binding]:
    """Choices of the definition's indices under which its first factor occurs in the monomial."""
    anchor = max(relation.powers, key=lambda ap: (len(free_indices(ap[0])), flat_key(ap[0])))[0]
    seen: set[tuple[Expr, ...]] = set()
    for atom, _ in m.powers:
        for binding in match(anchor, atom, relation.variables):
            key = tuple(binding.get(v, v) for v in relation.variables)
            if key not in seen:
                seen.add(key)
                yield binding


def _multiplicities(ratios: list[Fraction]) -> list[int]:
    """The powers n of the name to try: as many whole copies as every factor has.

    Whole ones only: from y = sin² one may not conclude sin = y^½.
    """
    if all(r > 0 for r in ratios):
        n = min(ratios)
    elif all(r < 0 for r in ratios):
        n = max(ratios)
    else:
        return []
    return [int(n)] if int(n) != 0 else []


# --- sums that have a name ----------------------------------------------------------------------


def name_sums(e: Expr, known: Sequence[Relation]) -> tuple[Expr, list[Relation]]:
    """Every Σ in `e` that a definition already has, replaced by the name (and its sizes)."""
    used: list[Relation] = []

    def visit(node: Expr) -> Expr:
        if not mentions_sum(node):
            return node
        if isinstance(node, Sum):
            for relation in known:
                found = _named(node, relation)
                if found is not None:
                    used.append(relation)
                    return found
        return map_children(node, visit)

    return visit(e), used


def _named(node: Sum, relation: Relation) -> Expr | None:
    pattern = next(a for a, _ in relation.powers if isinstance(a, Sum))
    for binding in match(pattern, node, relation.variables):
        if all(v in binding for v in relation.variables):
            target = Access(relation.definition.target, tuple(binding[v] for v in relation.variables))
            powers: Powers = {target: Fraction(1)}
            for a, p in relation.powers:
                if a is not pattern:
                    powers[a] = powers.get(a, Fraction(0)) - p
            made = monomial(1 / relation.coeff, (), powers)
            return to_expr([made]) if made else None
    return None


@lru_cache(CACHE)
def mentions_sum(e: Expr) -> bool:
    """Whether a Σ stands anywhere in the expression."""
    return any(isinstance(node, Sum) for node in walk(e))


def with_relations(
    poly: Sequence[Monomial], known: Sequence[Relation]
) -> tuple[list[Monomial], list[Relation]]:
    """`resubstitute` on every monomial, those inside of a sum that stays together first."""
    result: list[Monomial] = []
    used: list[Relation] = []
    for m in poly:
        inner = _within_sums(m, known, used)
        if inner is None:
            continue
        new, relations_used = resubstitute(inner, known)
        result.append(new)
        used.extend(relations_used)
    return result, used


def _within_sums(m: Monomial, known: Sequence[Relation], used: list[Relation]) -> Monomial | None:
    """The monomial with the same done to the terms of its sums: (1/z) Σ_k e_k v_k + a is Σ_k p_k v_k + a."""
    powers: Powers = {}
    for atom, power in m.powers:
        if isinstance(atom, Add):
            terms, found = with_relations(expand(atom, distribute=False), known)
            if found:
                used.extend(found)
                atom = to_expr(terms)  # noqa: PLW2901
        powers[atom] = powers.get(atom, Fraction(0)) + power
    return monomial(m.coeff, m.bound, powers)
