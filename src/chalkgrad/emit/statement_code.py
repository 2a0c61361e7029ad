"""Statements as lines of code; a line that would be too long is split at its largest part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace

from chalkgrad.emit.arrays import (
    Accumulate,
    AddAt,
    Array,
    Assign,
    Axes,
    Call,
    Cast,
    Crop,
    Einsum,
    Gather,
    Load,
    Loop,
    MatMul,
    Number,
    Positions,
    Power,
    Product,
    ReduceAxes,
    Running,
    Scale,
    Slot,
    Statement,
    Terms,
    Window,
    Zeros,
    kind,
    parts,
)
from chalkgrad.emit.printer import Printer
from chalkgrad.emit.subscripts import cropped, framed, slices
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Tensor

WIDTH = 100
"""No line of emitted code is longer, comments included."""

SPLITS = (Terms, Product, Power, Call, Cast, ReduceAxes, MatMul, Einsum, Gather, Window, Running)
"""Nodes that may get a line of their own."""

ROOM = WIDTH - 4
"""Columns for one statement inside a function."""


def statement_code(s: Statement, writer: Printer) -> list[str]:
    """The lines of one statement."""
    match s:
        case Assign(target, axes, value, own):
            return _assign(target, axes, value, own, writer)
        case Zeros(target, axes, frame):
            return [f"{writer.names.of(target)} = {_zeros(axes, frame, writer)}"]
        case AddAt():
            return _add_at(s, writer)
        case Loop(counters=counters) if writer.dialect.functional:
            sliced = writer.dialect.name == "jax" and not counters
            return _sliced(s, writer) if sliced else _add_at(s.at_once, writer)
        case Loop():
            return _loop(s, writer)
        case Crop(target, _, frame):
            name = writer.names.of(target)
            return [f"{name} = {name}[{cropped(frame, writer.number_of)}]"]
        case Accumulate(target, value, axes):
            name, operator = writer.names.of(target), "= {} +" if writer.dialect.functional else "+="
            line = f"{name} {operator.format(name)} {writer.aligned(value, axes)}"
            before, shorter = _shortened(value, len(line), writer)
            again = Accumulate(target, shorter, axes)
            return [line] if shorter is value else [*before, *statement_code(again, writer)]
        case Scale(target, value, axes):
            line = _scale(target, value, axes, writer)
            before, shorter = _shortened(value, len(line), writer)
            return [*before, line if shorter is value else _scale(target, shorter, axes, writer)]
    raise UnsupportedError(f"no code for the statement {type(s).__name__}")


def _zeros(axes: Axes, frame: tuple[Slot, ...], writer: Printer) -> str:
    dialect, like = writer.dialect, writer.like(axes)
    shape = writer.shape(axes)
    if frame:
        shape = f"({', '.join(framed(s, writer.number_of) for s in frame)}{',' if len(frame) == 1 else ''})"
    elif like:
        return dialect.zeros_like.format(like)
    if not writer.reference:
        return f"{dialect.module}.zeros({shape})"
    return dialect.zeros.format(shape, writer.reference)


def _loop(s: Loop, writer: Printer) -> list[str]:
    """Nested loops over the counters around one update of slices."""
    lines = []
    for depth, c in enumerate(s.counters):
        size = writer.number_of(c.tensor.axes[0])
        lines.append(f"{'    ' * depth}for {writer.names.of(c.tensor)} in range({size}):")
    inside = "    " * len(s.counters)
    where = slices(s.slots, writer.number_of)
    name = writer.names.of(s.target)
    place = f"{name}[{where}]" if where else name
    operator, value = _operator(s.value, s.replace)
    written = _with_room(
        value, lambda v: f"{place} {operator} {writer.aligned(v, s.axes)}", ROOM - len(inside), writer
    )
    return [*lines, *(inside + line for line in written)]


def _sliced(s: Loop, writer: Printer) -> list[str]:
    """`df = df.at[:, 2].add(-1)`, of slices or single places."""
    name, where = writer.names.of(s.target), slices(s.slots, writer.number_of) or "..."
    template = writer.dialect.set_at if s.replace else writer.dialect.add_at
    return _with_room(
        s.value, lambda v: template.format(name, where, writer.aligned(v, s.axes)), ROOM, writer
    )


def _with_room(value: Array, line: Callable[[Array], str], room: int, writer: Printer) -> list[str]:
    """The line of a value, or of a name that the value gets before, where the line would be too long."""
    if len(line(value)) <= room or isinstance(value, Load):
        return [line(value)]
    before, named = _named(value, writer)
    return [*before, line(named)]


def _named(value: Array, writer: Printer) -> tuple[list[str], Load]:
    """The lines that give a value a name, and a read of it."""
    ranges = tuple(i.range for i in value.axes)
    temporary = Tensor(writer.names.unused("part"), ranges, _dtype(value), "value")
    return _assign(temporary, value.axes, value, False, writer), Load(temporary, value.axes)


def _dtype(value: Array) -> str:
    sort = kind(value)
    return "float" if sort == "host" else sort


def _assign(target: Tensor, axes: Axes, value: Array, own: bool, writer: Printer) -> list[str]:
    writer.target = (target, axes)
    written = writer.exact(value, axes)
    # A Python number that will be read as an array gets the computation's precision here.
    if not axes and target.role == "value" and kind(value) == "host" and writer.reference:
        written = writer.dialect.as_array.format(written, writer.reference)
    if own and isinstance(value, Load | Window):
        written = writer.dialect.copy.format(written)
    line = f"{writer.names.of(target)} = {written}"
    before, shorter = _shortened(value, len(line), writer)
    return [line] if shorter is value else [*before, *_assign(target, axes, shorter, own, writer)]


def _shortened(value: Array, length: int, writer: Printer) -> tuple[list[str], Array]:
    """Lines that name the largest part of a value whose line has this length, and the value with it."""
    if length <= ROOM:
        return [], value
    part = _largest_part(value, writer)
    if part is None:
        return _halved(value, writer)
    ranges, sort = tuple(i.range for i in part.axes), kind(part)
    # A part of Python numbers only stays one, which the role of a parameter says.
    dtype, role = ("float", "parameter") if sort == "host" else (sort, "value")
    temporary = Tensor(writer.names.unused("part"), ranges, dtype, role)
    before = _assign(temporary, part.axes, part, False, writer)
    return before, _replaced(value, part, Load(temporary, part.axes))


def _halved(value: Array, writer: Printer) -> tuple[list[str], Array]:
    """The first half of a long product or sum named, where no part of it is long by itself."""
    longest = max(
        (a for a in (value, *_subarrays(value)) if isinstance(a, Product | Terms)),
        key=lambda a: len(a.above) if isinstance(a, Product) else len(a.terms),
        default=None,
    )
    if isinstance(longest, Product) and len(longest.above) > 3:
        half = len(longest.above) // 2
        first, rest = longest.above[:half], longest.above[half:]
        lines, named = _named(Product(False, first, (), _axes_of(first, longest.axes)), writer)
        return lines, _replaced(value, longest, replace(longest, above=(named, *rest)))
    if isinstance(longest, Terms) and len(longest.terms) > 3:
        half = len(longest.terms) // 2
        head, tail = longest.terms[:half], longest.terms[half:]
        lines, named = _named(Terms(head, _axes_of([t for _, t in head], longest.axes)), writer)
        return lines, _replaced(value, longest, replace(longest, terms=((False, named), *tail)))
    return [], value


def _axes_of(arrays: Sequence[Array], axes: Axes) -> Axes:
    return tuple(i for i in axes if any(i in a.axes for a in arrays))


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
    before: list[str] = []
    line = _update(s, writer)
    if len(line) > ROOM and not isinstance(s.value, Load) and s.value.axes:
        lines, value = _named(s.value, writer)
        before, s = [*before, *lines], replace(s, value=value)
        line = _update(s, writer)
    if len(line) > ROOM:  # the subscripts, too
        subscripts: list[Array] = []
        for a in s.subscripts:
            if isinstance(a, Load | Positions | Number) or not a.axes:
                subscripts.append(a)
                continue
            lines, named = _named(a, writer)
            before += lines
            subscripts.append(named)
        s = replace(s, subscripts=tuple(subscripts))
    return [*before, _update(s, writer)]


def _update(s: AddAt, writer: Printer) -> str:
    name, axes = writer.names.of(s.target), (*s.shared, *s.trailing)
    subscripts = [writer.aligned(a, s.shared) for a in s.subscripts]
    where = ", ".join(subscripts)
    dialect = writer.dialect
    if dialect.functional:
        template = dialect.scatter_add if not s.unique else dialect.set_at if s.replace else dialect.add_at
        written = writer.aligned(s.value, axes)
        if dialect.name == "torch":
            subscripts = [_as_places(code, a, name) for code, a in zip(subscripts, s.subscripts, strict=True)]
            where = ", ".join(subscripts)
            where += "," * (len(subscripts) == 1)
            if isinstance(s.value, Number):
                written = f"{name}.new_full((), {written})"
            elif kind(s.value) == "host":
                written = dialect.as_array.format(written, name)
        return template.format(name, where, written)
    if not s.unique:
        place = where if len(subscripts) == 1 else f"({where})"
        return dialect.scatter_add.format(name, place, writer.aligned(s.value, axes))
    operator, value = _operator(s.value, s.replace)
    return dialect.place.format(name, where, operator, writer.aligned(value, axes))


def _operator(value: Array, replaces: bool) -> tuple[str, Array]:
    """How a value is put to others: set, added, or subtracted without its sign."""
    if replaces:
        return "=", value
    match value:
        case Product(True, (single,), ()):
            return "-=", single
        case Product(True, above, below, own):
            return "-=", Product(False, above, below, own)
        case Number(number) if number < 0:
            return "-=", Number(-number)
    return "+=", value


def _as_places(code: str, a: Array, like: str) -> str:
    """A subscript of PyTorch's index_put, which takes tensors alone."""
    return f"torch.as_tensor({code}, device={like}.device)" if kind(a) == "host" else code


def _scale(target: Tensor, value: Array, axes: Axes, writer: Printer) -> str:
    name = writer.names.of(target)
    if writer.dialect.functional:
        scaled = Product(False, (Load(target, axes), value), (), axes)
        match value:
            case Product(negative, above, below, _):
                scaled = Product(negative, (Load(target, axes), *above), below, axes)
        return f"{name} = {writer.aligned(scaled, axes)}"
    match value:
        case Product(False, (), below, own):
            divisor = below[0] if len(below) == 1 else Product(False, below, (), own)
            return f"{name} /= {writer.aligned(divisor, axes)}"
    return f"{name} *= {writer.aligned(value, axes)}"
