"""Expressions as sums of monomials: the workspace in which rules compare, merge and cancel.

A monomial is  c · Σ_{bound} a₁^p₁ · a₂^p₂ · ...  with a rational c. Atoms are whatever is not a sum,
product or rational power: accesses, functions, indicators, sizes, reductions, and sums of terms
(`Add`) that stay together. Going to monomials and back is not a rule and changes no value; the
rules in this package say which step was taken on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import count

from chalkgrad.expr.cost import elements
from chalkgrad.expr.letters import fresh_index
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Reduce,
    Size,
    Sum,
)
from chalkgrad.expr.ops import (
    CACHE,
    canonical,
    flat_key,
    free_indices,
    is_const,
    map_children,
    substitute,
    walk,
)
from chalkgrad.rules.roots import roots_folded

Powers = dict[Expr, Fraction]

MAX_EXPANDED_POWER = 4
"""(a + b)^n is multiplied out up to this n."""

_dummies = count()


@dataclass(frozen=True, slots=True)
class Monomial:
    """coeff · Σ_bound Π atom^power; `powers` is ordered by first appearance."""

    coeff: Fraction
    bound: tuple[Index, ...]
    powers: tuple[tuple[Expr, Fraction], ...]

    @property
    def free(self) -> frozenset[Index]:
        """Indices of the factors that no sum binds."""
        return frozenset().union(*(free_indices(a) for a, _ in self.powers)) - frozenset(self.bound)

    def scaled(self, by: Fraction) -> Monomial:
        return replace(self, coeff=self.coeff * by)


def monomial(coeff: Fraction, bound: Iterable[Index], powers: Powers) -> Monomial | None:
    """A monomial in normal form, or None where a factor is zero.

    A sum over an index that no factor has is a multiplication by the size of its range.
    """
    clean: Powers = {}
    used = frozenset().union(*map(free_indices, powers))
    bound = tuple(bound)
    factors = dict(powers)
    for index in bound:
        if index not in used:
            size = Size(index.range)
            factors[size] = factors.get(size, Fraction(0)) + 1
    for atom, power in factors.items():
        factor = _fold(atom, power)
        if factor is None:
            clean[atom] = Fraction(1) if _is_bit(atom) and power > 0 else power
        else:
            coeff *= factor
    if any(isinstance(atom, Apply) for atom in clean):
        coeff = roots_folded(coeff, clean)
    if coeff == 0:
        return None
    summed = tuple(i for i in bound if i in used)
    return Monomial(coeff, summed, tuple((a, p) for a, p in clean.items() if p != 0))


def _is_bit(atom: Expr) -> bool:
    """Whether the atom is 0 or 1, so that its powers are itself."""
    return isinstance(atom, Indicator) or (isinstance(atom, Access) and atom.tensor.dtype == "bool")


def _fold(atom: Expr, power: Fraction) -> Fraction | None:
    """The rational value of atom^power where it has one."""
    match atom:
        case Const(Fraction() as value) if power.denominator == 1 and (value != 0 or power > 0):
            return Fraction(value) ** int(power)
        case Size(of) if of.size is not None and power.denominator == 1:
            return Fraction(of.size) ** int(power)
        case Indicator(op, left, right) if power > 0:
            return _decide(op, left, right)
    return None


def _decide(op: str, left: Expr, right: Expr) -> Fraction | None:
    """An indicator whose comparison is settled by the form of its sides."""
    if canonical(left) is canonical(right):
        return Fraction(int(op in ("==", "<=", ">=")))
    for side, other in ((left, right), (right, left)):
        if op == "==" and isinstance(side, Index) and side.range.size == 1 and is_const(other, 0):
            return Fraction(1)  # the only value of an index over one
    if isinstance(left, Const) and isinstance(right, Const):
        a, b = left.value, right.value
        truth = {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
        return Fraction(int(truth[op]))
    return None


def times(a: Monomial, b: Monomial) -> Monomial | None:
    """The product; bound indices are dummies with unique names, so nothing is captured."""
    powers: Powers = dict(a.powers)
    for atom, power in b.powers:
        powers[atom] = powers.get(atom, Fraction(0)) + power
    return monomial(a.coeff * b.coeff, a.bound + b.bound, powers)


def dummy(index: Index) -> Index:
    """A fresh bound index that remembers the letter it would like."""
    return Index(f"{index.name.split('#')[0]}#{next(_dummies)}", index.range)


def expand(e: Expr, distribute: bool = True) -> list[Monomial]:
    """The monomials of `e`.

    With `distribute`, products of sums are multiplied out and sums over an index are taken apart;
    without, a sum of several terms inside a product or a Σ stays one atom.
    """
    return list(_expanded(e, distribute))


@lru_cache(CACHE)
def _expanded(e: Expr, distribute: bool) -> tuple[Monomial, ...]:
    """`expand`, where equal expressions have equal dummies: `_product` keeps them apart."""
    match e:
        case Const(Fraction() as value):
            return (Monomial(Fraction(value), (), ()),) if value != 0 else ()
        case Add(terms):
            return tuple([m for t in terms for m in _expanded(t, distribute)])
        case Mul(factors):
            return tuple(_product([_expanded(f, distribute) for f in factors], distribute))
        case Pow(base, Const(Fraction() as power)):
            return tuple(_power(_expanded(base, distribute), Fraction(power), distribute))
        case Sum(indices, body):
            renamed = {i: dummy(i) for i in indices}
            inner = expand(substitute(body, renamed), distribute)
            if len(inner) > 1 and not distribute:
                inner = [_as_atom(inner)]
            bound = tuple(i for i in renamed.values() if isinstance(i, Index))
            made_sums = (monomial(m.coeff, bound + m.bound, dict(m.powers)) for m in inner)
            return tuple([m for m in made_sums if m is not None])
    atom = _inside(e)
    made = monomial(Fraction(1), (), {atom: Fraction(1)})
    return (made,) if made else ()


def _inside(e: Expr) -> Expr:
    """An atom with its own arguments tidied (never multiplied out: they are not part of the sum)."""
    if isinstance(e, Indicator) and e.op in ("==", "!=") and flat_key(e.right) < flat_key(e.left):
        e = Indicator(e.op, e.right, e.left)
    if isinstance(e, Access):
        # Index arithmetic is worked out: (u − 2h) + 2h is u.
        return map_children(e, lambda i: i if isinstance(i, Index | Access | Const) else worked_out(i))
    if isinstance(e, Const | Size | Index):
        return e
    return map_children(e, tidy)


def _as_atom(poly: Sequence[Monomial]) -> Monomial:
    """A sum of several monomials as one monomial with one `Add` atom, common factors in front."""
    return Monomial(Fraction(1), (), ((to_expr(poly), Fraction(1)),))


def _product(polys: Sequence[Sequence[Monomial]], distribute: bool) -> list[Monomial]:
    result = [Monomial(Fraction(1), (), ())]
    for poly in polys:
        parts = [_as_atom(poly)] if len(poly) > 1 and not distribute else poly
        products = (times(a, _apart(b, a)) for a in result for b in parts)
        result = [m for m in products if m is not None]
    return result


def _apart(m: Monomial, other: Monomial) -> Monomial:
    """The monomial with new dummies if another has one of its own, so that they may be multiplied."""
    if set(m.bound).isdisjoint(other.bound):
        return m
    renamed: dict[Index, Expr] = {i: dummy(i) for i in m.bound}
    powers = tuple((substitute(a, renamed), p) for a, p in m.powers)
    return Monomial(m.coeff, tuple(i for i in renamed.values() if isinstance(i, Index)), powers)


def _power(base: Sequence[Monomial], power: Fraction, distribute: bool) -> list[Monomial]:
    if power == 1:
        return list(base)
    whole = power.denominator == 1
    if whole and power > 1 and (len(base) == 1 or (distribute and power <= MAX_EXPANDED_POWER)):
        return _product([base] * int(power), distribute)
    if len(base) == 1 and not base[0].bound and _splits(base[0], power):
        m = base[0]
        coeff = m.coeff ** int(power) if whole else Fraction(1)
        made = monomial(coeff, (), {a: p * power for a, p in m.powers})
        return [made] if made else []
    if not base:
        made = monomial(Fraction(1), (), {Const(Fraction(0)): power})
    else:
        made = monomial(Fraction(1), (), {to_expr(base): power})
    return [made] if made else []


def raised(e: Expr, power: Fraction) -> Monomial | None:
    """e^power as one monomial, tidied but not multiplied out; None where it is zero."""
    made = _product([_power(expand(e, distribute=False), power, distribute=False)], distribute=False)
    return made[0] if made else None


def _splits(m: Monomial, power: Fraction) -> bool:
    """Whether (c Π aᵖ)^power = c^power Π a^(p·power) holds for real numbers.

    A whole power always splits. A fractional one only for a single factor that is raised to an odd
    or fractional power, since √(x²) is |x|, or for sizes, which are positive.
    """
    if power.denominator == 1:
        return m.coeff != 0
    if m.coeff != 1:
        return False
    if all(isinstance(a, Size) for a, _ in m.powers):
        return True
    return len(m.powers) == 1 and (m.powers[0][1].denominator != 1 or m.powers[0][1] % 2 == 1)


def collect(poly: Sequence[Monomial]) -> list[Monomial]:
    """Like terms added; monomials compare up to the names of bound indices."""
    found: dict[Expr, Monomial] = {}
    for m in poly:
        key = canonical(plain(replace(m, coeff=Fraction(1))))
        if key in found:
            found[key] = replace(found[key], coeff=found[key].coeff + m.coeff)
        else:
            found[key] = m
    return [m for m in found.values() if m.coeff != 0]


def plain(m: Monomial) -> Expr:
    """The monomial as an expression with one flat Σ; used for comparing, not for showing."""
    factors = _factors(m)
    body = factors[0] if len(factors) == 1 else Mul(factors)
    return Sum(m.bound, body) if m.bound else body


def _factors(m: Monomial) -> tuple[Expr, ...]:
    written = [] if m.coeff == 1 else [Const(m.coeff)]
    return (*written, *(a if p == 1 else Pow(a, Const(p)) for a, p in m.powers))


# --- back to expressions ----------------------------------------------------------------------------


def to_expr(poly: Sequence[Monomial], taken: frozenset[str] = frozenset()) -> Expr:
    """The monomials as a readable expression: hoisted, nested sums, letters for the dummies."""
    if not poly:
        return Const(Fraction(0))
    names = taken.union(*({i.name for i in m.free} for m in poly)) if poly else taken
    terms = [show_monomial(m, names) for m in poly]
    terms.sort(key=term_order)
    return terms[0] if len(terms) == 1 else Add(tuple(terms))


def term_order(term: Expr) -> tuple[object, ...]:
    """Positive terms first, then those with fewer sums, then by their factors."""
    sums = sum(1 for f in factors_of(term) if isinstance(f, Sum))
    first = factors_of(term)[0]
    negative = isinstance(first, Const) and first.value < 0
    return (negative, sums, flat_key(term))


def factors_of(e: Expr) -> tuple[Expr, ...]:
    """The written factors of a product; of anything else, itself."""
    return e.factors if isinstance(e, Mul) and e.factors else (e,)


@lru_cache(CACHE)
def show_monomial(m: Monomial, taken: frozenset[str]) -> Expr:
    """One monomial with its constants hoisted out of its sums and its dummies lettered."""
    outer: list[Expr] = [] if m.coeff == 1 and (m.powers or m.bound) else [Const(m.coeff)]
    inner: list[Expr] = []
    bound = set(m.bound)
    for atom, power in m.powers:
        written = atom if power == 1 else Pow(atom, Const(power))
        (inner if free_indices(atom) & bound else outer).append(written)
    factors = outer + _nest(inner, list(m.bound))
    factors.sort(key=flat_key)
    e = factors[0] if len(factors) == 1 else Mul(tuple(factors))
    return _letter(e, taken)


def _nest(factors: list[Expr], bound: list[Index]) -> list[Expr]:
    """Σ over `bound` of the product, each sum drawn around the fewest factors (cheapest first)."""
    factors, bound = list(factors), list(bound)
    while bound:
        j = min(bound, key=lambda i: (_width(factors, i), i.name.split("#")[0]))
        group = [f for f in factors if j in free_indices(f)]
        rest = [f for f in factors if j not in free_indices(f)]
        inside = [i for i in bound if not any(i in free_indices(f) for f in rest)]
        inside = [i for i in inside if any(i in free_indices(f) for f in group)]
        group.sort(key=flat_key)
        body = group[0] if len(group) == 1 else Mul(tuple(group))
        factors = [*rest, Sum(tuple(inside), body)]
        bound = [i for i in bound if i not in inside]
    return factors


def _width(factors: list[Expr], index: Index) -> tuple[float, int]:
    group = [f for f in factors if index in free_indices(f)]
    return elements(frozenset().union(*(free_indices(f) for f in group))), len(group)


def _letter(e: Expr, taken: frozenset[str]) -> Expr:
    """Dummies renamed to letters that no free index and no enclosing sum uses."""
    if isinstance(e, Sum | Reduce):
        names = set(taken) | {i.name for i in free_indices(e)}
        mapping: dict[Index, Expr] = {}
        bound: list[Index] = []
        for index in e.indices:
            new = index
            if "#" in index.name or index.name in taken:
                new = fresh_index(index.range, names, prefer=index.name.split("#")[0])
                mapping[index] = new
            names.add(new.name)
            bound.append(new)
        order = sorted(bound, key=lambda i: i.name)
        body = _letter(substitute(e.body, mapping), frozenset(names))
        # Factors were ordered under the dummies' names; order them again under their letters.
        if isinstance(body, Mul):
            body = Mul(tuple(sorted(body.factors, key=flat_key)))
        return Sum(tuple(order), body) if isinstance(e, Sum) else Reduce(e.op, tuple(order), body)
    return map_children(e, lambda kid: _letter(kid, taken)) if _has_binder(e) else e


@lru_cache(CACHE)
def _has_binder(e: Expr) -> bool:
    """Whether a Σ or a reduction stands anywhere in the expression."""
    return any(isinstance(node, Sum | Reduce) for node in walk(e))


def worked_out(e: Expr) -> Expr:
    """The expression multiplied out and collected."""
    return to_expr(collect(expand(e)))


def tidy(e: Expr) -> Expr:
    """Arithmetic only: constants folded, equal factors and like terms merged, canonical order.

    Nothing is multiplied out.
    """
    return to_expr(collect(expand(e, distribute=False)))
