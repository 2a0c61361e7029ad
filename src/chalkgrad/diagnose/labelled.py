"""A quick evaluator for thousands of variants of one formula at one small point.

Every value is an array with an index for each of its axes. Values are remembered per node, and nodes
are interned, so a formula with one place edited recomputes only what stands above that place. A
value may carry an axis that its formula forgot to sum away; where it is used, the axis lines up with
the user's index over the same range, as NumPy's broadcasting would have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from chalkgrad.errors import VerificationError
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
    Pow,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import free_indices, tensors_in
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.verify.environment import Array, Environment
from chalkgrad.verify.reference import COMPARE, evaluate

LARGE = 5_000
"""Products with more entries are contracted instead of multiplied out."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """An array with the index that each axis runs along."""

    labels: tuple[Index, ...]
    array: Array


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor's entries: its own axes, then the axes that its formula left over."""

    array: Array
    extra: tuple[Index, ...] = ()


class Evaluation:
    """Values of expressions at one point.

    Args:
        env: Sizes and arrays.
        changed: Tensors with other values than in `env`.
        base: The evaluation without the changes, whose values of untouched nodes are taken over.
    """

    def __init__(
        self, env: Environment, changed: Mapping[Tensor, Value] | None = None, base: Evaluation | None = None
    ) -> None:
        self.env = env
        self.changed = dict(changed or {})
        self.base = base
        self._known: dict[Expr, Labelled] = {}
        self._scope: tuple[Index, ...] = ()

    def having(self, tensor: Tensor, value: Value) -> None:
        """Set the value of a tensor from here on."""
        if tensor in self.changed:
            self._known.clear()
        self.changed[tensor] = value

    def run(self, definitions: Sequence[Definition], bodies: Mapping[Tensor, Expr]) -> None:
        """Evaluate the definitions in order, some of them with another body.

        What depends on no changed value keeps the value that the base has.
        """
        for d in definitions:
            body = bodies.get(d.target, d.body)
            if d.target in bodies or not tensors_in(body).isdisjoint(self.changed):
                self.having(d.target, self.defined(d.indices, body))

    def defined(self, indices: tuple[Index, ...], body: Expr) -> Value:
        """The value of target[indices] = body."""
        if any(v.extra for v in self.changed.values()):
            self._known.clear()
            self._scope = indices
        found = self.value(body)
        extra = tuple(i for i in found.labels if i not in indices)
        labels = (*indices, *extra)
        shape = tuple(self.env.size(i.range) for i in labels)
        array = spread(found, labels)
        return Value(array if array.shape == shape else np.broadcast_to(array, shape), extra)

    def array(self, tensor: Tensor) -> Array:
        """The entries of a tensor."""
        if tensor in self.changed:
            return self.changed[tensor].array
        return self.base.array(tensor) if self.base is not None else self.env.array(tensor)

    def extra(self, tensor: Tensor) -> tuple[Index, ...]:
        """The axes that the tensor's formula left over."""
        return self.changed[tensor].extra if tensor in self.changed else ()

    def value(self, e: Expr) -> Labelled:
        """The expression's value, computed once."""
        if self.base is not None and tensors_in(e).isdisjoint(self.changed):
            return self.base.value(e)
        if e not in self._known:
            self._known[e] = self._fresh(e)
        return self._known[e]

    def _fresh(self, e: Expr) -> Labelled:
        match e:
            case Const(number):
                return Labelled((), np.asarray(float(number)))
            case Size(of):
                return Labelled((), np.asarray(float(self.env.size(of))))
            case Index(_, of):
                return Labelled((e,), np.arange(self.env.size(of), dtype=float))
            case Access():
                return self._access(e)
            case Add(terms):
                labels, arrays = self._aligned(terms)
                return Labelled(labels, _fold(np.add, arrays))
            case Mul(factors):
                labels, arrays = self._aligned(factors)
                return Labelled(labels, _fold(np.multiply, arrays))
            case Sum(indices, body):
                return self._sum(indices, body)
            case Indicator(op, left, right):
                labels, arrays = self._aligned((left, right))
                return Labelled(labels, np.asarray(COMPARE[op](*arrays), float))
            case Pow():
                return self._power(e)
            case Apply(fn, args) if args:
                labels, arrays = self._aligned(args)
                return Labelled(labels, np.asarray(PRIMITIVES[fn].reference(*arrays), float))
            case Reduce("max" | "min" | "prod" as op, indices, body):
                return self._reduced(op, indices, body)
        # A node without a quick case is evaluated as the reference does it.
        values = {t: np.asarray(self.array(t)) for t in tensors_in(e)}
        free = tuple(sorted(free_indices(e), key=lambda i: (i.name, i.range.name)))
        return Labelled(free, evaluate(e, free, self.env.having(values)))

    def _aligned(self, parts: Sequence[Expr]) -> tuple[tuple[Index, ...], list[Array]]:
        values = [self.value(p) for p in parts]
        labels = tuple(dict.fromkeys(i for v in values for i in v.labels))
        return labels, [spread(v, labels) for v in values]

    def _access(self, e: Access) -> Labelled:
        array = np.asarray(self.array(e.tensor), float)
        extra = tuple(self._in_scope(i, e.indices) for i in self.extra(e.tensor))
        labels = (*e.indices, *extra)
        if all(isinstance(i, Index) for i in e.indices) and len(set(labels)) == len(labels):
            sizes = tuple(self.env.size(i.range) for i in labels if isinstance(i, Index))
            if array.shape == sizes:
                return Labelled(tuple(i for i in labels if isinstance(i, Index)), array)
        joint, positions = self._aligned(labels)
        whole = [np.rint(p).astype(np.int64) for p in positions]
        inside = np.asarray(True)
        for p, size in zip(whole, array.shape, strict=True):
            inside = inside & (p >= 0) & (p < size)
        at = tuple(np.clip(p, 0, size - 1) for p, size in zip(whole, array.shape, strict=True))
        return Labelled(joint, np.where(inside, array[at], 0.0))

    def _in_scope(self, index: Index, used: Sequence[Expr]) -> Index:
        """The index of the formula under evaluation that a left-over axis lines up with."""
        near = [i for i in self._scope if i.range is index.range]
        return next((i for i in near if i not in used), near[0] if near else index)

    def _sum(self, indices: tuple[Index, ...], body: Expr) -> Labelled:
        if isinstance(body, Mul):
            values = [self.value(f) for f in body.factors]
            labels = tuple(dict.fromkeys(i for v in values for i in v.labels))
            if np.prod([float(self.env.size(i.range)) for i in labels]) > LARGE and len(labels) < 50:
                return self._contracted(values, labels, indices)
        found = self.value(body)
        axes = tuple(place for place, i in enumerate(found.labels) if i in indices)
        kept = tuple(i for i in found.labels if i not in indices)
        absent = [self.env.size(i.range) for i in indices if i not in found.labels]
        return Labelled(kept, np.asarray(found.array.sum(axis=axes) * float(np.prod(absent))))

    def _contracted(
        self, values: Sequence[Labelled], labels: tuple[Index, ...], indices: tuple[Index, ...]
    ) -> Labelled:
        number = {i: n for n, i in enumerate(labels)}
        kept = tuple(i for i in labels if i not in indices)
        operands: list[object] = []
        for v in values:
            operands += [v.array, [number[i] for i in v.labels]]
        result = np.einsum(*operands, [number[i] for i in kept], optimize="greedy")  # type: ignore[call-overload]
        absent = [self.env.size(i.range) for i in indices if i not in number]
        return Labelled(kept, np.asarray(result * float(np.prod(absent))))

    def _reduced(self, op: str, indices: tuple[Index, ...], body: Expr) -> Labelled:
        found = self.value(body)
        axes = tuple(place for place, i in enumerate(found.labels) if i in indices)
        kept = tuple(i for i in found.labels if i not in indices)
        functions: dict[str, np.ufunc] = {"max": np.maximum, "min": np.minimum, "prod": np.multiply}
        return Labelled(kept, np.asarray(functions[op].reduce(found.array, axis=axes)))

    def _power(self, e: Pow) -> Labelled:
        if isinstance(e.exponent, Const) and isinstance(e.exponent.value, Fraction):
            base = self.value(e.base)
            exponent = e.exponent.value
            power = int(exponent) if exponent.denominator == 1 else float(exponent)
            return Labelled(base.labels, np.asarray(np.power(base.array, power)))
        labels, (base_array, exponents) = self._aligned((e.base, e.exponent))
        return Labelled(labels, np.asarray(np.power(base_array, exponents)))


def spread(value: Labelled, labels: tuple[Index, ...]) -> Array:
    """The array with one axis per label, of size one where it does not depend on it."""
    if value.labels == labels:
        return value.array
    order = sorted(range(len(value.labels)), key=lambda place: labels.index(value.labels[place]))
    array = value.array.transpose(order) if order != list(range(len(order))) else value.array
    sizes = dict(zip((value.labels[place] for place in order), array.shape, strict=True))
    return array.reshape(tuple(sizes.get(label, 1) for label in labels))


def _fold(operation: np.ufunc, arrays: Sequence[Array]) -> Array:
    result = arrays[0]
    for array in arrays[1:]:
        result = operation(result, array)
    return np.asarray(result)


def check_agrees(quick: Array, slow: Array, what: str) -> None:
    """The quick evaluator must agree with the reference before anything is judged by it."""
    scale = float(np.abs(slow).max(initial=1.0))
    if quick.shape != slow.shape or not np.allclose(quick, slow, rtol=1e-9, atol=1e-9 * scale):
        raise VerificationError(f"the two evaluators disagree about {what}; this is a defect of chalkgrad")
