"""What emitted code costs: floating-point operations and passes over memory, symbolic in the sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chalkgrad.emit.arrays import (
    Accumulate,
    AddAt,
    Array,
    Axes,
    Call,
    Einsum,
    Gather,
    Load,
    Loop,
    MatMul,
    MatrixFunction,
    Number,
    Positions,
    Power,
    Product,
    ReduceAxes,
    Running,
    Scale,
    SizeOf,
    Stack,
    Statement,
    Terms,
    Window,
    Zeros,
    arrays_of,
    parts,
)
from chalkgrad.emit.statements import statements
from chalkgrad.expr.cost import COST_SIZE, function_cost
from chalkgrad.expr.linear import derived_sizes
from chalkgrad.expr.nodes import Definition, Expr, Index, Range

Monomial = tuple[str, ...]
"""Names of ranges, sorted, one per factor: ("D", "K", "N") is D·K·N."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Polynomials in the sizes, as (sizes multiplied, coefficient) pairs.

    Attributes:
        flops: Floating-point operations; a function counts as `chalkgrad.expr.cost.function_cost` says.
        traffic: Array elements read and written; NumPy makes one pass per operation.

    Example:
        x @ W costs ((("D", "K", "N"), 2.0),) operations.
    """

    flops: tuple[tuple[Monomial, float], ...]
    traffic: tuple[tuple[Monomial, float], ...]

    @property
    def nominal_flops(self) -> float:
        """Operations with every symbolic size taken as `COST_SIZE`."""
        return _nominal(self.flops)

    @property
    def nominal_traffic(self) -> float:
        """Elements moved with every symbolic size taken as `COST_SIZE`."""
        return _nominal(self.traffic)

    def __str__(self) -> str:
        return " + ".join("·".join((f"{c:g}", *m)) for m, c in self.flops) or "0"


def cost(definitions: Sequence[Definition], sizes: tuple[tuple[Range, Expr], ...] = ()) -> Cost:
    """The cost of computing the definitions one after another.

    Raises:
        UnsupportedError: When a construct has no array code.
    """
    with derived_sizes(sizes):
        return total(s for d in definitions for s in statements(d))


def total(all_statements: Iterable[Statement]) -> Cost:
    """The cost of running the statements one after another."""
    flops: Counter[Monomial] = Counter()
    traffic: Counter[Monomial] = Counter()
    for s in all_statements:
        _statement(s, flops, traffic)
    return Cost(_sorted(flops), _sorted(traffic))


def _statement(s: Statement, flops: Counter[Monomial], traffic: Counter[Monomial]) -> None:
    if isinstance(s, Loop):
        once = total([AddAt(s.target, (), s.axes, (), s.value, True, s.replace)])
        times = tuple(Index(c.tensor.name, c.tensor.axes[0]) for c in s.counters)
        for counter, polynomial in ((flops, once.flops), (traffic, once.traffic)):
            for monomial, coefficient in polynomial:
                axes = tuple(Index(name, Range(name)) for name in monomial)
                _count(counter, (*axes, *times), coefficient)
        return
    for a in arrays_of(s):
        _array(a, flops, traffic)
    match s:
        case Zeros(_, axes):
            _count(traffic, axes, 1)
        case Scale(_, _, axes):
            _count(flops, axes, 1)
            _count(traffic, axes, 2)
        case Accumulate(_, _, axes):
            _count(flops, axes, 1)
            _count(traffic, axes, 3)
        case AddAt(_, _, shared, trailing, _, _, replaces):
            _count(flops, (*shared, *trailing), 0 if replaces else 1)
            _count(traffic, (*shared, *trailing), 2 if replaces else 3)


def _array(a: Array, flops: Counter[Monomial], traffic: Counter[Monomial]) -> None:
    """Each node reads its arguments and writes itself; names, numbers and views are free."""
    for part in parts(a):
        _array(part, flops, traffic)
        if not isinstance(a, Terms | Product):
            _count(traffic, part.axes, 1)
    if isinstance(a, Number | SizeOf | Load | Window):
        return
    passes = 1
    match a:
        case Terms(terms, _):
            passes = len(terms) - 1
            _count(flops, a.axes, passes)
        case Product():
            passes = 0
            for axes in _multiplications(a):
                _count(flops, axes, 1)
                _count(traffic, axes, 2)
        case MatrixFunction(_, arg, arg_axes, _):
            _count(flops, (*arg.axes, arg_axes[-1]), 2)
        case Call(fn, _, _):
            _count(flops, a.axes, function_cost(fn))
        case Power():
            _count(flops, a.axes, 1)
        case ReduceAxes(_, _, arg, _) | Running(arg, _, _, _, _):
            _count(flops, arg.axes, 1)
        case MatMul(left, right, _, _, _):
            _count(flops, _union((left, right)), 2)
        case Einsum(operands, _):
            _count(flops, _union(operands), len(operands))
        case Gather() | Positions() | Stack():
            pass
    if isinstance(a, Terms | Product):
        _count(traffic, a.axes, 2 * passes)  # each operation also reads one argument
    _count(traffic, a.axes, 1)


def _multiplications(a: Product) -> list[Axes]:
    """What each operation of a product runs over, from left to right: dL * w * t[:, None] scales w first."""
    made: list[Axes] = []
    for factors in (a.above, a.below):
        for n in range(2, len(factors) + 1):
            made.append(_union(factors[:n]))
    if a.below or not made:
        made.append(a.axes)  # the division, or the sign alone
    return made


def _union(arrays: Iterable[Array]) -> Axes:
    return tuple(dict.fromkeys(i for a in arrays for i in a.axes))


def _count(counter: Counter[Monomial], axes: Axes, times: float) -> None:
    fixed, names = times, []
    for i in axes:
        if i.range.size is None:
            names.append(i.range.name)
        else:
            fixed *= i.range.size
    counter[tuple(sorted(names))] += fixed  # type: ignore[assignment]


def _sorted(counter: Counter[Monomial]) -> tuple[tuple[Monomial, float], ...]:
    """Highest degree first, then by name."""
    return tuple(sorted(((m, float(c)) for m, c in counter.items() if c), key=lambda p: (-len(p[0]), p[0])))


def _nominal(polynomial: Iterable[tuple[Monomial, float]]) -> float:
    return sum(c * COST_SIZE ** len(m) for m, c in polynomial)
