"""A whole training step as the text of a module: gather, forward, loss, backward, update."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chalkgrad.derivation import Backward
from chalkgrad.emit.arrays import Assign, Load, Terms
from chalkgrad.emit.phases import COUNT, phases
from chalkgrad.emit.plan import Line, Plan, plan
from chalkgrad.emit.step.build import Builder
from chalkgrad.emit.step.compiled_step import StepText
from chalkgrad.emit.step.memory import Layout, assign, name_temporaries
from chalkgrad.emit.step.operations import Host, Op, Section, Value, View
from chalkgrad.emit.step.page import filled, page, wrapped
from chalkgrad.emit.step.pieces import G_PART, PART, PART_AXES, W_PART, inlined, split_gradient
from chalkgrad.emit.step.spelling import Speller, StepNames, buffer_lines, memory_lines
from chalkgrad.emit.step.whole import WholeLoop
from chalkgrad.expr.nodes import Program, Range, Tensor
from chalkgrad.render.math_text import math_text

RESERVED = (
    "np", "order", "losses", "memory", "rows", "step", "steps", "allocate", "squares", "generator", "dtype",
    "pieces", "spans", "start", "stop", "scratch", "parts", "erf", "PIECE",
    "first", "last", "begin", "end",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plans:
    """What a step is made of.

    Attributes:
        program, backward: The loss and its derived gradient.
        rule: The update, from w, g and its memories to w2 and the next memories.
        rows: Inputs of which each batch takes its rows.
        masks: Boolean inputs that are drawn anew each step → the probability of true, a formula's text in
            the program's parameters.
        kept: Values of the forward that the caller keeps: value's name → the name of the caller's array.
        sizes: A size for every symbolic range by name.
    """

    program: Program
    backward: Backward
    rule: Program
    rows: tuple[str, ...]
    sizes: Mapping[str, int]
    masks: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)


def step_text(plans: Plans) -> StepText:
    """The text of the step.

    Raises:
        UnsupportedError: When a construct cannot be written into given memory.
    """
    return _Writer(plans).module()


class _Writer:
    """Builds the sections, gives them memory, and writes them down."""

    def __init__(self, plans: Plans) -> None:
        self.plans = plans
        self.plan: Plan = plan(plans.program, plans.backward)
        self.names = StepNames((), ())
        for name in RESERVED:
            self.names.reserve(name)
        self.arguments: dict[str, str] = {}
        self.network = Section()
        self.builder = Builder(self.names, self.network)
        self.shapes: dict[Range, str] = {}
        self.marks: dict[int, str] = {}
        self.tails: dict[object, list[str]] = {}
        for t in plans.rule.tensors():
            self.names.of(t)
        self._inputs()
        self._forward()
        self._backward()
        self._update()

    # --- the sections ---

    def _inputs(self) -> None:
        program, batch = self.plans.program, Value((), "int", "rows", "rows", given=True)
        for t in program.tensors():
            self.names.of(t)
        for r in program.ranges():
            self.names.of(r)
        self._mark("the minibatch")
        for t in program.inputs:
            name = self.names.of(t)
            if t.name in self.plans.rows:
                self._rows_of(t, batch)
                continue
            if t.name in self.plans.masks:
                self._mask(t)
                continue
            # A parameter that is one number is read as Python's, anew in every step.
            given = Value(t.axes, t.dtype, name, name, given=True) if t.axes else Host(f"float({name})", True)
            self.builder.known[t] = given
            self.arguments[t.name] = name
            self._see_sizes(t.axes, name)
        for t, _ in program.parameters:
            self.builder.known[t] = Host(self.names.of(t))
            self.arguments[t.name] = self.names.of(t)

    def _rows_of(self, t: Tensor, batch: Value) -> None:
        source = self.names.fresh(f"{self.names.of(t)}_data")
        data = Value(t.axes, t.dtype, source, source, given=True)
        out = Value(t.axes, t.dtype, self.names.of(t))
        plain = tuple(range(len(t.axes)))
        self.network.ops.append(Op("rows", "np.take", (View(data, plain), View(batch, ())), out))
        self.builder.known[t] = out
        self.arguments[t.name] = source
        self.shapes.setdefault(t.axes[0], "order.shape[1]")
        self._see_sizes(t.axes[1:], source, 1)

    def _mask(self, t: Tensor) -> None:
        drawn = Value(t.axes, "float", label=self.names.of(t))
        out = Value(t.axes, "bool", self.names.of(t))
        self.network.ops.append(Op("draw", "", (), drawn))
        plain = tuple(range(len(t.axes)))
        keep = Host(self.plans.masks[t.name])
        self.network.ops.append(Op("ufunc", "np.less", (View(drawn, plain), keep), out))
        self.builder.known[t] = out
        self.arguments["generator"] = "generator"

    def _see_sizes(self, axes: Sequence[Range], name: str, first: int = 0) -> None:
        for n, r in enumerate(axes):
            if r.size is None:
                self.shapes.setdefault(r, f"{name}.shape[{n + first}]")

    def _mark(self, text: str) -> None:
        self.marks[len(self.network.ops)] = text

    def _forward(self) -> None:
        self._mark("forward")
        for line in self.plan.forward:
            kept = self.plans.kept.get(line.definition.target.name, "")
            if kept:
                self.arguments[kept] = kept
                self.names.reserve(kept)
            self._line(line, kept)

    def _backward(self) -> None:
        self._mark("backward")
        for t in self.plan.upstream:
            self.builder.known[t] = Host("1")
        of = {g: t for t, g in zip(self.plans.program.inputs, self.plan.gradients, strict=True) if g}
        for line in self.plan.backward:
            target = line.definition.target
            if target not in of:
                self._line(line)
                continue
            split = split_gradient(line, of[target], self.plan.upstream[0])
            if split is not None:
                self.tails.setdefault(split.rest, []).append(of[target].name)
            self._line(split.line if split else line, self.names.of(target))
            self.arguments[f"d{of[target].name}"] = self.names.of(target)

    def _line(self, line: Line, home: str = "") -> None:
        shape = ", ".join(r.name for r in line.definition.target.axes) or "scalar"
        note = f"{math_text(line.shown.access)} = {math_text(line.shown.body)}  ({shape})"
        for s in line.statements:
            self.builder.statement(s, note, home)
            note = ""

    def _update(self) -> None:
        rule, section = self.plans.rule, Section()
        builder = Builder(self.names, section)
        found = phases(rule)
        vectors = [t for t in rule.inputs if t.axes]
        self.vectors = {t.name: self.names.of(t) for t in vectors}
        for t in rule.inputs:
            if t.axes:
                builder.known[t] = Value(t.axes, "float", self.names.of(t), self.names.of(t), given=True)
                self.arguments[f"{t.name}_flat"] = self.names.fresh(f"{self.names.of(t)}_flat")
            else:
                builder.known[t] = Host(self.names.of(t), moving=t.name == "t")
                self.arguments[f"rule.{t.name}"] = self.names.of(t)
        builder.known[COUNT] = Host(f"{self.arguments['w_flat']}.size")
        self.wholes: list[WholeLoop] = []
        for number in found.whole:
            self.wholes.append(WholeLoop(number, found, self.names, builder.known))
            builder.known[number.target] = self.wholes[-1].host
        homes = {t.name + "2": self.names.of(t) for t in vectors}
        for line in inlined(plan(found.update, Backward("closed", (), ())).forward):
            for s in line.statements:
                note = f"{math_text(line.shown.access)} = {math_text(line.shown.body)}"
                builder.statement(s, note, homes.get(line.definition.target.name, ""))
        self.update = section
        self.tail_sections: list[tuple[Section, str]] = []
        for rest in self.tails:
            self._tail(rest)

    def _tail(self, rest: object) -> None:
        section = Section()
        builder = Builder(self.names, section)
        for t, _ in self.plans.program.parameters:
            builder.known[t] = Host(self.names.of(t))
        for t in (W_PART, G_PART):
            builder.known[t] = Value((PART,), "float", t.name, t.name, given=True)
        target = Tensor("g_sum", (PART,), "float", "value")
        terms = rest.terms if isinstance(rest, Terms) else ()
        whole = Terms(((False, Load(G_PART, PART_AXES)), *terms), PART_AXES)
        builder.statement(Assign(target, PART_AXES, whole), "", "g_part")
        self.tail_sections.append((section, self.names.fresh("penalised")))

    # --- the text ---

    def module(self) -> StepText:
        size = self._size_name
        sizes = {self._range(n): s for n, s in self.plans.sizes.items() if self._has(n)}
        layout = assign(self.network, sizes)
        name_temporaries(self.network, layout, self.names.numbered)
        speller = Speller(self.names, size)
        body = self._body(self.network, layout, speller, self.marks)
        update = self._update_lines(size)
        loss = self.builder.known[self.plans.program.outputs[0]]
        assert isinstance(loss, Host)
        body += [
            f"losses[step] = {loss.code}",
            "",
            "# the update" + " in two phases" * bool(self.wholes) + ", in pieces that stay in the cache",
            *update[1],
        ]
        before = [
            *(f"{v.name} = {code}" for v, code in self.network.constants.items()),
            *(f"{name} = {code}" for name, code in self.network.hosts.items()),
            *memory_lines(self.network.ops, layout, size),
            *(f"{name} = {code}" for name, code in speller.views.items()),
            *update[0],
        ]
        if any("dtype" in line for line in before):
            before.insert(0, f"dtype = {self.arguments['w_flat']}.dtype")
        used = "\n".join([*before, *body])
        shape = [
            f"{size(r)} = {code}"
            for r, code in self.shapes.items()
            if r.size is None and re.search(rf"(?<![\w.]){size(r)}(?!\w)", used)
        ]
        tails = {
            name: tuple(names)
            for (_, name), names in zip(self.tail_sections, self.tails.values(), strict=True)
        }
        buffers = buffer_lines(layout, size)
        wanted = {
            size(r): r.name
            for r in self.shapes
            if re.search(rf"(?<![\w.]){size(r)}(?!\w)", "\n".join(buffers))
        }
        keywords = [*dict.fromkeys([*self.arguments.values(), *tails])]
        text = page(buffers, list(wanted), [*shape, *before], body, keywords)
        return StepText(text, wanted, self.arguments, tails)

    def _size_name(self, r: Range) -> str:
        return str(r.size) if r.size is not None else self.names.of(r)

    def _has(self, name: str) -> bool:
        return any(r.name == name for r in self.plans.program.ranges())

    def _range(self, name: str) -> Range:
        return next(r for r in self.plans.program.ranges() if r.name == name)

    def _body(
        self, section: Section, layout: Layout, speller: Speller, marks: Mapping[int, str]
    ) -> list[str]:
        lines: list[str] = []
        for at, op in enumerate([*section.ops, *layout.late]):
            if at in marks:
                lines += ["", f"# --- {marks[at]} ---"] if lines else [f"# --- {marks[at]} ---"]
            code = [] if op in layout.elided else speller.lines(op)
            if op.note:
                lines += [f"# {part}" for part in wrapped(op.note)]
            lines += code
        return lines

    def _update_lines(self, size: object) -> tuple[list[str], list[str]]:
        """What stands before the loop over batches, and the loop over pieces inside it."""
        vector = next(t.axes[0] for t in self.plans.rule.inputs if t.axes)
        layout = assign(self.update, {vector: 1})
        name_temporaries(self.update, layout, self.names.numbered)
        speller = Speller(self.names, self._size_name)
        moving = [op for op in self.update.ops if op.kind == "host"]
        rest = Section([op for op in self.update.ops if op.kind != "host"])
        lines = self._body(rest, layout, speller, {})
        scratch = self._scratch(self.update, layout)
        before = [f"{name} = {code}" for name, code in self.update.hosts.items()]
        flat = [self.arguments[f"{name}_flat"] for name in self.vectors]
        names = list(self.vectors.values())
        inside: list[str] = []
        counts = [len(layout.buffers), *(loop.buffers for loop in self.wholes)]
        tail_args = []
        for section, name in self.tail_sections:
            more, own, used = self._tail_lines(section, name)
            before += more
            counts.append(used)
            inside += own
            tail_args.append(name)
        count = max(counts)
        w = self.arguments["w_flat"]
        before += [
            f"spans = [(start, min(start + PIECE, {w}.size)) for start in range(0, {w}.size, PIECE)]",
            f"scratch = np.empty(({count}, PIECE), {w}.dtype)",
        ]
        items = [
            *(f"{f}[start:stop]" for f in flat),
            *(f"scratch[{n}, : stop - start]" for n in scratch.values()),
        ]
        heads = [*names, *scratch]
        for name in tail_args:
            before += self._parts(name, count)
        numbers: list[str] = []
        for loop in self.wholes:
            # A penalty belongs to the gradient, so it is added before the first number is worked out.
            first = [*(f"{name}_part = {name}_parts[start]" for name in tail_args), *inside]
            numbers += loop.lines(speller, dict(zip(names, flat, strict=True)), first)
            before += loop.before
            inside, tail_args = [], []
        items += [f"{name}_parts[start]" for name in tail_args]
        heads += [f"{name}_part" for name in tail_args]
        before += ["pieces = [", "    ("]
        before += [
            *(f"        {line}" for line in filled(items, 80)),
            "    )",
            "    for start, stop in spans",
            "]",
        ]
        body = [*numbers, *(line for op in moving for line in speller.lines(op))]
        body += [f"for {', '.join(heads)} in pieces:", *(f"    {line}" for line in [*inside, *lines])]
        t = self.arguments.get("rule.t")
        return before, [*([f"{t} += 1.0"] if t else []), *body]

    def _scratch(self, section: Section, layout: Layout) -> dict[str, int]:
        found: dict[str, int] = {}
        for op in section.ops:
            where = layout.place.get(op.out) if op.out is not None else None
            if op.out is not None and isinstance(where, int):
                found[op.out.name] = where
        return found

    def _tail_lines(self, section: Section, name: str) -> tuple[list[str], list[str], int]:
        layout = assign(section, {PART: 1})
        name_temporaries(section, layout, self.names.numbered)
        speller = Speller(self.names, self._size_name)
        before = [f"{host} = {code}" for host, code in section.hosts.items()]
        scratch = self._scratch(section, layout)
        for op in section.ops:
            if op.out is not None and layout.place[op.out] == "g_part":
                op.out.name = "g_part"
        lines = self._body(section, layout, speller, {})
        heads = ", ".join(["w_part", "g_part", *scratch])
        self.tail_scratch = list(scratch.values())
        return (
            before,
            [f"for {heads} in {name}_part:", *(f"    {line}" for line in lines)],
            len(layout.buffers),
        )

    def _parts(self, name: str, count: int) -> list[str]:
        """Which stretches of each piece belong to parameters with a penalty."""
        w, g = self.arguments["w_flat"], self.arguments["g_flat"]
        views = "".join(f", scratch[{n}, : end - begin]" for n in self.tail_scratch)
        return [
            f"{name}_parts = {{  # the stretches of each piece that a penalty changes",
            "    start: [",
            f"        ({w}[begin:end], {g}[begin:end]{views})",
            f"        for first, last in {name}",
            "        if (begin := max(first, start)) < (end := min(last, stop))",
            "    ]",
            "    for start, stop in spans",
            "}",
        ]
