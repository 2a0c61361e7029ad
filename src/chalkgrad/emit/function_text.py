"""One emitted function as text: sizes, commented lines, docstring; what every backend's module shares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chalkgrad.emit.dialects import Dialect
from chalkgrad.emit.names import Names
from chalkgrad.emit.plan import Line, Plan
from chalkgrad.emit.printer import Printer
from chalkgrad.emit.statement_code import WIDTH, statement_code
from chalkgrad.emit.subscripts import subscripts_of, whole_number
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.linear import sizes_in
from chalkgrad.expr.nodes import Expr, Program, Range, Tensor
from chalkgrad.render.math_text import math_text

INDENT = "    "


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a function's body and the comment that belongs to it."""

    code: str
    comment: str = ""


def all_names(p: Plan, reserved: Sequence[str] = ()) -> Names:
    """A name for everything in a plan, none of them reserved."""
    tensors = (*p.program.tensors(), *p.upstream, *(line.definition.target for line in p.backward))
    return Names(tensors, p.program.ranges(), reserved)


def header(dialect: Dialect, code: str) -> list[str]:
    """The import lines that the code needs."""
    found = [line for line in dialect.imports if f"{line.split()[-1]}." in code]
    # Plain arithmetic: the module's name still says what the arrays are.
    return found or list(dialect.imports[-1:])


# --- the two functions ------------------------------------------------------------------------------


def forward_function(p: Plan, dialect: Dialect, names: Names, name: str) -> str:
    program = p.program
    parameters = [f"{names.of(t)}={literal(default)}" for t, default in program.parameters]
    arguments = [names.of(t) for t in program.inputs] + (["*", *parameters] if parameters else [])
    writer = new_writer(names, dialect, program.inputs)
    rows = rows_of(p.forward, writer)
    rows = opening_rows(writer, program.inputs, program, p.forward, rows) + rows
    outputs = ", ".join(names.of(t) for t in program.outputs)
    result = outputs if len(program.outputs) == 1 else f"({outputs})"
    rows.append(Row(f"return {result}, {tuple_text([names.of(t) for t in p.saved])}"))
    return function_text(f"{name}_forward", arguments, forward_doc(p), rows)


def backward_function(p: Plan, dialect: Dialect, names: Names, name: str) -> str:
    upstream = [names.of(t) for t in p.upstream]
    visible = (*p.upstream, *p.saved)
    writer = new_writer(names, dialect, visible)
    writer.sharded_like = {t.adjoint: t for t in p.saved if dialect.name == "jax"}
    rows = rows_of(p.backward, writer)
    head = []
    if p.saved:
        saved = [names.of(t) for t in p.saved]
        head.append(Row(f"{unpacked(saved)} = cache"))
    rows = head + opening_rows(writer, visible, p.program, p.backward, rows) + rows
    rows.append(Row(f"return {unpacked([names.of(t) if t else 'None' for t in p.gradients])}"))
    return function_text(f"{name}_backward", [*upstream, "cache"], backward_doc(p, names), rows)


def new_writer(names: Names, dialect: Dialect, visible: Sequence[Tensor]) -> Printer:
    """A printer that takes the precision from the first floating-point array among the arguments."""
    arrays = [t for t in visible if t.dtype == "float" and t.role != "parameter"]
    first = next((t for t in arrays if t.axes), None)
    if first is None:
        first = next((t for t in arrays if t.role != "adjoint"), None)
    return Printer(names, dialect, names.of(first) if first else "", tuple(t for t in arrays if t.axes))


def function_text(name: str, arguments: list[str], doc: list[str], rows: list[Row]) -> str:
    head = f"def {name}({', '.join(arguments)}):"
    if len(head) > WIDTH:
        head = f"def {name}(\n{INDENT}{', '.join(arguments)}\n):"
        if max(map(len, head.split("\n"))) > WIDTH:
            head = f"def {name}(\n" + "".join(f"{INDENT}{a},\n" for a in arguments) + "):"
    text = [head]
    text += [f"{INDENT}{line}".rstrip() for line in doc]
    text += [f"{INDENT}{line}".rstrip() for line in aligned(rows)]
    return "\n".join(text)


def forward_doc(p: Plan) -> list[str]:
    equations = [_equation(line) for line in p.forward]
    shapes = [f"{t.name} {_shape(t.axes)}" for t in p.program.inputs]
    results = [f"{t.name} {_shape(t.axes)}" for t in p.program.outputs]
    last = f"Shapes: {', '.join(shapes)} → {', '.join(results)}."
    return docstring(equations, last)


def backward_doc(p: Plan, names: Names) -> list[str]:
    scalar = len(p.upstream) == 1 and not p.upstream[0].axes
    given = [f"{names.of(t)} is ∂L/∂{t.name}" for t in p.upstream]
    if scalar:  # ∂L/∂L says nothing: the argument is what a loss inside a larger formula needs
        given = [f"{names.of(p.upstream[0])} multiplies them, 1 for the loss itself"]
    wanted = [f"∂L/∂{t.name}" for t in p.gradients if t]
    return docstring([f"Gradients {', '.join(wanted)}; {', '.join(given)}."], "")


def docstring(lines: list[str], last: str) -> list[str]:
    wrapped = [w for line in lines for w in _wrap(line, WIDTH - 7)]
    if not wrapped:
        wrapped, last = [last], ""
    tail = ["", *_wrap(last, WIDTH - 4)] if last else []
    if len(wrapped) == 1 and not tail:
        return [f'"""{wrapped[0]}"""']
    return [f'"""{wrapped[0]}', *wrapped[1:], *tail, '"""']


def literal(value: float) -> str:
    return repr(int(value)) if value == int(value) and isinstance(value, int) else repr(float(value))


def tuple_text(items: Sequence[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def unpacked(items: Sequence[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else ", ".join(items)


# --- lines ------------------------------------------------------------------------------------------


def opening_rows(
    writer: Printer, visible: Sequence[Tensor], program: Program, lines: Sequence[Line], rows: Sequence[Row]
) -> list[Row]:
    """What stands before the lines of a function: the sizes that they name, and subscripts as such."""
    return [*_size_rows(writer, visible, program, rows), *_subscript_rows(writer, visible, lines)]


def _subscript_rows(writer: Printer, visible: Sequence[Tensor], lines: Sequence[Line]) -> list[Row]:
    """Whole numbers made subscripts of the backend's own type: PyTorch takes those of 8 bits for a mask."""
    template = writer.dialect.as_subscript
    read = subscripts_of(s for line in lines for s in line.statements) if template else frozenset()
    names = [writer.names.of(t) for t in visible if t in read]
    return [Row(f"{name} = {template.format(name)}  # whole numbers of any type") for name in names]


def _size_rows(
    writer: Printer, visible: Sequence[Tensor], program: Program, rows: Sequence[Row]
) -> list[Row]:
    """`N, D = x.shape` for the sizes that the code names, then those that follow from others."""
    seen = {r for t in visible for r in t.axes}
    # A part that was tried and put otherwise has left its sizes with the writer, but not in the code.
    words = frozenset(word for row in rows for word in re.findall(r"\w+", row.code))
    used = [r for r in writer.sizes if writer.names.of(r) in words]
    follow = _following(dict(program.sizes), seen, used)
    wanted = [r for r in dict.fromkeys((*used, *_below(follow))) if r not in dict(follow)]
    found: list[Row] = []
    for t in visible:
        mine = [r for r in dict.fromkeys(t.axes) if r in wanted]
        if not mine:
            continue
        wanted = [r for r in wanted if r not in mine]
        array, left = writer.names.of(t), [writer.names.of(r) if r in mine else "_" for r in t.axes]
        if len(mine) > 1:
            found.append(Row(f"{', '.join(left)} = {array}.shape"))
        else:
            found.append(Row(f"{writer.names.of(mine[0])} = {array}.shape[{t.axes.index(mine[0])}]"))
    if wanted:
        raise UnsupportedError(f"the size of {wanted[0]} cannot be read off any argument")
    for of, size in follow:
        found.append(Row(f"{writer.names.of(of)} = {whole_number(size, writer.number_of)}"))
    return found


def _below(follow: Sequence[tuple[Range, Expr]]) -> Iterator[Range]:
    """The ranges whose sizes the given ones follow from."""
    return (below for _, size in follow for below in sizes_in(size))


def _following(
    derived: dict[Range, Expr], seen: set[Range], used: Sequence[Range]
) -> list[tuple[Range, Expr]]:
    """The used sizes that no argument shows, after those that they follow from."""
    found: dict[Range, Expr] = {}

    def visit(of: Range) -> None:
        if of in seen or of not in derived or of in found:
            return
        for below in sizes_in(derived[of]):
            visit(below)
        found[of] = derived[of]

    for of in used:
        visit(of)
    return list(found.items())


def rows_of(lines: Sequence[Line], writer: Printer) -> list[Row]:
    rows: list[Row] = []
    for line in lines:
        comment = f"{_equation(line)}  {_shape(line.definition.target.axes)}"
        for statement in line.statements:
            for code in statement_code(statement, writer):
                rows.append(Row(code, comment))
                comment = ""
    return rows


def _equation(line: Line) -> str:
    d = line.shown
    return f"{math_text(d.access)} = {math_text(d.body)}"


def _shape(axes: Sequence[Range]) -> str:
    if not axes:
        return "scalar"
    return f"({axes[0].name},)" if len(axes) == 1 else f"({', '.join(r.name for r in axes)})"


def aligned(rows: Sequence[Row]) -> list[str]:
    """Code lines with their comments in one column, or above the line where there is no room."""
    room = WIDTH - len(INDENT)
    beside = [r for r in rows if r.comment]
    column = max((len(r.code) for r in beside if len(r.code) <= room // 2), default=0) + 2
    text: list[str] = []
    for r in rows:
        start = max(column, len(r.code) + 2)
        lead = r.code[: len(r.code) - len(r.code.lstrip())]
        if not r.comment:
            text.append(r.code)
        elif start + 2 + len(r.comment) <= room:
            text.append(f"{r.code:<{start}}# {r.comment}")
        else:
            text += [f"{lead}# {part}" for part in _wrap(r.comment, room - 2 - len(lead))]
            text.append(r.code)
    return text


def _wrap(text: str, width: int) -> list[str]:
    """The text in lines of at most `width`, broken at spaces, continuation indented."""
    lines: list[str] = []
    while len(text) > width:
        cut = text.rfind(" ", 4, width + 1)
        cut = cut if cut > 0 else width
        lines.append(text[:cut].rstrip())
        text = "    " + text[cut:].lstrip()
    return [*lines, text]
