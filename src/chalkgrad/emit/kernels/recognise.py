"""From index notation to operations: which line is a matrix product, which is elementwise, which reduces.

Every definition of the forward and the backward becomes one or more of six operations. A line such as
`df[i,h] = 1(a[i,h] > 0) * sum(k, W[h,k] * g[i,k])` is split: the sum becomes a `Product` into a value of
its own, and the line an `Each` that reads it. What fits none of the six is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chalkgrad.derivation import Backward
from chalkgrad.emit.guarded import guarded
from chalkgrad.emit.kernels.inputs import split_inputs
from chalkgrad.emit.kernels.parts import (
    Columns,
    Each,
    Gradient,
    Mask,
    Number,
    Operation,
    Operations,
    Product,
    Rows,
    Total,
    reads,
)
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import (
    ONE,
    ZERO,
    Access,
    Apply,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Program,
    Range,
    Reduce,
    Sum,
    Tensor,
)  # fmt: skip
from chalkgrad.expr.ops import (
    children,
    free_indices,
    map_children,
    replace_access,
    substitute,
    tensors_in,
    walk,
)


def operations(program: Program, backward: Backward, masks: Mapping[str, float] | None = None) -> Operations:
    """The operations of a loss and its gradients.

    Args:
        masks: Inputs that are drawn each step, and the probability of 1, by name.

    Raises:
        UnsupportedError: When a line is none of them.
    """
    masks = masks or {}
    batch, data, parameters = split_inputs(program, tuple(t.name for t in backward.wanted), masks)
    loss = program.outputs[0]
    drawn = tuple(_mask(t, masks[t.name], batch) for t in program.inputs if t.name in masks)
    scalars = tuple(t for t, _ in program.parameters)
    reader = _Reader(batch, loss.adjoint, {t.adjoint: t for t in parameters}, scalars, drawn)
    program, derivatives = guarded(program, backward.definitions)
    for definition in (*program.definitions, *derivatives):
        reader.read(definition)
    return Operations(batch, data, parameters, scalars, drawn, loss, _live(reader.found, loss))


def forward_operations(program: Program, rows: str) -> Operations:
    """The operations of a forward pass alone; its output stands in the place of the loss.

    Args:
        rows: The input that comes in rows; the others are parameters.

    Raises:
        UnsupportedError: When a line is none of them, or there is not one output with a row per row.
    """
    (data,) = (t for t in program.inputs if t.name == rows)
    parameters = tuple(t for t in program.inputs if t is not data)
    out = program.outputs[0]
    if len(program.outputs) != 1 or program.sizes or len(data.axes) != 2 or out.axes[:1] != data.axes[:1]:
        raise _refusal(f"a forward pass from {rows} to {', '.join(t.name for t in program.outputs)}")
    reader = _Reader(data.axes[0], out.adjoint, {t.adjoint: t for t in parameters}, (), ())
    for definition in program.definitions:
        reader.read(definition)
    return Operations(data.axes[0], (data,), parameters, (), (), out, _live(reader.found, out))


def _mask(t: Tensor, keep: float, batch: Range) -> Mask:
    if len(t.axes) != 2 or t.axes[0] is not batch:
        raise _refusal(f"{t.name}, a random mask that is no matrix with a row per observation")
    low, high = (Tensor(f"{half} half of the key of {t.name}", (), "float", "key") for half in HALVES)
    return Mask(t, keep, low, high)


HALVES = ("lower", "upper")


def _live(found: list[Operation], loss: Tensor) -> tuple[Operation, ...]:
    """Without what neither the loss nor a gradient needs, such as the probabilities of a regression."""
    needed, kept = {loss}, []
    for op in reversed(found):
        if isinstance(op, Gradient) or op.target in needed:
            kept.append(op)
            needed |= reads(op)
    return tuple(reversed(kept))


class _Reader:
    """Reads definitions in order and writes operations."""

    def __init__(
        self, batch: Range, upstream: Tensor, gradients: dict[Tensor, Tensor], scalars: Iterable[Tensor],
        masks: Iterable[Mask],
    ) -> None:  # fmt: skip
        self.batch, self.upstream, self.gradients = batch, upstream, gradients
        self.scalars = frozenset(scalars)
        self.masks = {m.mask: m for m in masks}
        self.constants: dict[Tensor, Expr] = {}
        self.parameters = frozenset(gradients.values())
        self.found: list[Operation] = []
        self.shared: dict[tuple[str, Expr], Tensor] = {}

    def read(self, definition: Definition) -> None:
        target, indices = definition.target, definition.indices
        if target is self.upstream:
            return
        # The loss is the end of the graph, so the derivative by itself is one.
        body = _plain(_with_unit(definition.body, self.upstream))
        for t, constant in self.constants.items():
            body = replace_access(body, t, lambda _, constant=constant: constant)  # type: ignore[misc]
        for mask in self.masks.values():
            body = replace_access(body, mask.mask, lambda at, m=mask: m.at(*at))  # type: ignore[misc]
        if target in self.gradients:
            self._gradient(self.gradients[target], indices, body)
        elif not indices and target.adjoint is not self.upstream and self._is_constant(body):
            # A number that follows from the scalars alone, such as 1/(1 − p): known before the step.
            self.constants[target] = body
        elif not indices:
            self.found.append(Number(target, self._split(body, ())))
        elif len(indices) == 1 or (indices[0].range is self.batch and len(indices) == 2):
            self.found.append(Each(target, indices, self._split(body, indices)))
        else:
            raise _refusal(str(definition))

    def _is_constant(self, body: Expr) -> bool:
        """Whether a number follows from the scalars of the step alone."""
        return tensors_in(body) <= self.scalars and not any(isinstance(e, Sum | Reduce) for e in walk(body))

    def _split(self, body: Expr, indices: tuple[Index, ...]) -> Expr:
        """The body with every sum and reduction replaced by a value of its own."""
        if isinstance(body, Sum | Reduce):
            return self._reduction(body, indices)
        if isinstance(body, Access) and any(not isinstance(i, Index) for i in body.indices):
            return self._gather(body, indices)
        return map_children(body, lambda child: self._split(child, indices))

    def _gather(self, body: Access, indices: tuple[Index, ...]) -> Expr:
        """t[i, y[i]] as Σ_k where(k == y[i], t[i,k], 0): every lane picks its own entry."""
        if len(body.indices) != 2:
            raise _refusal(str(body))
        row, at = body.indices
        if not isinstance(row, Index):
            raise _refusal(str(body))
        k = Index("pick", body.tensor.axes[1])
        picked = Apply("where", (Indicator("==", k, at), Access(body.tensor, (row, k)), ZERO))
        return self._rows(row, k, "sum", picked)

    def _reduction(self, e: Sum | Reduce, indices: tuple[Index, ...]) -> Expr:
        op = "sum" if isinstance(e, Sum) else e.op
        free = sorted(free_indices(e), key=lambda i: i not in indices[:1])
        if not free and op == "sum":
            return self._total(e.indices, e.body)
        if op == "sum" and len(free) == 1 and [i.range for i in e.indices] == [self.batch]:
            return self._columns(e.indices[0], free[0], e.body)
        if free and free[0].range is self.batch and len(e.indices) == 1 and op in ("sum", "max", "min"):
            if len(free) == 1:
                return self._rows(free[0], e.indices[0], op, e.body)
            if isinstance(e, Sum) and len(free) == 2:
                return self._product(e, free[0], free[1])
        raise _refusal(str(e))

    def _total(self, indices: tuple[Index, ...], body: Expr) -> Expr:
        observed = tuple(i for i in indices if i.range is self.batch)
        if len(observed) > 1 or (observed and len(indices) > 2):
            raise _refusal(str(Sum(indices, body)))
        order = (*observed, *(i for i in indices if i not in observed))
        inner = self._split(body, order) if observed else body
        target = self._name("total", ())
        if len(observed) == 1 and len(order) == 2:
            # Σ_i Σ_k is a sum over the classes of every row, then over the rows.
            row = self._rows(order[0], order[1], "sum", inner)
            self.found.append(Total(target, observed, row))
        else:
            self.found.append(Total(target, order, inner))
        return Access(target, ())

    def _rows(self, row: Index, index: Index, op: str, body: Expr) -> Expr:
        inner = self._split(body, (row, index))
        key = (op, substitute(inner, {index: Index("any", index.range), row: Index("row", row.range)}))
        if key not in self.shared:
            self.shared[key] = self._name("row", (self.batch,))
            self.found.append(Rows(self.shared[key], row, index, op, inner))
        return Access(self.shared[key], (row,))

    def _columns(self, observation: Index, index: Index, body: Expr) -> Expr:
        inner = self._split(body, (observation, index))
        one, other = Index("row", observation.range), Index("any", index.range)
        key = ("columns", substitute(inner, {observation: one, index: other}))
        if key not in self.shared:
            self.shared[key] = self._name("columns", (index.range,))
            self.found.append(Columns(self.shared[key], observation, index, inner))
        return Access(self.shared[key], (index,))

    def _product(self, e: Sum, row: Index, column: Index) -> Expr:
        """Σ_k left[i,k] weight, with factors that do not depend on k outside."""
        (k,) = e.indices
        factors = e.body.factors if isinstance(e.body, Mul) else (e.body,)
        outside = [f for f in factors if k not in free_indices(f)]
        inside = [f for f in factors if k in free_indices(f)]
        weights = [f for f in inside if isinstance(f, Access) and set(f.indices) == {k, column}]
        if len(weights) != 1 or weights[0].tensor not in self.parameters:
            raise _refusal(str(e))
        (v,) = weights
        inside.remove(v)
        left = self._value(inside, (row, k))
        target = self._name("product", (self.batch, column.range))
        self.found.append(Product(target, left, v.tensor, v.indices == (column, k)))
        whole: Expr = Access(target, (row, column))
        return Mul((*(self._split(f, (row, column)) for f in outside), whole)) if outside else whole

    def _gradient(self, parameter: Tensor, indices: tuple[Index, ...], body: Expr) -> None:
        sums = list(_sums(body))
        if not sums and len(indices) == 1:
            access = Access(self._name("sum", parameter.axes), indices)
            self.found.append(Gradient(parameter, indices, body, access, None, None))
            return
        if len(sums) != 1 or len(sums[0].indices) != 1 or sums[0].indices[0].range is not self.batch:
            raise _refusal(f"the gradient by {parameter.name}, {body}")
        (total,) = sums
        (i,) = total.indices
        factors = total.body.factors if isinstance(total.body, Mul) else (total.body,)
        column = indices[-1]
        outside = tuple(f for f in factors if not free_indices(f))
        inside = [f for f in factors if free_indices(f)]
        left: Tensor | None = None
        if len(indices) == 2:
            lefts = [f for f in inside if free_indices(f) <= {i, indices[0]} and isinstance(f, Access)]
            if len(lefts) != 1 or lefts[0].indices != (i, indices[0]):
                raise _refusal(f"the gradient by {parameter.name}, {body}")
            left = lefts[0].tensor
            inside.remove(lefts[0])
        right = self._value(inside, (i, column))
        access = Access(self._name("sum", parameter.axes), indices)
        replaced = Mul((*outside, access)) if outside else access
        self.found.append(Gradient(parameter, indices, _replaced(body, total, replaced), access, left, right))

    def _value(self, factors: list[Expr], indices: tuple[Index, ...]) -> Tensor:
        """The tensor that is this product: itself where it is one access, else a value of its own."""
        if len(factors) == 1 and isinstance(factors[0], Access) and factors[0].indices == indices:
            return factors[0].tensor
        body = factors[0] if len(factors) == 1 else Mul(tuple(factors))
        if not factors or not free_indices(body) <= set(indices):
            raise _refusal(f"a sum over the observations of {body if factors else ONE}")
        target = self._name("term", tuple(i.range for i in indices))
        self.found.append(Each(target, indices, self._split(body, indices)))
        return target

    def _name(self, kind: str, axes: tuple[Range, ...]) -> Tensor:
        return Tensor(f"{kind} {len(self.found)}", axes, "float", "value")


def _with_unit(e: Expr, upstream: Tensor) -> Expr:
    if isinstance(e, Access):
        return ONE if e.tensor is upstream else e
    return map_children(e, lambda child: _with_unit(child, upstream))


def _plain(e: Expr) -> Expr:
    """Products without factors of one; sums of a sum taken together."""
    e = map_children(e, _plain)
    if isinstance(e, Mul):
        factors = tuple(f for f in e.factors if f is not ONE)
        return Mul(factors) if len(factors) > 1 else (factors[0] if factors else ONE)
    return e


def _replaced(e: Expr, old: Expr, new: Expr) -> Expr:
    return new if e is old else map_children(e, lambda child: _replaced(child, old, new))


def _sums(e: Expr) -> Iterable[Sum]:
    if isinstance(e, Sum):
        yield e
    else:
        for child in children(e):
            yield from _sums(child)


def _refusal(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"The compiled step has no kernel for {what}.",
        hint='Choose engine="auto".',
    )
