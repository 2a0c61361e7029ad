"""Statements as lines of code; a line that would be too long is split at its largest part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from chalkgrad.emit.arrays import (
    AddAt,
    Array,
    Assign,
    Axes,
    Call,
    Cast,
    Einsum,
    Gather,
    Load,
    MatMul,
    Number,
    Power,
    Product,
    ReduceAxes,
    Scale,
    Statement,
    Terms,
    Zeros,
    kind,
    parts,
)
from chalkgrad.emit.printer import Printer
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Tensor

WIDTH = 100
"""No line of emitted code is longer, comments included."""

SPLITS = (Terms, Product, Power, Call, Cast, ReduceAxes, MatMul, Einsum, Gather)
"""Nodes that may get a line of their own."""

ROOM = WIDTH - 4
"""Columns for one statement inside a function."""


def statement_code(s: Statement, writer: Printer) -> list[str]:
    """The lines of one statement."""
    match s:
        case Assign(target, axes, value, own):
            return _assign(target, axes, value, own, writer)
        case Zeros(target, axes):
            return [f"{writer.names.of(target)} = {_zeros(axes, writer)}"]
        case AddAt():
            return _add_at(s, writer)
        case Scale(target, value, axes):
            return [_scale(target, value, axes, writer)]
    raise UnsupportedError(f"no code for the statement {type(s).__name__}")


def _zeros(axes: Axes, writer: Printer) -> str:
    dialect, like = writer.dialect, writer.like(axes)
    if like:
        return dialect.zeros_like.format(like)
    if not writer.reference:
        return f"{dialect.module}.zeros({writer.shape(axes)})"
    return dialect.zeros.format(writer.shape(axes), writer.reference)


def _assign(target: Tensor, axes: Axes, value: Array, own: bool, writer: Printer) -> list[str]:
    written = writer.exact(value, axes)
    if own and isinstance(value, Load):
        written = writer.dialect.copy.format(written)
    line = f"{writer.names.of(target)} = {written}"
    if len(line) <= ROOM:
        return [line]
    part = _largest_part(value, writer)
    if part is None:
        return [line]
    ranges, sort = tuple(i.range for i in part.axes), kind(part)
    # A part of Python numbers only stays one, which the role of a parameter says.
    dtype, role = ("float", "parameter") if sort == "host" else (sort, "value")
    temporary = Tensor(writer.names.unused("part"), ranges, dtype, role)
    before = _assign(temporary, part.axes, part, False, writer)
    rest = _replaced(value, part, Load(temporary, part.axes))
    return before + _assign(target, axes, rest, own, writer)


def _subarrays(a: Array) -> Iterator[Array]:
    for part in parts(a):
        yield part
        yield from _subarrays(part)


def _largest_part(value: Array, writer: Printer) -> Array | None:
    """The part with the longest code that still fits on a line with a name in front."""
    best, length = None, 12
    for part in _subarrays(value):
        if not isinstance(part, SPLITS):
            continue
        size = len(writer.code(part)[0])
        if length < size <= ROOM - 10:
            best, length = part, size
    return best


def _replaced(a: Array, old: Array, new: Array) -> Array:
    """`a` with every `old` replaced by `new`."""
    if a == old:
        return new
    changes: dict[str, object] = {}
    for field in fields(a):
        value = getattr(a, field.name)
        if isinstance(value, Array):
            changes[field.name] = _replaced(value, old, new)
        elif field.name in ("above", "below", "args", "operands"):
            changes[field.name] = tuple(_replaced(v, old, new) for v in value)
        elif field.name == "subscripts":
            changes[field.name] = tuple(v and _replaced(v, old, new) for v in value)
        elif field.name == "terms":
            changes[field.name] = tuple((negative, _replaced(v, old, new)) for negative, v in value)
    return replace(a, **changes)  # type: ignore[arg-type]


def _add_at(s: AddAt, writer: Printer) -> list[str]:
    """`df[np.arange(N), y] -= 1`, or a scatter-add where places may repeat."""
    line = _update(s, writer)
    if len(line) <= ROOM or isinstance(s.value, Load):
        return [line]
    temporary = Tensor(
        writer.names.unused("part"), tuple(i.range for i in s.value.axes), kind(s.value), "value"
    )
    before = _assign(temporary, s.value.axes, s.value, False, writer)
    return [*before, _update(replace(s, value=Load(temporary, s.value.axes)), writer)]


def _update(s: AddAt, writer: Printer) -> str:
    name, axes = writer.names.of(s.target), (*s.shared, *s.trailing)
    subscripts = [writer.aligned(a, s.shared) for a in s.subscripts]
    where = ", ".join(subscripts)
    if not s.unique:
        place = where if len(subscripts) == 1 else f"({where})"
        if writer.dialect.name == "torch" and len(subscripts) == 1:
            place = f"({where},)"
        return writer.dialect.scatter_add.format(name, place, writer.aligned(s.value, axes))
    dialect = writer.dialect
    if not dialect.place:
        template = dialect.set_at if s.replace else dialect.add_at
        return template.format(name, where, writer.aligned(s.value, axes))
    operator, value = "+=", s.value
    match s.value:
        case Product(True, above, below, own):
            operator, value = "-=", Product(False, above, below, own)
        case Number(number) if number < 0:
            operator, value = "-=", Number(-number)
    if s.replace:
        operator, value = "=", s.value
    return dialect.place.format(name, where, operator, writer.aligned(value, axes))


def _scale(target: Tensor, value: Array, axes: Axes, writer: Printer) -> str:
    name = writer.names.of(target)
    match value:
        case Product(False, (), below, own):
            divisor = below[0] if len(below) == 1 else Product(False, below, (), own)
            return f"{name} /= {writer.aligned(divisor, axes)}"
    return f"{name} *= {writer.aligned(value, axes)}"
