"""Affine subscripts such as s·h + p − 1: read as linear forms, and bounded by what the sizes say.

A linear form is a dict from atoms (indices, sizes, loop counters) to whole coefficients; the key
`None` holds the constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from fractions import Fraction
from math import gcd

from chalkgrad.expr.nodes import Access, Add, Apply, Const, Expr, Index, Indicator, Mul, Range, Size, Tensor
from chalkgrad.expr.ops import walk

Linear = dict[Expr | None, int]

DerivedSizes = tuple[tuple[Range, Expr], ...]
"""Sizes that follow from others, as `Program.sizes` has them."""

LeastSizes = tuple[tuple[Range, tuple[tuple[Expr | None, int], ...]], ...]
"""Sizes with a linear form that they do not fall below, see `chalkgrad.expr.guarded.least_sizes`."""

KnownSizes = tuple[DerivedSizes, LeastSizes]

_known: ContextVar[tuple[KnownSizes, Mapping[Range, Expr], Mapping[Range, Linear]]] = ContextVar(
    "known_sizes", default=(((), ()), {}, {})
)


@contextmanager
def derived_sizes(sizes: DerivedSizes, least: LeastSizes = ()) -> Iterator[None]:
    """Within, bounds are proved with these sizes (a program's own, see `Program.sizes`).

    Args:
        least: What sizes do not fall below, if that is known to be more than one.
    """
    token = _known.set(((sizes, least), dict(sizes), {of: dict(form) for of, form in least}))
    try:
        yield
    finally:
        _known.reset(token)


def known_sizes() -> KnownSizes:
    """The sizes that bounds are proved with here: what such a proof decides is remembered beside them."""
    return _known.get()[0]


def is_derived(of: Range) -> bool:
    """Whether the range's size follows from others: an output of a convolution, not a kernel."""
    return of in _known.get()[1]


def counter(index: Index) -> Access:
    """The index as a Python number: what a loop over its range counts with."""
    return Access(Tensor(index.name, (index.range,), "int", "counter"), ())


def linear(e: Expr) -> Linear | None:
    """The linear form of an index expression; None where it is not one."""
    match e:
        case Const(Fraction() as value) if value.denominator == 1:
            return {None: value.numerator} if value else {}
        case Size(of):
            return {None: of.size} if of.size is not None else {e: 1}
        case Index():
            return {e: 1}
        case Access(tensor, ()) if tensor.role == "counter":
            return {e: 1}
        case Add(terms):
            total: Linear = {}
            for t in terms:
                part = linear(t)
                if part is None:
                    return None
                total = plus(total, part)
            return total
        case Mul(factors):
            scale, rest = 1, None
            for f in factors:
                part = linear(f)
                if part is None:
                    return None
                if set(part) <= {None}:
                    scale *= part.get(None, 0)
                elif rest is None:
                    rest = part
                else:
                    return None
            return times(rest, scale) if rest is not None else times({None: 1}, scale)
        case Apply("floordiv", _) if not any(isinstance(n, Index | Access) for n in walk(e)):
            return {e: 1}
    return None


def plus(a: Linear, b: Linear, scale: int = 1) -> Linear:
    """a + scale · b."""
    result = dict(a)
    for atom, c in b.items():
        result[atom] = result.get(atom, 0) + scale * c
    return {atom: c for atom, c in result.items() if c}


def times(a: Linear, scale: int) -> Linear:
    return {atom: c * scale for atom, c in a.items() if c * scale}


def as_index(a: Linear) -> Expr:
    """The linear form as an index expression."""
    terms: list[Expr] = []
    for atom, c in a.items():
        number = Const(Fraction(c))
        terms.append(number if atom is None else atom if c == 1 else Mul((number, atom)))
    return terms[0] if len(terms) == 1 else Add(tuple(terms)) if terms else Const(Fraction(0))


def size_of(of: Range) -> Linear:
    """|R| as a linear form."""
    return {None: of.size} if of.size is not None else {Size(of): 1}


def sizes_in(e: Expr) -> tuple[Range, ...]:
    """The symbolic ranges whose sizes the expression names."""
    found = dict.fromkeys(n.range for n in walk(e) if isinstance(n, Size) and n.range.size is None)
    return tuple(found)


def indices_in(a: Linear) -> list[Index]:
    return [atom for atom in a if isinstance(atom, Index)]


def highest(a: Linear) -> int | None:
    """A number that no value of the form exceeds, None where the sizes do not tell."""
    current, parts, least = dict(a), 1, dict(_known.get()[2])
    while True:
        atom = next((t for t in current if t is not None and _replacement(t, current[t]) is not None), None)
        if atom is None:
            # What is left are free sizes. Each gives way once, as two may be said to be the larger one.
            size = next((t for t in current if isinstance(t, Size) and t.range in least), None)
            if size is None:
                break
            form, scale = least.pop(size.range), current[size]
            if scale < 0:
                del current[size]
                current = plus(current, form, scale)
            continue
        scale = current[atom]
        whole = _divisor(atom, scale)  # in thirds, say, so that ⌊a / 3⌋ ≤ a / 3 can be put in
        current, parts, scale = times(current, whole), parts * whole, scale * whole
        del current[atom]
        found = _replacement(atom, scale)
        assert found is not None
        current = plus(current, found)
    # These are at least one.
    if any(c > 0 for atom, c in current.items() if atom is not None):
        return None
    return sum(current.values()) // parts


def lowest(a: Linear) -> int | None:
    """A number that no value of the form falls below."""
    found = highest(times(a, -1))
    return None if found is None else -found


def _replacement(atom: Expr, scale: int) -> Linear | None:
    """An upper bound of scale · atom in simpler atoms; None where the atom stays."""
    match atom:
        case Index(_, of) | Access(Tensor(_, (of,)), ()):  # 0 ... |R| - 1
            return times(plus(size_of(of), {None: -1}), scale) if scale > 0 else {}
        case Size(of) if of in _known.get()[1]:
            inner = linear(_known.get()[1][of])
            return None if inner is None else times(inner, scale)
        case Apply("floordiv", (top, Const(Fraction() as step))) if step > 0:
            inner, m = linear(top), int(step)
            if inner is None:
                return None
            # a - (m - 1) <= m floor(a / m) <= a
            bound = inner if scale > 0 else plus(inner, {None: 1 - m})
            return times(bound, scale // m)
    return None


def _divisor(atom: Expr, scale: int) -> int:
    """What a form with scale · ⌊a / m⌋ is multiplied by, so that m divides the scale."""
    match atom:
        case Apply("floordiv", (_, Const(Fraction() as step))) if step > 0:
            return int(step) // gcd(int(step), scale)
    return 1


def inside(a: Linear, axis: Range) -> bool:
    """Whether every value of the form is a place of the axis, by proof."""
    least, most = lowest(a), highest(plus(a, size_of(axis), -1))
    return least is not None and least >= 0 and most is not None and most < 0


def is_there(a: Linear, axis: Range) -> bool:
    """Whether one place of an axis, a form without indices, is there in any array that may be given.

    The first one of an axis is there unless the axis is empty: something must read it.
    """
    return inside(a, axis) and (axis.size is not None or axis in _known.get()[2])


def equal(a: Linear, b: Linear) -> bool:
    """Whether two forms have the same value for all sizes, by proof."""
    difference = plus(a, b, -1)
    return highest(difference) == 0 == lowest(difference)


def holds_always(e: Indicator) -> bool:
    """Whether a comparison of linear forms is true for all values of its indices."""
    left, right = linear(e.left), linear(e.right)
    if left is None or right is None:
        return False
    if e.op in (">", ">="):
        left, right = right, left
    most = highest(plus(left, right, -1))
    return most is not None and e.op in ("<", ">", "<=", ">=") and most <= (-1 if e.op in "<>" else 0)


def guards(e: Indicator, subscript: Linear, axis: Range) -> bool:
    """Whether the comparison says no more than 0 <= subscript or subscript < |axis|."""
    left, right = linear(e.left), linear(e.right)
    if left is None or right is None or e.op not in ("<", ">", "<=", ">="):
        return False
    if e.op in ("<", "<="):
        left, right = right, left
    margin = plus(left, right, -1)  # margin > 0, or margin >= 0
    if e.op in ("<", ">"):
        margin = plus(margin, {None: -1})
    below = plus(margin, subscript, -1)
    above = plus(plus(margin, subscript), plus(size_of(axis), {None: -1}), -1)
    return any((low := lowest(d)) is not None and low >= 0 for d in (below, above))
