"""The order of kernels in a step: what is fused into a product's epilogue, what shares a pass.

Phase one handles observations, so that threads can share them out without waiting for each other:
gathers, products with their epilogues, passes over panels; of large products they share the columns.
Phase two handles parameters: gradient tiles whose epilogue is the update. Between them one factor of every
gradient has been turned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chalkgrad.emit.kernels.parts import (
    Columns,
    Each,
    Gradient,
    Number,
    Operation,
    Operations,
    Product,
    Rows,
    Total,
    reads,
)  # fmt: skip
from chalkgrad.expr.nodes import Range, Tensor

GATHERED = -1
"""The number of the kernel that makes the data."""


@dataclass(frozen=True, slots=True)
class ProductKernel:
    """A matrix product and the lines worked out on its tiles while they are in registers."""

    product: Product
    fused: tuple[Each, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a pass: a loop over `range`, or, where it is None, lines of one number per row."""

    range: Range | None
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class PassKernel:
    """Elementwise lines and reductions over the columns, panel by panel."""

    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class ColumnKernel:
    """Statistics of the batch and lines of one number per column, for columns of one range.

    It reads what all threads have written, so they meet before it and after it.
    """

    range: Range
    operations: tuple[Columns | Each, ...]


Kernel = ProductKernel | PassKernel | ColumnKernel


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything a step does, in order.

    Attributes:
        kernels: Phase one after the gathers.
        turned: The values that are turned, each after the kernel (by number) that makes it; data, which no
            kernel makes, are gathered both ways.
        gradients: Phase two.
        totals: Sums over a parameter's entries, worked out before anything is updated.
        numbers: Scalars that follow from the sums, at the end of a step.
        stored: Values with columns that a later kernel reads from memory.
    """

    kernels: tuple[Kernel, ...]
    turned: tuple[tuple[int, Tensor], ...]
    gradients: tuple[Gradient, ...]
    totals: tuple[Total, ...]
    numbers: tuple[Number, ...]
    stored: frozenset[Tensor]

    def maker(self, t: Tensor) -> int:
        """The number of the kernel that makes a value, or `GATHERED`."""
        return _maker(self.kernels, t)


def _maker(kernels: Iterable[Kernel], t: Tensor) -> int:
    return next((n for n, k in enumerate(kernels) if t in _made(k)), GATHERED)


def schedule(found: Operations, flipped: frozenset[str] = frozenset()) -> Schedule:
    """Order and fuse the operations, the weights of these names lying flipped."""
    gradients = tuple(op for op in found.all if isinstance(op, Gradient))
    numbers = tuple(op for op in found.all if isinstance(op, Number))
    totals = tuple(op for op in found.all if isinstance(op, Total) and op.indices[0].range is not found.batch)
    pending = [op for op in found.all if op not in (*gradients, *numbers, *totals)]
    done = {*found.data, *found.parameters, *found.scalars}
    done |= {half for m in found.masks for half in (m.low, m.high)}
    done |= {op.target for op in totals} | {op.target for op in numbers}
    kernels: list[Kernel] = []
    while pending:
        if isinstance(pending[0], Product):
            kernels.append(_product(pending.pop(0), pending, done))
        elif _by_columns(pending[0], found.batch):
            kernels.append(_columns(pending, done, found.batch))
        else:
            kernels.append(_pass(pending, done, found.batch))
    turned = tuple((_maker(kernels, t), t) for t in dict.fromkeys(_turned(gradients, flipped)))
    return Schedule(tuple(kernels), turned, gradients, totals, numbers, _stored(kernels, gradients))


def _turned(gradients: tuple[Gradient, ...], flipped: frozenset[str]) -> Iterable[Tensor]:
    """What lies in the vectors of a weight's gradient: the factor that has the columns of the weight as it
    lies."""
    for g in gradients:
        factor = g.left if g.parameter.name in flipped else g.right
        if g.left is not None and factor is not None:
            yield factor


def _product(product: Operation, pending: list[Operation], done: set[Tensor]) -> ProductKernel:
    assert isinstance(product, Product)
    fused: list[Each] = []
    inside = {product.target}
    done.add(product.target)
    again = True
    while again:
        again = False
        for op in list(pending):
            fits = isinstance(op, Each) and op.target.axes == product.target.axes
            if fits and reads(op) & inside and reads(op) <= done:
                assert isinstance(op, Each)
                fused.append(op)
                inside.add(op.target)
                done.add(op.target)
                pending.remove(op)
                again = True
    return ProductKernel(product, tuple(fused))


def _by_columns(op: Operation, batch: Range) -> bool:
    """Whether an operation gives one number per column."""
    return isinstance(op, Columns) or (
        isinstance(op, Each) and len(op.indices) == 1 and op.indices[0].range is not batch
    )


def _columns(pending: list[Operation], done: set[Tensor], batch: Range) -> ColumnKernel:
    taken: list[Columns | Each] = []
    shared: Range | None = None
    for op in list(pending):
        if not _by_columns(op, batch) or not reads(op) <= done:
            continue
        assert isinstance(op, Columns | Each)
        shared = shared or op.target.axes[0]
        if op.target.axes[0] is shared:
            taken.append(op)
            pending.remove(op)
            done.add(op.target)
    assert shared is not None, f"nothing can be worked out first among {pending}"
    return ColumnKernel(shared, tuple(taken))


def _pass(pending: list[Operation], done: set[Tensor], batch: Range) -> PassKernel:
    """All lines that are ready, in as few loops as their reductions allow."""
    segments: list[Segment] = []
    others = [op for op in pending if isinstance(op, Product) or _by_columns(op, batch)]
    own = [op for op in pending if op not in others]
    order = list(pending)
    while True:
        segment = _row_segment(own, done) or _loop_segment(own, done)
        if segment is None:
            break
        segments.append(segment)
    pending[:] = [op for op in order if op in others or op in own]
    assert segments, f"nothing can be worked out first among {pending}"
    return PassKernel(tuple(segments))


def _row_segment(pending: list[Operation], done: set[Tensor]) -> Segment | None:
    taken: list[Operation] = []
    for op in list(pending):
        if _range(op) is None and reads(op) <= done:
            taken.append(op)
            pending.remove(op)
            done.add(op.target)  # type: ignore[union-attr]
    return Segment(None, tuple(taken)) if taken else None


def _loop_segment(pending: list[Operation], done: set[Tensor]) -> Segment | None:
    first = next((op for op in pending if reads(op) <= done), None)
    if first is None:
        return None
    shared, taken, inside = _range(first), [], set(done)
    for op in list(pending):
        if _range(op) is shared and reads(op) <= inside:
            taken.append(op)
            pending.remove(op)
            done.add(op.target)  # type: ignore[union-attr]
            if isinstance(op, Each):
                # A reduction is known only after the loop; an elementwise value already inside it.
                inside.add(op.target)
    return Segment(shared, tuple(taken))


def _range(op: Operation) -> Range | None:
    if isinstance(op, Rows):
        return op.index.range
    if isinstance(op, Each) and len(op.indices) == 2:
        return op.indices[1].range
    return None


def _made(kernel: Kernel) -> set[Tensor]:
    if isinstance(kernel, ProductKernel):
        return {kernel.product.target, *(e.target for e in kernel.fused)}
    if isinstance(kernel, ColumnKernel):
        return {op.target for op in kernel.operations}
    return {op.target for s in kernel.segments for op in s.operations}  # type: ignore[union-attr]


def _stored(kernels: list[Kernel], gradients: tuple[Gradient, ...]) -> frozenset[Tensor]:
    read: set[Tensor] = set()
    for g in gradients:
        read |= {t for t in (g.left, g.right) if t is not None}
    for kernel in kernels:
        if isinstance(kernel, ProductKernel):
            inside = _made(kernel)
            read |= {kernel.product.left}
            read |= {t for e in kernel.fused for t in reads(e)} - inside
            continue
        if isinstance(kernel, ColumnKernel):
            read |= {t for op in kernel.operations for t in reads(op)}
            continue
        for segment in kernel.segments:
            here = {op.target for op in segment.operations if isinstance(op, Each)}
            read |= {t for op in segment.operations for t in reads(op)} - here
    return frozenset(t for t in read if len(t.axes) == 2 and t.role != "input")
