"""Sums of products: which factors become one operand, and when two operands are a matrix product."""

from __future__ import annotations

from collections.abc import Sequence

from chalkgrad.emit.arrays import (
    Array,
    Axes,
    Cast,
    Compare,
    Einsum,
    MatMul,
    Positions,
    Product,
    ReduceAxes,
    Running,
    kind,
)
from chalkgrad.expr.nodes import Expr, Index, Indicator, Mul, Sum
from chalkgrad.expr.ops import free_indices


def group_factors(summed: Axes, factors: Sequence[Expr]) -> tuple[Axes, list[list[Expr]]]:
    """Factors joined into operands, each with indices that no other operand covers.

    A factor whose indices another operand has is multiplied into it elementwise, which costs no more
    than reading that operand. An index summed in one operand only is summed there first.
    """
    running = _running_last(summed, factors)
    if running is not None:
        return running
    groups = [[f] for f in factors]
    while (pair := _covered(groups)) is not None:
        small, large = pair
        merged = [f for f in factors if f in groups[small] or f in groups[large]]
        if len(merged) != len(groups[small]) + len(groups[large]):  # equal factors: keep both
            merged = groups[large] + groups[small]
        groups = [g for n, g in enumerate(groups) if n not in pair]
        groups.append(merged)
    if len(groups) == 1:
        return _vector_first(summed, groups[0])
    for place, group in enumerate(groups):
        others = frozenset().union(*(_indices(g) for n, g in enumerate(groups) if n != place))
        private = tuple(i for i in summed if i not in others)
        if private:
            body = group[0] if len(group) == 1 else Mul(tuple(group))
            reduced = [f for n, g in enumerate(groups) if n != place for f in g]
            left = tuple(i for i in summed if i in others)
            return group_factors(left, [*reduced, Sum(private, body)])
    first = {f: n for n, f in enumerate(factors)}
    return summed, sorted(groups, key=lambda g: min(first.get(f, 0) for f in g))


def _running_last(summed: Axes, factors: Sequence[Expr]) -> tuple[Axes, list[list[Expr]]] | None:
    """Σ_e 1(e <= d) of what does not depend on d: that first, its running sums afterwards."""
    for f in factors:
        match f:
            case Indicator("<=" | ">=", Index() as left, Index() as right) if left.range is right.range:
                rest = [g for g in factors if g is not f]
                over, to = (left, right) if left in summed else (right, left)
                if over in summed and over in _indices(rest) and to not in _indices(rest) | set(summed):
                    others = tuple(i for i in summed if i is not over)
                    return (over,), [[f], [Sum(others, Mul(tuple(rest)))] if others else rest]
    return None


def _vector_first(summed: Axes, factors: list[Expr]) -> tuple[Axes, list[list[Expr]]]:
    """v_s A_sk is a vector times a matrix: the vector stays an operand of its own.

    Of several summed indices, the one that a vector has is contracted first: x @ A @ y.
    """
    for s in reversed(summed):
        vector = [f for f in factors if free_indices(f) == {s} and not isinstance(f, Indicator)]
        rest = [f for f in factors if free_indices(f) != {s}]
        touched = [f for f in rest if s in free_indices(f)]
        matrix = _indices(touched)
        if not vector or len(matrix) != 2 or not touched:
            continue
        vector = [f for f in factors if free_indices(f) == {s}]
        if len(summed) == 1:
            return summed, [vector, rest]
        others = [f for f in rest if s not in free_indices(f)]
        left = tuple(i for i in summed if i is not s)
        return group_factors(left, [*others, Sum((s,), Mul((*vector, *touched)))])
    return summed, [factors]


def _indices(group: Sequence[Expr]) -> frozenset[Index]:
    return frozenset().union(*map(free_indices, group))


def _covered(groups: list[list[Expr]]) -> tuple[int, int] | None:
    """A group whose indices another group has, and the smallest such other group."""
    sets = [_indices(g) for g in groups]
    for small, own in enumerate(sets):
        larger = [n for n, s in enumerate(sets) if n != small and own <= s]
        if larger:
            return small, min(larger, key=lambda n: len(sets[n]))
    return None


def multiply(summed: Axes, operands: Sequence[Array], order: Axes) -> Array:
    """The sum over `summed` of the product of arrays: a reduction, a matrix product or an einsum."""
    if len(operands) == 1:
        arg = operands[0]
        match arg:
            case Product(False, (left, right), (), axes) if len(axes) == 1 and _vectors(left, right):
                return MatMul(left, right, axes, axes, ())
        return ReduceAxes("sum", summed, arg, tuple(i for i in arg.axes if i not in summed))
    running = _running(summed, operands)
    if running is not None:
        return running
    operands = [Cast(a, a.axes) if kind(a) in ("bool", "int") else a for a in operands]
    free = dict.fromkeys(i for a in operands for i in a.axes if i not in summed)
    axes = tuple(i for i in order if i in free)
    axes += tuple(i for i in free if i not in axes)
    if len(operands) == 2 and len(summed) == 1:
        a, b = operands
        found = _matmul(a, b, summed[0], axes) or _matmul(b, a, summed[0], axes)
        if found is not None:
            return found
    return Einsum(tuple(operands), axes)


def _running(summed: Axes, operands: Sequence[Array]) -> Running | None:
    """Σ_e 1(e <= d) x_e as running sums of x: no matrix of ones below the diagonal, no product with it."""
    if len(operands) != 2 or len(summed) != 1:
        return None
    (over,) = summed
    for mask, arg in (operands, tuple(reversed(operands))):
        match mask:
            case Compare("<=" | ">=" as op, Positions(left), Positions(right)) if over in (left, right):
                to = right if left is over else left
                if to.range is over.range and to not in arg.axes and over in arg.axes:
                    value = Cast(arg, arg.axes) if kind(arg) in ("bool", "int") else arg
                    axes = tuple(to if i is over else i for i in arg.axes)
                    return Running(value, over, to, (op == "<=") is (right is over), axes)
    return None


def _vectors(left: Array, right: Array) -> bool:
    return len(left.axes) == len(right.axes) == 1 and kind(left) == kind(right) == "float"


def _matmul(a: Array, b: Array, s: Index, axes: Axes) -> MatMul | None:
    """a @ b when that gives `axes` in this order and moves at most whole matrices about."""
    batch = tuple(i for i in axes if i in a.axes and i in b.axes)
    rows = tuple(i for i in axes if i in a.axes and i not in b.axes)
    columns = tuple(i for i in axes if i in b.axes and i not in a.axes)
    if batch:
        fits = len(rows) == len(columns) == 1 and axes == (*batch, *rows, *columns)
        return MatMul(a, b, (*batch, *rows, s), (*batch, s, *columns), axes) if fits else None
    if axes != (*rows, *columns) or len(columns) > 1:
        return None
    if len(rows) > 1 and a.axes != (*rows, s):
        return None
    vector = not columns and len(rows) == 1
    if vector and a.axes[-1] != s:  # v @ A instead of A.T @ v
        return MatMul(b, a, (s,), (s, *rows), axes)
    if not rows and columns and b.axes == (*columns, s):  # A @ v instead of v @ A.T
        return MatMul(b, a, (*columns, s), (s,), axes)
    return MatMul(a, b, (*rows, s), (s, *columns), axes)
