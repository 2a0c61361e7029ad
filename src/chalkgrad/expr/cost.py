"""What evaluating an expression costs, in floating-point operations at nominal sizes.

The engine compares forms of one result with it (substitute an adjoint or keep it? pull a factor
out?). The exact count of emitted code, symbolic in the sizes, is `chalkgrad.emit.plan`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache

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
    Opaque,
    Partial,
    Pow,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import CACHE, canonical, children, free_indices, substitute, tensors_in, walk

COST_SIZE = 64.0
"""Every symbolic size counts as this many."""

FUNCTION_COST = 8.0
"""An elementwise function counts as this many multiplications."""

ONE_OPERATION = frozenset({"where", "abs", "sign", "relu", "maximum", "minimum", "clip"})
"""Functions that are one comparison or choice, and count as one operation."""


def function_cost(fn: str) -> float:
    """How many operations an elementwise function counts as."""
    return 1.0 if fn in ONE_OPERATION else FUNCTION_COST


def elements(indices: Iterable[Index]) -> float:
    """How many entries an array over these indices has, at nominal sizes."""
    total = 1.0
    for index in indices:
        total *= index.range.size or COST_SIZE
    return total


def flops(definitions: Iterable[Definition]) -> float:
    """Operations to evaluate all definitions, equal subexpressions once."""
    together: dict[Expr, float] = {}
    for d in definitions:
        together.update(_operations(d.body))
    return sum(together.values())


def traffic(definitions: Iterable[Definition]) -> float:
    """Numbers read and written: each definition writes its array and reads those it mentions."""
    total = 0.0
    for d in definitions:
        read = {n.tensor: elements(free_indices(n)) for n in walk(d.body) if isinstance(n, Access)}
        whole = {t: max(cost, _entries(t)) for t, cost in read.items()}
        total += elements(d.indices) + sum(whole.values())
    return total


def _entries(tensor: Tensor) -> float:
    total = 1.0
    for axis in tensor.axes:
        total *= axis.size or COST_SIZE
    return total


def expression_flops(e: Expr) -> float:
    """Operations to evaluate one expression for all values of its free indices."""
    return sum(_operations(e).values())


@lru_cache(CACHE)
def _shape_key(e: Expr) -> Expr:
    """The expression with its free indices named by place, so that e[i,j] and e[i,k] are one array."""
    order: list[Index] = []
    stack = [e]
    free = free_indices(e)
    while stack:
        node = stack.pop()
        if isinstance(node, Index) and node in free and node not in order:
            order.append(node)
        stack.extend(reversed(children(node)))
    return canonical(substitute(e, {i: Index(f"@{n}", i.range) for n, i in enumerate(order)}))


def _scatter(e: Expr) -> frozenset[Index]:
    """Indices that an indicator 1(k == y[i]) in the term pins: the term touches one k, not all."""
    factors = e.factors if isinstance(e, Mul) else (e,)
    return frozenset(
        f.left
        for f in factors
        if isinstance(f, Indicator)
        and f.op == "=="
        and isinstance(f.left, Index)
        and not isinstance(f.right, Index)
    )


def _is_bound(e: Expr, pinned: frozenset[Index]) -> bool:
    """Whether the factor only says where: a pinned index, or limits that index arithmetic sets."""
    return isinstance(e, Indicator) and (e.left in pinned or not tensors_in(e))


@lru_cache(CACHE)
def _operations(e: Expr) -> Mapping[Expr, float]:
    """What each part of an expression costs by itself, equal parts once."""
    if isinstance(e, Const | Size | Index | Access):
        return {}
    parts = e.body.factors if isinstance(e, Sum) and isinstance(e.body, Mul) else children(e)
    found: dict[Expr, float] = {}
    for part in parts:
        found.update(_operations(part))
    found[_shape_key(e)] = _own_cost(e)
    return found


def _own_cost(e: Expr) -> float:
    """Operations of an expression whose parts are there."""
    match e:
        case Sum(_, Mul(factors)):
            return _contraction_cost(factors, e.body)
        case Add(terms):
            return _addition_cost(e, terms)
        case Mul(factors):
            pinned = _scatter(e)
            return _pairwise([free_indices(f) - pinned for f in factors if not _is_bound(f, pinned)])
        case Pow(_, Const(Fraction(denominator=1))):
            return elements(free_indices(e))
        case Pow():
            return FUNCTION_COST * elements(free_indices(e))
        case Apply(fn, _):
            return function_cost(fn) * elements(free_indices(e))
        case Indicator():
            return 0.0 if _is_bound(e, _scatter(e)) else elements(free_indices(e))
        case Sum(_, body) | Reduce(_, _, body):
            return elements(free_indices(body))
        case Opaque(_, indices, _, _):
            side: float = elements(indices) ** 0.5
            return side**3
        case Partial():
            return elements(free_indices(e))
    raise TypeError(f"no cost for the node {type(e).__name__}")


def _addition_cost(e: Expr, terms: tuple[Expr, ...]) -> float:
    """Terms added two by two; a term pinned by an indicator is scattered into the rest."""
    plain = [free_indices(t) for t in terms if not _scatter(t)]
    scattered = [free_indices(t) - _scatter(t) for t in terms if _scatter(t)]
    total = _pairwise(plain) + sum(elements(s) for s in scattered)
    filled = frozenset().union(*plain)
    return total if filled == free_indices(e) else total + elements(free_indices(e))


def _contraction_cost(factors: tuple[Expr, ...], body: Expr) -> float:
    """Σ of a product: its multiplications belong to the sum, not to an array of their own.

    A factor whose indices another factor has is multiplied into that one first (a mask into an
    operand of a matrix product).
    """
    total, pinned = 0.0, _scatter(body)
    spaces = sorted(
        (free_indices(f) - pinned for f in factors if not _is_bound(f, pinned)),
        key=lambda s: (-elements(s), sorted(map(str, s))),
    )
    kept: list[frozenset[Index]] = []
    for space in spaces:
        host = next((k for k in kept if space <= k), None)
        if host is None:
            kept.append(space)
        elif space:
            total += elements(host)
    return total + len(kept) * elements(free_indices(body) - pinned)


def _pairwise(spaces: list[frozenset[Index]]) -> float:
    """Combining operands two by two, the smallest first."""
    spaces.sort(key=elements)
    total, union = 0.0, spaces[0] if spaces else frozenset()
    for space in spaces[1:]:
        union |= space
        total += elements(union)
    return total
