"""The array language that a plan is written in: whole arrays with named axes.

    a  ::=  number | |R| | t | arange(i) | t[a, ...] | window(t) | a + ... | a * ... / ... | a ^ a
         |  fn(a, ...) | a op a | float(a) | sum/max/min/prod over i of a | a @ a | einsum(a, ...)
         |  spread(a) | stack(a, ...) | cumsum(a) | inv(a) | det(a) | logdet(a)

Every node knows its axes: a tuple of distinct indices, outermost first. Where arguments of one node
have other axes than the node, the printer transposes and inserts axes of length one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from chalkgrad.expr.nodes import Access, Expr, Index, Range, Tensor

Axes = tuple[Index, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """An exact constant; a float stands for an infinity."""

    value: Fraction | float
    axes: Axes = ()


@dataclass(frozen=True, slots=True)
class SizeOf:
    """How many values an index over the range takes."""

    range: Range
    axes: Axes = ()


@dataclass(frozen=True, slots=True)
class Load:
    """A whole named array."""

    tensor: Tensor
    axes: Axes


@dataclass(frozen=True, slots=True)
class Positions:
    """0, 1, ..., N - 1 along one axis."""

    index: Index
    axes: Axes


@dataclass(frozen=True, slots=True)
class Gather:
    """t[s1, ..., sn]: integer arrays as subscripts, None for a whole axis.

    `shared` are the axes that the integer arrays broadcast to.
    """

    tensor: Tensor
    subscripts: tuple[Array | None, ...]
    shared: Axes
    axes: Axes


@dataclass(frozen=True, slots=True)
class Slot:
    """One axis of a `Window`: places start + step · outer + dilation · inner.

    `start` is a linear form without indices. With neither index the axis is gone; with `outer` alone
    it is a slice. `low` and `high` zeros stand before and after the axis: a linear form where it is
    known only when the sizes are, of which the positive part counts.
    """

    axis: Range
    start: tuple[tuple[Expr | None, int], ...]
    outer: Index | None = None
    step: int = 1
    inner: Index | None = None
    dilation: int = 1
    low: int = 0
    high: tuple[tuple[Expr | None, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """t at affine subscripts, `fill` outside of t: slices, and windows whose axes come last."""

    tensor: Tensor
    slots: tuple[Slot, ...]
    axes: Axes
    fill: Fraction | float = Fraction(0)


@dataclass(frozen=True, slots=True)
class Clamp:
    """Subscripts moved to the nearest place of an axis."""

    arg: Array
    range: Range
    axes: Axes


@dataclass(frozen=True, slots=True)
class MatrixFunction:
    """The inverse, determinant or log |det| of a square matrix, along the argument's last two axes."""

    fn: str
    arg: Array
    arg_axes: Axes
    axes: Axes


@dataclass(frozen=True, slots=True)
class Terms:
    """a + b - c ...: pairs of (is subtracted, term)."""

    terms: tuple[tuple[bool, Array], ...]
    axes: Axes


@dataclass(frozen=True, slots=True)
class Product:
    """± a * b ... / (c * d ...)."""

    negative: bool
    above: tuple[Array, ...]
    below: tuple[Array, ...]
    axes: Axes


@dataclass(frozen=True, slots=True)
class Power:
    """base ^ exponent; a negative constant exponent never occurs (see Product)."""

    base: Array
    exponent: Array
    axes: Axes


@dataclass(frozen=True, slots=True)
class Call:
    """An elementwise function of the primitives table."""

    fn: str
    args: tuple[Array, ...]
    axes: Axes


@dataclass(frozen=True, slots=True)
class Compare:
    """left op right, a boolean array."""

    op: str
    left: Array
    right: Array
    axes: Axes


@dataclass(frozen=True, slots=True)
class Cast:
    """Integers or booleans as floating-point numbers of the computation's own precision."""

    arg: Array
    axes: Axes


@dataclass(frozen=True, slots=True)
class ReduceAxes:
    """Σ, max, min or prod over some axes of `arg`."""

    op: str
    over: Axes
    arg: Array
    axes: Axes


@dataclass(frozen=True, slots=True)
class MatMul:
    """left @ right, each laid out along the given axes first."""

    left: Array
    right: Array
    left_axes: Axes
    right_axes: Axes
    axes: Axes


@dataclass(frozen=True, slots=True)
class Einsum:
    """The product of the operands, summed over every index that is not in `axes`."""

    operands: tuple[Array, ...]
    axes: Axes


@dataclass(frozen=True, slots=True)
class Running:
    """Σ over `over` of 1(over <= to) arg: the sums up to each place, or from it on (`backwards`)."""

    arg: Array
    over: Index
    to: Index
    backwards: bool
    axes: Axes


@dataclass(frozen=True, slots=True)
class Spread:
    """The argument repeated along axes that it does not have."""

    arg: Array
    axes: Axes


@dataclass(frozen=True, slots=True)
class Stack:
    """The operands side by side along a new axis `index`: operand n is its place n.

    Each operand has all of `axes` but that one.
    """

    operands: tuple[Array, ...]
    index: Index
    axes: Axes


Array = (
    Number | SizeOf | Load | Positions | Gather | Terms | Product | Power | Call | Compare | Cast
    | ReduceAxes | MatMul | Einsum | Spread | Window | Clamp | MatrixFunction
    | Stack | Running
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Assign:
    """name = value along `axes`; `own` asks for memory that nothing else refers to."""

    target: Tensor
    axes: Axes
    value: Array
    own: bool = False


@dataclass(frozen=True, slots=True)
class Zeros:
    """name = zeros of the given axes, wider where a slot of `frame` asks for places outside."""

    target: Tensor
    axes: Axes
    frame: tuple[Slot, ...] = ()


@dataclass(frozen=True, slots=True)
class AddAt:
    """name[s1, ..., sm] += value (or -=, or = when `replace`), the remaining axes whole.

    `unique` says that no place is hit twice, so a plain indexed update is right.
    """

    target: Tensor
    subscripts: tuple[Array, ...]
    shared: Axes
    trailing: Axes
    value: Array
    unique: bool
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """name *= value (or /= where the value is one over something)."""

    target: Tensor
    value: Array
    axes: Axes


@dataclass(frozen=True, slots=True)
class Loop:
    """for counter in range(...): name[slices] += value (or = when `replace`), one loop per counter.

    `at_once` is the same as one indexed update, for backends that do not change arrays in place.
    """

    target: Tensor
    counters: tuple[Access, ...]
    slots: tuple[Slot, ...]
    value: Array
    axes: Axes
    at_once: AddAt
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Crop:
    """name = the places of name that its axes have, the frame cut off."""

    target: Tensor
    axes: Axes
    frame: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Accumulate:
    """name += value."""

    target: Tensor
    value: Array
    axes: Axes


Statement = Assign | Zeros | AddAt | Scale | Loop | Crop | Accumulate


def parts(a: Array) -> tuple[Array, ...]:
    """The direct arguments of a node."""
    match a:
        case Gather(subscripts=subscripts):
            return tuple(s for s in subscripts if s is not None)
        case Terms(terms, _):
            return tuple(t for _, t in terms)
        case Product(_, above, below, _):
            return above + below
        case Power(base, exponent, _):
            return (base, exponent)
        case Call(_, args, _):
            return args
        case Compare(_, left, right, _) | MatMul(left, right, _, _, _):
            return (left, right)
        case Cast(arg, _) | Spread(arg, _) | ReduceAxes(_, _, arg, _) | Clamp(arg, _, _):
            return (arg,)
        case Running(arg, _, _, _, _):
            return (arg,)
        case MatrixFunction(_, arg, _, _):
            return (arg,)
        case Einsum(operands, _) | Stack(operands, _, _):
            return operands
    return ()


def every_part(a: Array) -> Iterator[Array]:
    """The node and everything inside it."""
    yield a
    for part in parts(a):
        yield from every_part(part)


def arrays_of(s: Statement) -> tuple[Array, ...]:
    """The arrays that a statement evaluates."""
    match s:
        case Assign(_, _, value, _) | Scale(_, value, _) | Accumulate(_, value, _):
            return (value,)
        case AddAt(_, subscripts, _, _, value, _, _):
            return (*subscripts, value)
        case Loop(_, _, _, value, _, _, _):
            return (value,)
    return ()


def kind(a: Array) -> str:
    """ "host" (a Python number), "bool", "int", or "float" (an array of the computation's precision)."""
    match a:
        case Number() | SizeOf():
            return "host"
        case Load(tensor, axes):
            # The derivative by a scalar is given as a Python number, so it has no precision of its own.
            scalar = tensor.role in ("parameter", "counter") or (tensor.role == "adjoint" and not axes)
            return "host" if scalar else tensor.dtype
        case Gather(tensor=tensor) | Window(tensor=tensor):
            return tensor.dtype
        case Positions():
            return "int"
        case Clamp(arg):
            return kind(arg)
        case Compare(_, left, right, _):
            return "host" if kind(left) == kind(right) == "host" else "bool"
        case Cast(_, axes):
            return "float" if axes else "host"
        case ReduceAxes(op, _, arg, _):
            inner = kind(arg)
            return "int" if inner == "bool" and op in ("sum", "prod") else inner
        case Spread(arg, _):
            return kind(arg)
        case MatMul() | Einsum() | MatrixFunction() | Stack() | Running():
            return "float"
        case Call("where", (_, one, other), _) if not one.axes and not other.axes:
            return "int"  # two Python numbers make an array of doubles: cast it like integers
    kinds = {kind(p) for p in parts(a)}
    if kinds <= {"host"}:
        return "host"
    if "float" in kinds or isinstance(a, Call | Power):
        return "float"
    return "bool" if kinds == {"bool"} and isinstance(a, Product) else "int"
