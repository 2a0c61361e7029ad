"""Sizes that follow from others: one normal form, and what an affine index says about a size.

    y[n,h] = sum(p, x[n, 2*h + p] * w[p])        |H| = (|U| - |P|) // 2 + 1

The size of a range whose indices stand in affine indices only is the largest at which all of them stay
inside their axes. Sizes are polynomials in symbols |R| and in whole quotients and remainders of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from chalkgrad.expr import arithmetic
from chalkgrad.expr.nodes import (
    ONE,
    ZERO,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Mul,
    Pow,
    Program,
    Range,
    Size,
)
from chalkgrad.expr.ops import flat_key, free_indices, map_children, ordered, walk

Monomial = tuple[Expr, ...]
Polynomial = dict[Monomial, Fraction]

Sizes = tuple[tuple[Range, Expr], ...]
"""Derived ranges with their sizes, as `Program.sizes` has them."""


class NoSizeError(ValueError):
    """An expression that is not made of sizes, whole numbers, + - * // and %."""


def size_form(e: Expr) -> Expr:
    """The normal form of a size: equal polynomials are one object.

    Raises:
        NoSizeError: `e` holds anything else than integer arithmetic on sizes.
    """
    return _expression(_polynomial(e))


def _polynomial(e: Expr) -> Polynomial:
    match e:
        case Const(Fraction() as value):
            return {(): value} if value else {}
        case Size(of) if of.size is not None:
            return {(): Fraction(of.size)}
        case Size() | Index():
            return {(e,): Fraction(1)}
        case Add(terms):
            total: Polynomial = {}
            for term in terms:
                for monomial, factor in _polynomial(term).items():
                    total[monomial] = total.get(monomial, Fraction(0)) + factor
            return {m: f for m, f in total.items() if f}
        case Mul(factors):
            product: Polynomial = {(): Fraction(1)}
            for part in factors:
                product = _times(product, _polynomial(part))
            return product
        case Pow(base, Const(Fraction(numerator=times, denominator=1))) if times >= 0:
            return _polynomial(Mul((base,) * times)) if times else {(): Fraction(1)}
        case Apply("floordiv" | "mod" as fn, (above, below)):
            return _quotient(fn, _polynomial(above), _polynomial(below))
    raise NoSizeError(str(e))


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    product: Polynomial = {}
    for m, p in a.items():
        for n, q in b.items():
            both = tuple(sorted((*m, *n), key=flat_key))
            product[both] = product.get(both, Fraction(0)) + p * q
    return {m: f for m, f in product.items() if f}


def _quotient(fn: str, above: Polynomial, below: Polynomial) -> Polynomial:
    """above // below or above % below, worked out where it is exact whatever the sizes are."""
    if len(below) == 1:
        ((monomial, by),) = below.items()
        exact: Polynomial = {}
        rest: Polynomial = {}
        for m, f in above.items():
            left = list(m)
            try:
                for atom in monomial:
                    left.remove(atom)
            except ValueError:
                rest[m] = f
                continue
            whole = (f / by).denominator == 1
            (exact if whole else rest)[tuple(left) if whole else m] = f / by if whole else f
        if not monomial and set(rest) <= {()}:
            number = rest.get((), Fraction(0))
            exact[()] = exact.get((), Fraction(0)) + number // by
            remainder = number % by
            found = exact if fn == "floordiv" else {(): remainder}
            return {m: f for m, f in found.items() if f}
        if not rest:
            return exact if fn == "floordiv" else {}
        atom = Apply(fn, (_expression(rest), _expression(below)))
        if fn == "mod":
            return {(atom,): Fraction(1)}
        exact[(atom,)] = exact.get((atom,), Fraction(0)) + 1
        return exact
    return {(Apply(fn, (_expression(above), _expression(below))),): Fraction(1)}


def _expression(polynomial: Polynomial) -> Expr:
    terms = tuple(
        arithmetic.multiply(((Const(f),) if f != 1 or not m else ()) + m) if m else Const(f)
        for m, f in polynomial.items()
    )
    if not terms:
        return ZERO
    # A size reads better with its constant last: |H| - |R| + 1.
    variable = ordered(tuple(t for t in terms if not isinstance(t, Const)))
    constant = tuple(t for t in terms if isinstance(t, Const))
    positive = tuple(t for t in variable if not _negative(t))
    return arithmetic.add((*positive, *(t for t in variable if _negative(t)), *constant))


def _negative(e: Expr) -> bool:
    return isinstance(e, Mul) and isinstance(e.factors[0], Const) and e.factors[0].value < 0


def coefficients(e: Expr) -> tuple[dict[Index, Expr], Expr] | None:
    """An affine index as (a_1 i_1 + a_2 i_2 + ...) + c, coefficients and c free of indices; else None."""
    try:
        polynomial = _polynomial(e)
    except NoSizeError:
        return None
    parts: dict[Index, Polynomial] = {}
    rest: Polynomial = {}
    for monomial, factor in polynomial.items():
        moving = [a for a in monomial if free_indices(a)]
        if not moving:
            rest[monomial] = factor
        elif len(moving) == 1 and isinstance(moving[0], Index):
            left = list(monomial)
            left.remove(moving[0])
            parts.setdefault(moving[0], {})[tuple(left)] = factor
        else:
            return None
    return {i: _expression(p) for i, p in parts.items()}, _expression(rest)


def largest_size(of: Range, axis: Range, index: Expr) -> Expr | None:
    """The largest |of| at which the affine `index` stays inside `axis`; None if that is not plain.

    a·i + Σ b·j + c <= |axis| - 1 for the largest i and j gives
    |of| = (|axis| - 1 - c - Σ b (|J| - 1)) // a + 1.
    """
    found = coefficients(index)
    if found is None:
        return None
    parts, constant = found
    mine = [i for i in parts if i.range is of]
    factors = list(parts.values())
    if len(mine) != 1 or not all(isinstance(f, Const) and f.value > 0 for f in factors):
        return None
    if isinstance(constant, Const) and constant.value < 0:
        return None
    others = (f * (1 - Size(i.range)) for i, f in parts.items() if i is not mine[0])
    room = arithmetic.add((Size(axis) - 1, arithmetic.negate(constant), *others))
    return size_form(Add((Apply("floordiv", (room, parts[mine[0]])), ONE)))


# --- derived ranges of programs --------------------------------------------------------------------


def sizes_in(e: Expr) -> set[Range]:
    """The ranges whose sizes an expression names."""
    return {node.range for node in walk(e) if isinstance(node, Size)}


def with_ranges(e: Expr, ranges: Mapping[Range, Range]) -> Expr:
    """A size with other ranges in it."""
    if isinstance(e, Size):
        return Size(ranges.get(e.range, e.range))
    return map_children(e, lambda kid: with_ranges(kid, ranges))


def all_ranges(program: Program) -> tuple[Range, ...]:
    """The ranges of all tensors and derived sizes, each once."""
    derived = (r for of, e in program.sizes for r in (of, *sorted(sizes_in(e), key=lambda r: r.name)))
    return tuple(dict.fromkeys((*program.ranges(), *derived)))


def in_order(sizes: Sequence[tuple[Range, Expr]]) -> Sizes:
    """Each size once, after those that it needs.

    Raises:
        ValueError: A size that needs itself.
    """
    waiting = list(dict.fromkeys(sizes))
    found: list[tuple[Range, Expr]] = []
    while waiting:
        unknown = {of for of, _ in waiting}
        ready = next((pair for pair in waiting if not sizes_in(pair[1]) & unknown), None)
        if ready is None:
            raise ValueError(f"the size of {waiting[0][0]} follows from itself")
        waiting.remove(ready)
        found.append(ready)
    return tuple(found)
