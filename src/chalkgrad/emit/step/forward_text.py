"""A forward pass as the text of a module: bound to its parameters and memory once, then called with rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chalkgrad.derivation import Backward
from chalkgrad.emit.plan import plan
from chalkgrad.emit.step.build import Builder
from chalkgrad.emit.step.memory import assign, name_temporaries
from chalkgrad.emit.step.operations import Host, Section, Value, View
from chalkgrad.emit.step.page import ERF, filled, wrapped
from chalkgrad.emit.step.spelling import Speller, StepNames, buffer_lines, memory_lines
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Program, Range
from chalkgrad.render.math_text import math_text

RESERVED = ("np", "bind", "forward", "memory", "dtype", "erf")


@dataclass(frozen=True, slots=True)
class ForwardText:
    """The text of a forward pass.

    Attributes:
        text: The module. Its `bind` takes the size of the batch, an element type and the arguments, and
            gives a function of the rows and of the array for the results.
        arguments: The program's inputs and parameters but the rows → the arguments of `bind`.
    """

    text: str
    arguments: dict[str, str]


def forward_text(program: Program, rows: str, sizes: Mapping[str, int]) -> ForwardText:
    """Lines that write into memory made once, the last one into the caller's array.

    Args:
        program: With one output.
        rows: The input that changes from call to call.
        sizes: A size for every symbolic range by name; only the choice of the buffers depends on them.

    Raises:
        UnsupportedError: When a construct cannot be written into given memory.
    """
    names, section = StepNames((), ()), Section()
    for name in RESERVED:
        names.reserve(name)
    builder = Builder(names, section)
    for t in program.tensors():
        names.of(t)
    for r in program.ranges():
        names.of(r)
    for t in program.inputs:
        builder.known[t] = Value(t.axes, t.dtype, names.of(t), names.of(t), given=True)
    for t, _ in program.parameters:
        builder.known[t] = Host(names.of(t))
    (output,) = program.outputs
    for line in plan(program, Backward("closed", (), ())).forward:
        target = line.definition.target
        note = f"{math_text(line.shown.access)} = {math_text(line.shown.body)}"
        for s in line.statements:
            builder.statement(s, note, names.of(target) if target is output else "")
            note = ""
    if not isinstance(builder.known[output], Value):
        raise UnsupportedError(f"{output.name} is a number, not an array")
    (moving,) = [t for t in program.inputs if t.name == rows]
    arguments = {t.name: names.of(t) for t in program.inputs if t is not moving}
    arguments |= {t.name: names.of(t) for t, _ in program.parameters}
    shapes = {
        r: f"{names.of(t)}.shape[{n}]"
        for t in program.inputs
        if t is not moving
        for n, r in enumerate(t.axes)
        if r.size is None
    }
    ranges = {r: sizes[r.name] for r in program.ranges() if r.size is None}
    text = _module(
        section, names, ranges, shapes, (moving.axes[0], names.of(moving), names.of(output)), arguments
    )
    return ForwardText(text, arguments)


def _module(
    section: Section, names: StepNames, sizes: Mapping[Range, int], shapes: Mapping[Range, str],
    ends: tuple[Range, str, str], arguments: Mapping[str, str],
) -> str:  # fmt: skip
    """The module; `ends` are the batch's range, the rows and the results."""

    def size(r: Range) -> str:
        return str(r.size) if r.size is not None else names.of(r)

    batch, rows, results = ends
    layout = assign(section, sizes)
    name_temporaries(section, layout, names.numbered)
    speller = Speller(names, size)
    body: list[str] = []
    for op in [*section.ops, *layout.late]:
        if op.kind == "matmul" and all(isinstance(a, View) and len(a.order) <= 2 for a in op.args):
            op.fn = "np.dot"  # the same product, found in half the time, which shows where there is one row
        body += [f"# {part}" for part in wrapped(op.note)] if op.note else []
        body += [] if op in layout.elided else speller.lines(op)
    passing = re.compile(rf"(?:{re.escape(rows)}|{re.escape(results)})\b")
    views = {name: f"{name} = {code}" for name, code in speller.views.items()}
    inside = [line for name, line in views.items() if passing.match(speller.views[name])]
    before = [
        "memory = [", *(f"    {line}" for line in buffer_lines(layout, size)), "]",
        *(f"{v.name} = {code}" for v, code in section.constants.items()),
        *(f"{name} = {code}" for name, code in section.hosts.items()),
        *memory_lines(section.ops, layout, size),
        *(line for line in views.values() if line not in inside),
    ]  # fmt: skip
    used = set(re.findall(r"\w+", "\n".join([*before, *body])))
    before = [*(f"{size(r)} = {code}" for r, code in shapes.items() if size(r) in used), *before]
    head = (
        '"""A forward pass: every line writes into memory that is already there."""\n\nimport numpy as np\n'
    )
    head += ERF if any("erf(" in line for line in body) else ""
    signature = "".join(f"    {line}\n" for line in filled([size(batch), "dtype", *arguments.values()]))
    return (
        f"{head}\n\ndef bind(\n{signature}):\n"
        f'    """A function of {size(batch)} rows, with memory of its own."""\n'
        + "".join(f"    {line}\n" for line in before)
        + f"\n    def forward({rows}, {results}):\n"
        + "".join(f"        {line}\n" for line in [*inside, *body])
        + "\n    return forward\n"
    )
