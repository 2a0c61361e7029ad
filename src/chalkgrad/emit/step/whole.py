"""Numbers of all parameters together, such as the norm of the gradient: a loop before the update begins.

# sum_of_all = Σ_j g_j²
total1 = 0.0
for start, stop in spans:
    g = g_flat[start:stop]
    total1 += float(np.vdot(g, g))
sum_of_all = total1
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from chalkgrad.derivation import Backward
from chalkgrad.emit.phases import Phases, Whole
from chalkgrad.emit.plan import plan
from chalkgrad.emit.step.build import Builder
from chalkgrad.emit.step.memory import assign, name_temporaries
from chalkgrad.emit.step.operations import NUMBERS, Host, Op, Section, Value
from chalkgrad.emit.step.page import wrapped
from chalkgrad.emit.step.pieces import inlined
from chalkgrad.emit.step.spelling import Speller, StepNames
from chalkgrad.expr.nodes import Tensor
from chalkgrad.render.math_text import math_text

START = {"max": "-np.inf", "min": "np.inf"}
"""What a number begins as, 0 aside."""


class WholeLoop:
    """The code of one number.

    Args:
        number: What is worked out.
        rule: The rule that reads it.
        names: Identifiers of the step.
        known: What the rule reads: numbers, and vectors of which each piece has a stretch.

    Attributes:
        host: The number, once it is there.
        before: Lines that stand before all steps.
        buffers: How many stretches of scratch memory it needs.
    """

    def __init__(
        self, number: Whole, rule: Phases, names: StepNames, known: Mapping[Tensor, Value | Host]
    ) -> None:
        self.names, section = names, Section()
        builder = Builder(names, section)
        builder.known |= known
        for line in inlined(plan(rule.before(number), Backward("closed", (), ())).forward):
            for s in line.statements:
                builder.statement(s)
        self.note = f"{math_text(number.definition.access)} = {math_text(number.definition.body)}"
        self.host = builder.known[number.target]
        self.ops: Sequence[Op] = section.ops
        self.layout = assign(section, {number.index.range: 1})
        name_temporaries(section, self.layout, names.numbered)
        self.before = [f"{name} = {code}" for name, code in section.hosts.items()]
        self.buffers = len(self.layout.buffers)

    def lines(self, speller: Speller, flat: Mapping[str, str], inside: Sequence[str]) -> list[str]:
        """The loop over all pieces, for one step.

        Args:
            speller: Spells operations.
            flat: The name of a stretch → that of the vector from which it is taken.
            inside: What is done to each piece first.
        """
        found = [op for op in self.ops if op.kind in NUMBERS]
        if not found:  # a sum of equal terms is known without a look at any
            return [*inside, *(line for op in self.ops for line in speller.lines(op))]
        first = min(self.ops.index(op) for op in found)
        early = [op for op in self.ops[:first] if op.kind == "host"]
        late = [op for op in self.ops[first:] if op.kind == "host"]
        body = [*inside]
        for op in (op for op in self.ops if op.kind != "host"):
            body += [_growing(line, op) if op in found else line for line in speller.lines(op)]
        text = "\n".join(body)
        places = {op.out.name: self.layout.place[op.out] for op in self.ops if op.out is not None}
        views = [f"{name} = {whole}[start:stop]" for name, whole in flat.items() if _reads(text, name)]
        views += [f"{v} = scratch[{n}, : stop - start]" for v, n in places.items() if isinstance(n, int)]
        return [
            *(f"# {part}" for part in wrapped(self.note)),
            *(line for op in early for line in speller.lines(op)),
            *(f"{op.target} = {START.get(op.kind, '0.0')}" for op in found),
            "for start, stop in spans:",
            *(f"    {line}" for line in [*views, *body]),
            *(line for op in late for line in speller.lines(op)),
        ]


def _growing(line: str, op: Op) -> str:
    """The line of a piece, added to what the pieces before gave."""
    value = line.removeprefix(f"{op.target} = ")
    if op.kind in START:
        return f"{op.target} = float(np.{op.kind}imum({op.target}, {value}))"
    return f"{op.target} += {value}"


def _reads(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){name}(?!\w)", text) is not None
