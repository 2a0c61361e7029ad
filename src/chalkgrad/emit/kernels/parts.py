"""What a step is made of: six operations, and what all of them together need.

Which formula becomes which operation is found in `recognise`.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Range,
    Tensor,
)
from chalkgrad.expr.ops import tensors_in


@dataclass(frozen=True, slots=True)
class Product:
    """target[i,h] = Σ_k left[i,k] · weight[k,h], or weight[h,k] when `backward`."""

    target: Tensor
    left: Tensor
    weight: Tensor
    backward: bool


@dataclass(frozen=True, slots=True)
class Each:
    """target[i,h], target[i] or target[h] = body: elementwise, over `indices`."""

    target: Tensor
    indices: tuple[Index, ...]
    body: Expr


@dataclass(frozen=True, slots=True)
class Rows:
    """target[i] = op over `index` of body(i, index); op is "sum", "max" or "min"."""

    target: Tensor
    observation: Index
    index: Index
    op: str
    body: Expr


@dataclass(frozen=True, slots=True)
class Columns:
    """target[h] = Σ over `observation` of body(observation, h): a statistic of the batch."""

    target: Tensor
    observation: Index
    index: Index
    body: Expr


@dataclass(frozen=True, slots=True)
class Gradient:
    """The gradient of one parameter: `body` around sums over the observations.

    For a weight[d,h] the sum Σ_i left[i,d] right[i,h] is the access of `total`; for a vector[h] it is
    Σ_i right[i,h] and `left` is None. `right` is None where the body has no such sum, as for a bias in
    front of batch norm.
    """

    parameter: Tensor
    indices: tuple[Index, ...]
    body: Expr
    total: Access
    left: Tensor | None
    right: Tensor | None


@dataclass(frozen=True, slots=True)
class Total:
    """A number: Σ of body(i) or body(i,k) over all observations, or over a parameter's entries."""

    target: Tensor
    indices: tuple[Index, ...]
    body: Expr


@dataclass(frozen=True, slots=True)
class Number:
    """A number from other numbers."""

    target: Tensor
    body: Expr


UNIFORM = "drawn uniform"
"""The function of (lower half of the key, upper half, row, column): see `chalkgrad.emit.draws`."""


@dataclass(frozen=True, slots=True)
class Mask:
    """An input that is drawn anew each step: 1 with probability `keep`, else 0.

    Attributes:
        mask: mask[i,h].
        low, high: The halves of the step's key for it, two numbers.
    """

    mask: Tensor
    keep: float
    low: Tensor
    high: Tensor

    def at(self, row: Expr, column: Expr) -> Expr:
        """An entry, as a formula."""
        drawn = Apply(UNIFORM, (Access(self.low, ()), Access(self.high, ()), row, column))
        return Indicator("<", drawn, Const(Fraction(self.keep)))


Operation = Product | Each | Rows | Columns | Gradient | Total | Number


@dataclass(frozen=True, slots=True)
class Operations:
    """What a step computes before it updates anything.

    Attributes:
        batch: The range of the observations.
        data: The inputs that come in rows, in order.
        parameters: The inputs that are trained, in order.
        scalars: The keyword parameters.
        masks: The inputs that are drawn, in order.
        loss: The number that is reported.
        all: The operations, each after what it reads.
    """

    batch: Range
    data: tuple[Tensor, ...]
    parameters: tuple[Tensor, ...]
    scalars: tuple[Tensor, ...]
    masks: tuple[Mask, ...]
    loss: Tensor
    all: tuple[Operation, ...]


def reads(op: Operation) -> frozenset[Tensor]:
    """The tensors that an operation reads."""
    match op:
        case Product(_, left, weight, _):
            return frozenset((left, weight))
        case Gradient(_, _, body, total, left, right):
            return (
                (tensors_in(body) - {total.tensor})
                | ({right} if right else set())
                | ({left} if left else set())
            )
        case Each(body=body) | Rows(body=body) | Columns(body=body) | Total(body=body) | Number(body=body):
            return tensors_in(body)
