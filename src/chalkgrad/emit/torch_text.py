"""PyTorch: an `autograd.Function` that `torch.func`, `torch.compile` and double backward accept.

The forward returns, after the outputs, the values that the backward reads; they are marked as not
differentiable. Differentiated once, the backward reads what the forward saved. Differentiated again,
it works those values out from the inputs, because a saved value does not know where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chalkgrad.derivation import Backward
from chalkgrad.diff.tangent import tangent_program
from chalkgrad.emit.dialects import TORCH
from chalkgrad.emit.function_text import (
    INDENT,
    Row,
    all_names,
    backward_doc,
    forward_doc,
    function_text,
    header,
    literal,
    new_writer,
    opening_rows,
    rows_of,
    tuple_text,
    unpacked,
)
from chalkgrad.emit.names import Names, function_name, identifier
from chalkgrad.emit.plan import Line, Plan, plan
from chalkgrad.errors import UnsupportedError, suggestion
from chalkgrad.expr.names import meant
from chalkgrad.expr.nodes import Definition, Program, Tensor
from chalkgrad.expr.ops import tensors_in

RESERVED = ("ctx", "inputs", "output", "self")


def torch_module(p: Plan, name: str, jvp: bool, parameters: Sequence[str]) -> str:
    """The module's text: the Function, the plain function, and an `nn.Module` where asked for."""
    function = function_name(name)
    cls = _class_name(function)
    names = all_names(p, (*RESERVED, cls, *([function] if parameters else [])))
    parts = [_forward(p, names), _setup(p, names, jvp), _backward(p, names, cls, jvp)]
    if jvp:
        parts.append(_jvp(p))
    methods = "\n\n".join(_indented(f"@staticmethod\n{part}") for part in parts)
    doc = "\n".join(f"{INDENT}{line}".rstrip() for line in forward_doc(p))
    head = f"class {cls}(torch.autograd.Function):\n{doc}\n\n{INDENT}generate_vmap_rule = True"
    texts = [f"{head}\n\n{methods}", _plain(p, names, function, cls)]
    if parameters:
        texts.append(_nn_module(p, names, function, cls, parameters))
    code = "\n\n\n".join(texts)
    return "\n".join(header(TORCH, code)) + f"\n\n\n{code}\n"


def _class_name(function: str) -> str:
    words = [w for w in function.split("_") if w]
    made = identifier("".join(w[:1].upper() + w[1:] for w in words) or "Formula")
    return made if made != function else f"{made}Function"


def _indented(text: str) -> str:
    return "\n".join(f"{INDENT}{line}".rstrip() for line in text.split("\n"))


def _extra(p: Plan) -> tuple[Tensor, ...]:
    """The values that the forward returns for the backward alone."""
    given = {*p.program.inputs, *p.program.outputs, *(t for t, _ in p.program.parameters)}
    return tuple(t for t in p.saved if t not in given)


def _stored(p: Plan, jvp: bool) -> tuple[Tensor, ...]:
    """What `save_for_backward` keeps: what the backward reads, and what its values are made from."""
    extra = _extra(p)
    needed = set(p.saved)
    if jvp:  # the vmap rule keeps one set of tensors for both directions
        needed |= set(p.program.inputs)
    if extra:
        needed |= {t for line in p.forward for t in tensors_in(line.definition.body)} & set(p.program.inputs)
    numbers = {t for t, _ in p.program.parameters}
    return tuple(t for t in p.program.tensors() if t in needed and t not in numbers)


def _numbers(p: Plan, jvp: bool) -> tuple[Tensor, ...]:
    """The keyword parameters that the backward needs, kept on `ctx`."""
    return tuple(t for t, _ in p.program.parameters if t in p.saved or _extra(p) or jvp)


def _arguments(p: Plan, names: Names) -> list[str]:
    return [names.of(t) for t in (*p.program.inputs, *(t for t, _ in p.program.parameters))]


def _forward(p: Plan, names: Names) -> str:
    writer = new_writer(names, TORCH, p.program.inputs)
    rows = rows_of(p.forward, writer)
    rows = opening_rows(writer, p.program.inputs, p.program, p.forward, rows) + rows
    results = [names.of(t) for t in (*p.program.outputs, *_extra(p))]
    rows.append(Row(f"return {', '.join(results)}"))
    return function_text("forward", _arguments(p, names), [], rows)


def _setup(p: Plan, names: Names, jvp: bool) -> str:
    stored, extra, numbers = _stored(p, jvp), _extra(p), _numbers(p, jvp)
    kept = [names.of(t) for t in stored]
    used = set(stored) | set(numbers)
    arguments = [
        names.of(t) if t in used else "_" for t in (*p.program.inputs, *(t for t, _ in p.program.parameters))
    ]
    rows: list[Row] = []
    if set(arguments) != {"_"}:
        rows.append(Row(f"{unpacked(arguments)} = inputs"))
    results = (*p.program.outputs, *extra)
    if set(results) & (set(stored) | set(extra)):
        returned = [names.of(t) if t in stored else "_" for t in results]
        rows.append(Row(f"{', '.join(returned)} = output"))
    if extra:
        rows.append(Row(f"ctx.mark_non_differentiable({', '.join(names.of(t) for t in extra)})"))
    if kept:
        rows.append(Row(f"ctx.save_for_backward({', '.join(kept)})"))
        if jvp:
            rows.append(Row(f"ctx.save_for_forward({', '.join(kept)})"))
    rows += [Row(f"ctx.{names.of(t)} = {names.of(t)}") for t in numbers]
    if not rows:
        rows.append(Row("pass"))
    return function_text("setup_context", ["ctx", "inputs", "output"], [], rows)


def _backward(p: Plan, names: Names, cls: str, jvp: bool) -> str:
    stored, extra = _stored(p, jvp), _extra(p)
    upstream = [names.of(t) for t in p.upstream]
    rows: list[Row] = []
    if stored:
        rows.append(Row(f"{unpacked([names.of(t) for t in stored])} = ctx.saved_tensors"))
    rows += [Row(f"{names.of(t)} = ctx.{names.of(t)}") for t in _numbers(p, jvp) if t in p.saved]
    if extra:
        values = ["_"] * len(p.program.outputs) + [names.of(t) for t in extra]
        arguments = [names.of(t) if t in stored else "None" for t in p.program.inputs]
        arguments += [f"ctx.{names.of(t)}" for t, _ in p.program.parameters]
        rows.append(Row("if torch.is_grad_enabled():  # differentiated again"))
        rows.append(Row(f"{INDENT}{', '.join(values)} = {cls}.forward({', '.join(arguments)})"))
    writer = new_writer(names, TORCH, (*p.upstream, *stored))
    shared, private = _by_gradient(p)
    body = rows_of(shared, writer)
    wanted = [t for t in p.gradients if t]
    conditional = [t for t in wanted if t in private] if len(wanted) > 1 else []
    if conditional:
        body.append(Row(f"{' = '.join(names.of(t) for t in conditional)} = None"))
    for place, t in enumerate(p.gradients):
        if t is None or t not in private:
            continue
        lines = rows_of(private[t], writer)
        if conditional:
            body.append(Row(f"if ctx.needs_input_grad[{place}]:"))
            lines = [Row(INDENT + r.code, r.comment) for r in lines]
        body += lines
    rows += opening_rows(writer, (*p.upstream, *stored), p.program, p.backward, body) + body
    results = [names.of(t) if t else "None" for t in p.gradients] + ["None"] * len(p.program.parameters)
    rows.append(Row(f"return {', '.join(results)}"))
    arguments = ["ctx", *upstream, *(["*_"] if extra else [])]
    return function_text("backward", arguments, backward_doc(p, names), rows)


def _by_gradient(p: Plan) -> tuple[list[Line], dict[Tensor, list[Line]]]:
    """The lines that several gradients need, and those that one alone does."""
    wanted = [t for t in p.gradients if t]
    needed_by: dict[Tensor, set[Tensor]] = {t: {t} for t in wanted}
    for line in reversed(p.backward):
        users = needed_by.get(line.definition.target, set())
        for t in tensors_in(line.definition.body):
            needed_by.setdefault(t, set()).update(users)
    shared: list[Line] = []
    private: dict[Tensor, list[Line]] = {}
    for line in p.backward:
        users = needed_by[line.definition.target]
        if len(users) == 1:
            private.setdefault(next(iter(users)), []).append(line)
        else:
            shared.append(line)
    return shared, private


def _jvp(p: Plan) -> str:
    """How the outputs move with the inputs, from the derivation's tangents."""
    floats = tuple(t for t in p.program.inputs if t.dtype == "float")
    program = _in_order(tangent_program(p.program, floats, "jvp"))
    made = plan(program, Backward("closed", (), ()))
    names = all_names(made, RESERVED)
    dots = {t.name: t for t in program.inputs if t not in p.program.inputs}
    given = [dots.get(f"{t.name}_dot") for t in p.program.inputs]
    stored = [names.of(t) if t in p.program.inputs else "_" for t in _stored(p, True)]
    rows = [Row(f"{unpacked(stored)} = ctx.saved_tensors")]
    rows += [Row(f"{names.of(t)} = ctx.{names.of(t)}") for t, _ in p.program.parameters]
    for t, dot in zip(p.program.inputs, given, strict=True):
        if dot is not None:
            of = names.of(dot)
            rows.append(Row(f"{of} = torch.zeros_like({names.of(t)}) if {of} is None else {of}"))
    writer = new_writer(names, TORCH, program.inputs)
    body = rows_of(made.forward, writer)
    rows += opening_rows(writer, program.inputs, program, made.forward, body) + body
    results = [names.of(t) for t in program.outputs] + ["None"] * len(_extra(p))
    rows.append(Row(f"return {', '.join(results)}"))
    arguments = ["ctx", *(names.of(t) if t is not None else f"_{n}" for n, t in enumerate(given))]
    arguments += [f"_{names.of(t)}" for t, _ in p.program.parameters]
    return function_text("jvp", arguments, [], rows)


def _in_order(program: Program) -> Program:
    """The program with each value defined before it is read: a tangent may read a later value."""
    ordered: dict[Tensor, Definition] = {}
    of = {d.target: d for d in program.definitions}

    def visit(d: Definition) -> None:
        if d.target in ordered:
            return
        for t in sorted(tensors_in(d.body) & of.keys(), key=list(of).index):
            visit(of[t])
        ordered[d.target] = d

    for d in program.definitions:
        visit(d)
    return replace(program, definitions=tuple(ordered.values()))


def _plain(p: Plan, names: Names, function: str, cls: str) -> str:
    parameters = [f"{names.of(t)}={literal(default)}" for t, default in p.program.parameters]
    arguments = [names.of(t) for t in p.program.inputs] + (["*", *parameters] if parameters else [])
    rows = [Row(f"return {_applied(p, cls, _arguments(p, names))}")]
    return function_text(function, arguments, forward_doc(p), rows)


def _applied(p: Plan, cls: str, arguments: Sequence[str]) -> str:
    count = len(p.program.outputs)
    which = "" if not _extra(p) else "[0]" if count == 1 else f"[:{count}]"
    return f"{cls}.apply({', '.join(arguments)}){which}"


def _nn_module(p: Plan, names: Names, function: str, cls: str, parameters: Sequence[str]) -> str:
    """A module that holds some of the inputs as its parameters, from the values that it is given."""
    floats = [t.name for t in p.program.inputs if t.dtype == "float"]
    parameters = [meant(name, floats) for name in parameters]
    for name in parameters:
        if name not in floats:
            raise UnsupportedError(
                f"{p.program.name} has no floating-point input '{name}'.{suggestion(name, floats)}",
                hint=f"Parameters of a module can be: {', '.join(floats)}.",
            )
    own = [names.of(t) for t in p.program.inputs if t.name in parameters]
    given = [names.of(t) for t in p.program.inputs if t.name not in parameters]
    numbers = [names.of(t) for t, _ in p.program.parameters]
    defaults = [f"{names.of(t)}={literal(v)}" for t, v in p.program.parameters]
    rows = [Row("super().__init__()")]
    rows += [Row(f"self.{n} = torch.nn.Parameter({n})") for n in own]
    rows += [Row(f"self.{n} = {n}") for n in numbers]
    first = function_text("__init__", ["self", *own, *(["*", *defaults] if defaults else [])], [], rows)
    arguments = [f"self.{names.of(t)}" if t.name in parameters else names.of(t) for t in p.program.inputs]
    arguments += [f"{n}=self.{n}" for n in numbers]
    call = [Row(f"return {function}({', '.join(arguments)})")]
    second = function_text("forward", ["self", *given], [], call)
    shown = tuple_text(own)
    doc = f'{INDENT}"""{function} with the parameters {shown}, started from the values given."""'
    return f"class {cls}Module(torch.nn.Module):\n{doc}\n\n{_indented(first)}\n\n{_indented(second)}"
