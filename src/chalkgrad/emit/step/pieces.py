"""Elementwise work on all parameters at once, in pieces that stay in the cache from the first operation
on them to the last: the update rule, and what a penalty adds to a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from chalkgrad.emit.arrays import (
    Array,
    Assign,
    Axes,
    Call,
    Cast,
    Compare,
    Load,
    MatMul,
    Number,
    Power,
    Product,
    SizeOf,
    Terms,
    parts,
)
from chalkgrad.emit.plan import Line
from chalkgrad.expr.nodes import Index, Range, Tensor

PART = Range("PART")
PART_AXES = (Index("i", PART),)
W_PART = Tensor("w_part", (PART,), "float", "value")
G_PART = Tensor("g_part", (PART,), "float", "value")


@dataclass(frozen=True, slots=True)
class Split:
    """A gradient's line, cut in two.

    Attributes:
        line: What is computed for the whole array, such as xᵀ ∂L/∂f.
        rest: What is added to each entry from the parameter at the same place, over `PART_AXES`.
    """

    line: Line
    rest: Array


def split_gradient(line: Line, parameter: Tensor, upstream: Tensor) -> Split | None:
    """Cut λ W off λ W + xᵀ ∂L/∂f; None where the line has another form."""
    match line.statements:
        case (Assign(target, axes, Terms(terms, _), own),):
            pass
        case _:
            return None
    whole = [p for p in terms if isinstance(p[1], MatMul)]
    if len(whole) != 1 or whole[0][0]:
        return None
    rest = tuple((n, _in_part(t, parameter, axes, upstream)) for n, t in terms if t is not whole[0][1])
    if any(t is None for _, t in rest):
        return None
    found = tuple((n, t) for n, t in rest if t is not None)
    shortened = Line(line.definition, (Assign(target, axes, whole[0][1], own),), line.shown)
    return Split(shortened, Terms(found, PART_AXES))


def _in_part(a: Array, parameter: Tensor, axes: Axes, upstream: Tensor) -> Array | None:
    """`a` with the parameter read piece by piece; None where it reads anything else."""
    match a:
        case Number() | SizeOf():
            return a
        case Load(tensor, own):
            if tensor is parameter and own == axes:
                return Load(W_PART, PART_AXES)
            if own:
                return None
            # The derivative of the loss by itself is one; other numbers of the backward are not known here.
            if tensor is upstream:
                return Number(Fraction(1))
            return a if tensor.role == "parameter" else None
        case Product() | Power() | Call() | Compare() | Cast():
            return _rebuilt(a, parameter, axes, upstream)
    return None


def _rebuilt(
    a: Product | Power | Call | Compare | Cast, parameter: Tensor, axes: Axes, upstream: Tensor
) -> Array | None:
    inner = [_in_part(p, parameter, axes, upstream) for p in parts(a)]
    found = tuple(p for p in inner if p is not None)
    if len(found) != len(inner) or a.axes not in ((), axes):
        return None
    own = PART_AXES if a.axes else ()
    match a:
        case Product():
            return replace(a, above=found[: len(a.above)], below=found[len(a.above) :], axes=own)
        case Power():
            return replace(a, base=found[0], exponent=found[1], axes=own)
        case Call():
            return replace(a, args=found, axes=own)
        case Compare():
            return replace(a, left=found[0], right=found[1], axes=own)
        case Cast():
            return replace(a, arg=found[0], axes=own)


def inlined(lines: Sequence[Line]) -> list[Line]:
    """Values that are read once put where they are read, so that their numbers meet: lr · m / (1 − βᵗ)."""
    result = list(lines)
    for line in lines:
        match line.statements:
            case (Assign(target, axes, Product() as value, _),):
                pass
            case _:
                continue
        readers = [n for n, other in enumerate(result) for _ in range(_count(other, target))]
        if len(readers) != 1:
            continue
        reader = result[readers[0]]
        changed = tuple(
            replace(s, value=_with(s.value, target, axes, value)) if isinstance(s, Assign) else s
            for s in reader.statements
        )
        if any(_reads(s.value, target) for s in changed if isinstance(s, Assign)):
            continue  # read along other axes: it stays a value of its own
        result[readers[0]] = replace(reader, statements=changed)
        result = [other for other in result if other.definition is not line.definition]
    return result


def _count(line: Line, t: Tensor) -> int:
    return sum(_reads(s.value, t) for s in line.statements if isinstance(s, Assign))


def _reads(a: Array, t: Tensor) -> int:
    own = int(isinstance(a, Load) and a.tensor is t)
    return own + sum(_reads(p, t) for p in parts(a))


def _with(a: Array, t: Tensor, axes: Axes, value: Array) -> Array:
    """`a` with reads of `t` replaced by its value."""
    match a:
        case Load(tensor, own):
            return value if tensor is t and own == axes else a
        case Terms(terms, _):
            return replace(a, terms=tuple((n, _with(p, t, axes, value)) for n, p in terms))
        case Product(_, above, below, _):
            return replace(
                a,
                above=tuple(_with(p, t, axes, value) for p in above),
                below=tuple(_with(p, t, axes, value) for p in below),
            )
        case Power(base, exponent, _):
            return replace(a, base=_with(base, t, axes, value), exponent=_with(exponent, t, axes, value))
        case Call(_, args, _):
            return replace(a, args=tuple(_with(p, t, axes, value) for p in args))
    return a
