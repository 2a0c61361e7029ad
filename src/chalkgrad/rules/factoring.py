"""Un-distribution: common factors pulled in front, γ s / N (N G − Σ G − x̂ Σ G x̂); and choices.

    un-distribute   a c + b c              =  (a + b) c
    absorb          f_k (a + 1(k = e)/f_e) =  f_k a + 1(k = e)
    complement      1 − 1(a > b)           =  1(a ≤ b)
    choose          1(c) a + 1(not c) b    =  where(c, a, b)

Each step leaves fewer operations, so they end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm

from chalkgrad.expr.cost import expression_flops
from chalkgrad.expr.guarded import guards_for, is_guard
from chalkgrad.expr.linear import KnownSizes, known_sizes
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
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import (
    CACHE,
    canonical,
    children,
    flat_key,
    free_indices,
    map_children,
    substitute,
    tensors_in,
)
from chalkgrad.rules.comparisons import compares_values
from chalkgrad.rules.conditions import is_condition
from chalkgrad.rules.contraction import direction
from chalkgrad.rules.polynomial import Powers, factors_of, term_order, tidy

LARGEST_DENOMINATOR = 100
"""A rational number is pulled in front of a sum where its denominator is at most this."""

Term = tuple[Fraction, Powers]
"""A rational coefficient and the factors of one written term, Σ included as atoms."""

Guarded = tuple[Expr, tuple[Indicator, ...]]
"""A factor, and the comparisons that keep what it reads inside of its array."""


def undistribute(e: Expr) -> Expr:
    """Sums with factors that their terms share pulled out, greedily, most shared first."""
    return _undistributed(e, known_sizes())


@lru_cache(CACHE)
def _undistributed(e: Expr, _sizes: KnownSizes) -> Expr:
    inner = map_children(e, undistribute)
    if not isinstance(inner, Add):
        # A number in front of a sum goes on to the front of the product, or of the Σ, that it stands in.
        return tidy(inner) if any(_has_product(kid, inner) for kid in children(inner)) else inner
    return _group([term_of(t) for t in inner.terms])


def _has_product(e: Expr, of: Expr) -> bool:
    """Whether a part of a product or a Σ is a product that belongs to it: x ((a + b)/N)."""
    if isinstance(of, Sum):
        return isinstance(e, Mul) and any(not free_indices(f) & set(of.indices) for f in e.factors)
    return isinstance(of, Mul) and isinstance(e, Mul)


@lru_cache(CACHE)
def absorb(e: Expr) -> Expr:
    """A factor goes into a sum where a term cancels it: p_k (1 − 1(k = y)/p_y) is p_k − 1(k = y)."""
    inner = map_children(e, absorb)
    factors = factors_of(inner)
    for total in factors if isinstance(inner, Mul) else ():
        for f in factors if isinstance(total, Add) else ():
            assert isinstance(total, Add)
            terms = [_absorbed(f, *term_of(t)) for t in total.terms] if isinstance(f, Access) else []
            if any(cancelled for cancelled, _ in terms):
                rest = list(factors)
                rest.remove(f)
                rest.remove(total)
                written = Mul((*rest, _sum([t for _, t in terms]))) if rest else _sum([t for _, t in terms])
                if expression_flops(written) <= expression_flops(inner):
                    return absorb(written)
    return inner


def _absorbed(f: Access, coeff: Fraction, powers: Powers) -> tuple[bool, Expr]:
    """The product of f and a term, and whether under the term's indicators f is what the term divides by."""
    for equation in powers:
        if isinstance(equation, Indicator) and equation.op == "==":
            at = substitute(f, direction(equation) or _fixed(equation))
            if at is not f and powers.get(at, Fraction(0)) < 0:
                return True, write(*divide((coeff, powers), Fraction(1), {at: Fraction(-1)}))
    return False, write(*divide((coeff, powers), Fraction(1), {f: Fraction(-1)}))


def _fixed(equation: Indicator) -> dict[Index, Expr]:
    """The index that an equation sets to a number, 1(k = 0): what is read there has to be read already."""
    for side, other in ((equation.left, equation.right), (equation.right, equation.left)):
        if isinstance(side, Index) and isinstance(other, Const):
            return {side: other}
    return {}


def common_denominator(e: Expr) -> Expr:
    """a/N − b/N + c as (a − b + N c)/N, and λ a + λ b as λ (a + b): how people write it.

    That may be a multiplication more than computers need, which work λ a out for all entries at once.
    """
    return _over_one(e, known_sizes())


@lru_cache(CACHE)
def _over_one(e: Expr, _sizes: KnownSizes) -> Expr:
    inner = map_children(e, common_denominator)
    if not isinstance(inner, Add):
        return tidy(inner) if isinstance(inner, Mul) else inner
    terms = [term_of(t) for t in inner.terms]
    coeff, front = _shared(terms)
    if coeff.denominator > 1:
        coeff = Fraction(1)  # (1 + erf z)/2 + φ x is not (1 + erf z + 2 φ x)/2
    atoms = dict.fromkeys(a for _, powers in terms for a in powers if isinstance(a, Size))
    lowest = {a: sorted(p.get(a, Fraction(0)) for _, p in terms)[:2] for a in atoms}
    # Where one term alone is divided, a + b/N, that is how people leave it.
    front |= {a: power for a, (power, next_power) in lowest.items() if power < 0 and next_power < 0}
    if not front and coeff in (1, -1):
        return inner
    over = _sum([write(*divide(t, coeff, front)) for t in terms])
    return tidy(write(coeff, front, undistribute(over)))


def opposite_sum(e: Add) -> Expr:
    """−e with the sign of each term changed: what y − x is to x − y."""
    return canonical(_sum([write(-coeff, powers) for coeff, powers in map(term_of, e.terms)]))


def with_opposites(e: Expr, known: Mapping[Expr, Expr]) -> Expr:
    """Every sum whose opposite is known, as minus the known one: known[opposite_sum(x − y)] is x − y."""
    if isinstance(e, Add) and canonical(e) in known:
        return Mul((Const(Fraction(-1)), known[canonical(e)]))
    return map_children(e, lambda kid: with_opposites(kid, known))


Condition = tuple[str, frozenset[Tensor], frozenset[Tensor]]
"""A comparison up to its indices: the operator, and what its sides read."""


def condition_of(e: Indicator) -> Condition:
    """What a comparison is known by wherever it stands."""
    return e.op, tensors_in(e.left), tensors_in(e.right)


def choose(e: Expr, written: frozenset[Condition] = frozenset()) -> Expr:
    """Branches that a condition and its opposite mask, as one choice.

    Of the two, the one that the user wrote is named.
    """
    return _with_choices(e, written, known_sizes())


@lru_cache(CACHE)
def _with_choices(e: Expr, written: frozenset[Condition], _sizes: KnownSizes) -> Expr:
    inner = map_children(e, lambda kid: choose(kid, written))
    if not isinstance(inner, Add):
        return inner
    for condition in _conditions(inner, written):
        chosen = _chosen(inner, condition, written)
        if chosen is not None:
            return choose(chosen, written) if isinstance(chosen, Add) else chosen
    return _complement(inner) or inner


OPPOSITE = {">": "<=", "<=": ">", "<": ">=", ">=": "<", "==": "!=", "!=": "=="}


def opposite(condition: Indicator) -> Indicator:
    """1(a ≤ b) for 1(a > b): true exactly where the other is not."""
    return Indicator(OPPOSITE[condition.op], condition.left, condition.right)


def _complement(e: Add) -> Expr | None:
    """One minus a comparison of values, as the opposite comparison; q + 1(r > 0) − 1 is q − 1(r ≤ 0)."""
    terms = [term_of(t) for t in e.terms]
    for n, (one, powers) in enumerate(terms):
        if powers or abs(one) != 1:
            continue
        for m, (coeff, mask) in enumerate(terms):
            condition = next(iter(mask), None)
            if list(mask.values()) == [1] and coeff == -one and compares_values(condition):
                assert isinstance(condition, Indicator)
                rest = [t for k, t in enumerate(e.terms) if k not in (n, m)]
                return _sum([*rest, write(one, {opposite(condition): Fraction(1)})])
    return None


def _conditions(e: Add, written: frozenset[Condition]) -> list[Indicator]:
    """The comparisons of values that mask a whole term, those written by the user first."""
    masks = {f for t in e.terms for f in factors_of(t) if isinstance(f, Indicator) and compares_values(f)}
    return sorted(masks, key=lambda m: (condition_of(m) not in written, flat_key(m)))


def _chosen(e: Add, condition: Indicator, written: frozenset[Condition]) -> Expr | None:
    """The sum with the terms under the condition and under its opposite as one `where`."""
    against = opposite(condition)
    held = [_without(t, condition) for t in e.terms if condition in factors_of(t)]
    other = [_without(t, against) for t in e.terms if against in factors_of(t)]
    if not held or not other:
        return None
    rest = [t for t in e.terms if not {condition, against} & set(factors_of(t))]
    branches = [choose(_sum(branch), written) for branch in (held, other)]
    if canonical(branches[0]) is canonical(branches[1]):
        return _sum([*rest, branches[0]])
    terms = [term_of(b) for b in branches]
    coeff, front = _shared(terms) if all(c for c, _ in terms) else (Fraction(1), Powers())
    if len({abs(c) for c, _ in terms}) > 1:  # where(c, 1, 0.01) is not where(c, 100, 1)/100
        coeff = Fraction(1)
    inside = [write(*divide(t, coeff, front)) for t in terms]
    return _sum([*rest, write(coeff, front, Apply("where", (condition, *inside)))])


def _without(term: Expr, mask: Indicator) -> Expr:
    """The term without one factor."""
    rest = tuple(f for f in factors_of(term) if f is not mask)
    if not rest:
        return Const(Fraction(1))
    return rest[0] if len(rest) == 1 else Mul(rest)


def term_of(e: Expr) -> Term:
    """The coefficient and the factors of a written term."""
    coeff = Fraction(1)
    powers: Powers = {}
    for f in factors_of(e):
        match f:
            case Const(Fraction() as value):
                coeff *= value
            case Pow(base, Const(Fraction() as power)):
                powers[base] = powers.get(base, Fraction(0)) + power
            case _:
                powers[f] = powers.get(f, Fraction(0)) + 1
    return coeff, {a: p for a, p in powers.items() if p != 0}


def _group(terms: list[Term], beside: bool = False) -> Expr:
    """Terms as an expression: what all share in front, then groups that share the most.

    Args:
        beside: Whether the expression is a term beside others, and may as well be subtracted from these as
            added to them: p − 1(k = y) (1 − ε), not p + 1(k = y) (ε − 1).
    """
    terms = [t for t in terms if t[0] != 0]
    if not terms:
        return Const(Fraction(0))
    if len(terms) == 1:
        return write(*terms[0])
    coeff, shared = _shared(terms)
    rest = [divide(t, coeff, shared) for t in terms]
    if beside and any(c < 0 and not powers for c, powers in rest):
        coeff, rest = -coeff, [(-c, powers) for c, powers in rest]
    inner = _partition(rest)
    if not shared and coeff == 1:
        return inner
    return write(coeff, shared, inner)


def _shared(terms: Sequence[Term]) -> Term:
    """The greatest common factor."""
    powers: Powers = {}
    masked = any(is_condition(a) for _, p in terms for a in p)
    for atom, guards in dict.fromkeys(_guarded(a, p) for _, p in terms for a in p):
        if any(_guarded(atom, p)[1] != guards for _, p in terms):
            continue  # in front of terms of different guards it would be read where none of them holds
        exponents = [p.get(atom, Fraction(0)) for _, p in terms]
        low, high = min(exponents), max(exponents)
        least = low if low > 0 else high if high < 0 else Fraction(0)
        if masked and any((p - least).denominator != 1 for p in exponents):
            # 1(c) √x + x is no √x (1(c) + √x): where c fails, x may be negative.
            least = Fraction(int(least))
        if least:
            powers[atom] = least
    coeff = _number_in_front([abs(c) for c, _ in terms])
    negative = sum(1 for c, _ in terms if c < 0)
    return (-coeff if negative == len(terms) else coeff), powers


def _number_in_front(numbers: list[Fraction]) -> Fraction:
    """What positive numbers are divided by: their greatest common divisor, if that helps.

    A fraction stays inside where that takes fewer multiplications: a + b/10 is not (10 a + b)/10.
    """
    top, bottom = 0, 1
    for c in numbers:
        top, bottom = gcd(top, c.numerator), lcm(bottom, c.denominator)
    # 1 + 0.134 x² stays so: a long decimal in front helps nobody.
    common = Fraction(top, bottom) if bottom <= LARGEST_DENOMINATOR else Fraction(1)

    inside, outside = (sum(c != by for c in numbers) for by in (Fraction(1), common))
    return Fraction(1) if common.denominator > 1 and inside < 1 + outside else common


def divide(term: Term, coeff: Fraction, by: Powers) -> Term:
    """The term without these factors."""
    powers = dict(term[1])
    for atom, power in by.items():
        powers[atom] = powers.get(atom, Fraction(0)) - power
    return term[0] / coeff, {a: p for a, p in powers.items() if p != 0}


def _partition(terms: list[Term]) -> Expr:
    """Groups of at least two terms that share an atom are factored; the others stay as they are."""
    counts = Counter(_guarded(a, p) for _, p in terms for a in p if p[a] > 0 and not isinstance(a, Size))
    # Of equal ones the comparison, which then stands once: p − 1(k = y) (1 − ε) − ε/K.
    best = max(
        counts, key=lambda a: (counts[a], isinstance(a[0], Indicator), _reverse_key(a[0])), default=None
    )
    if best is None or counts[best] < 2 or (counts[best] == len(terms) and len(terms) < 2):
        return _sum([write(*t) for t in terms])
    inside = [t for t in terms if t[1].get(best[0], Fraction(0)) > 0 and _guarded(best[0], t[1]) == best]
    outside = [t for t in terms if t not in inside]
    if not outside:
        return _sum([write(*t) for t in terms])
    grouped = _group(inside, beside=True)
    rest = _partition(outside)
    parts = list(rest.terms) if isinstance(rest, Add) else [rest]
    return _sum([grouped, *parts])


def _guarded(atom: Expr, powers: Powers) -> Guarded:
    """A factor with those of a term's comparisons of places without which it may read outside of an array."""
    guards = tuple(a for a in powers if is_guard(a))
    return atom, guards_for(atom, guards)


def _reverse_key(e: Expr) -> tuple[tuple[int, float, str], ...]:
    return tuple((-a, -b, c) for a, b, c in flat_key(e))


def _sum(terms: list[Expr]) -> Expr:
    terms.sort(key=term_order)
    return terms[0] if len(terms) == 1 else Add(tuple(terms))


def write(coeff: Fraction, powers: Powers, inner: Expr | None = None) -> Expr:
    """A coefficient and factors as an expression, with one more factor where there is one."""
    factors: list[Expr] = [a if p == 1 else Pow(a, Const(p)) for a, p in powers.items()]
    if inner is not None:
        factors.append(inner)
    factors.sort(key=flat_key)
    if coeff != 1 or not factors:
        factors.insert(0, Const(coeff))
    return factors[0] if len(factors) == 1 else Mul(tuple(factors))
