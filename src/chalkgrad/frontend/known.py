"""What a reader of formula text knows of each tensor, and the exchange of placeholders for what they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from chalkgrad.expr.nodes import Access, Expr, Index, Opaque, Range, Reduce, Size, Sum, Tensor
from chalkgrad.expr.ops import children, rebuild
from chalkgrad.expr.syntax import (
    Binder,
    Call,
    Condition,
    Derivative,
    Entry,
    Factors,
    MatrixFunction,
    Negative,
    Power,
    Syntax,
    Terms,
)
from chalkgrad.frontend.inference import Slot

DTYPES = ("float", "int", "bool")
NOT_AXES = (
    "boolean", "complex", "complex64", "complex128", "double", "float16", "float32", "float64",
    "int32", "int64", "integer", "long", "str",
)  # fmt: skip
"""Words that are never meant as the name of an axis."""


@dataclass(eq=False, slots=True)
class Known:
    """What is known about one tensor of the text; `default` is a parameter's value, and a parameter is
    `static` once it has stood in an index or a size, where its value is part of the formula."""

    name: str
    axes: tuple[Slot, ...]
    first: Syntax
    adjoint: bool = False
    defined: bool = False
    dtype: str = "float"
    default: float | None = None
    static: bool = False

    @property
    def role(self) -> str:
        if self.default is not None:
            return "parameter"
        return "adjoint" if self.adjoint else "value" if self.defined else "input"

    @property
    def placeholder(self) -> Tensor:
        """The tensor that stands for this one until ranges and types are known."""
        axes = tuple(Range(f"?{slot.number}") for slot in self.axes)
        return Tensor(self.name, axes, "float", self.role)


@dataclass(slots=True)
class Retyping:
    """Placeholders replaced by what they turned out to be."""

    ranges: Mapping[Range, Range]
    tensors: Mapping[Tensor, Tensor]
    done: dict[Expr, Expr] = field(default_factory=dict)

    def index(self, index: Index) -> Index:
        return Index(index.name, self.ranges.get(index.range, index.range))

    def __call__(self, e: Expr) -> Expr:
        if e not in self.done:
            self.done[e] = self._retype(e)
        return self.done[e]

    def _retype(self, e: Expr) -> Expr:
        match e:
            case Index():
                return self.index(e)
            case Size(of):
                return Size(self.ranges.get(of, of))
            case Access(tensor, indices):
                return Access(self.tensors.get(tensor, tensor), tuple(map(self, indices)))
            case Sum(indices, body):
                return Sum(tuple(map(self.index, indices)), self(body))
            case Reduce(op, indices, body):
                return Reduce(op, tuple(map(self.index, indices)), self(body))
            case Opaque(fn, indices, body, at):
                return Opaque(fn, tuple(map(self.index, indices)), self(body), tuple(map(self, at)))
        kids = children(e)
        return rebuild(e, tuple(map(self, kids))) if kids else e


def parts(tree: Syntax) -> tuple[Syntax, ...]:
    """The direct parts of a syntax tree, bound names excluded."""
    match tree:
        case Entry(_, _, _, indices):
            return indices
        case Call(_, _, _, args):
            return args
        case Binder(_, _, _, _, body):
            return (body,)
        case MatrixFunction(_, _, _, _, body, at):
            return (body, *at)
        case Condition(_, _, _, left, right) | Power(_, _, left, right) | Derivative(_, _, left, right):
            return (left, right)
        case Terms(_, _, items) | Factors(_, _, items):
            return tuple(part for _, part in items)
        case Negative(_, _, operand):
            return (operand,)
    return ()


def map_parts(tree: Syntax, f: Callable[[Syntax], Syntax]) -> Syntax:
    """The tree with `f` applied to each of its direct parts."""
    match tree:
        case Entry(_, _, _, indices):
            return replace(tree, indices=tuple(map(f, indices)))
        case Call(_, _, _, args):
            return replace(tree, args=tuple(map(f, args)))
        case Binder(_, _, _, _, body):
            return replace(tree, body=f(body))
        case MatrixFunction(_, _, _, _, body, at):
            return replace(tree, body=f(body), at=tuple(map(f, at)))
        case Condition(_, _, _, left, right):
            return replace(tree, left=f(left), right=f(right))
        case Power(_, _, base, exponent):
            return replace(tree, base=f(base), exponent=f(exponent))
        case Derivative(_, _, body, wrt):
            return replace(tree, body=f(body), wrt=f(wrt))
        case Terms(_, _, items):
            return replace(tree, terms=tuple((minus, f(part)) for minus, part in items))
        case Factors(_, _, items):
            return replace(tree, factors=tuple((divides, f(part)) for divides, part in items))
        case Negative(_, _, operand):
            return replace(tree, operand=f(operand))
    return tree
