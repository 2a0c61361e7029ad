"""Update rules that need numbers of all parameters together, such as the norm of the whole gradient.

    norm = sqrt(sum(j, g[j]^2))                              a number: every gradient comes first
    w2[i] = w[i] - lr * g[i] * clip / maximum(norm, clip)    then each parameter is updated

A rule without such a number is one phase: a gradient is used where it is made. With one it is two, and
whoever emits code must keep the gradients between them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Access, Definition, Expr, Index, Program, Reduce, Size, Sum, Tensor
from chalkgrad.expr.ops import free_indices, inline, map_children, substitute, tensors_in

COUNT = Tensor("number of parameters", (), "float", "value")
"""How many numbers all parameters have together; a rule reads it as the size of its range."""


@dataclass(frozen=True, slots=True)
class Whole:
    """One number of all parameters: target = op over `index` of body.

    Attributes:
        target: A value without axes.
        op: "sum", "max" or "min".
        index: Runs over all parameters.
        body: Reads the rule's inputs and values at `index`, and numbers.
    """

    target: Tensor
    op: str
    index: Index
    body: Expr

    @property
    def definition(self) -> Definition:
        """The same as a line of a program."""
        indices = (self.index,)
        body = Sum(indices, self.body) if self.op == "sum" else Reduce(self.op, indices, self.body)
        return Definition(self.target, (), body)


@dataclass(frozen=True, slots=True)
class Phases:
    """An update rule, taken apart.

    Attributes:
        whole: The numbers of all parameters, each after those that it reads.
        update: The rule, which reads the targets of `whole` where sums stood; elementwise.
    """

    whole: tuple[Whole, ...]
    update: Program

    def before(self, number: Whole) -> Program:
        """What works out one number: the lines that it needs, and its own."""
        needed, lines = set(tensors_in(number.body)), [number.definition]
        for d in reversed(self.update.definitions):
            if d.target in needed:
                needed |= tensors_in(d.body)
                lines.insert(0, d)
        return replace(self.update, definitions=tuple(lines), outputs=(number.target,))


def phases(rule: Program) -> Phases:
    """The rule's sums over all parameters, and its elementwise rest.

    Raises:
        UnsupportedError: For a sum that is not one number of all parameters.
    """
    vector = next(r for t in rule.inputs for r in t.axes)
    found: dict[tuple[str, Expr], Whole] = {}

    def split(e: Expr) -> Expr:
        if isinstance(e, Size) and e.range is vector:
            return Access(COUNT, ())
        e = map_children(e, split)
        if not isinstance(e, Sum | Reduce):
            return e
        op = "sum" if isinstance(e, Sum) else e.op
        if free_indices(e) or len(e.indices) != 1 or e.indices[0].range is not vector or op == "prod":
            raise UnsupportedError(
                f"The update rule {rule.name} holds {e}, which is not one number of all parameters.",
                hint="Write a sum, max or min over one index, such as norm = sqrt(sum(j, g[j]^2)).",
            )
        (index,) = e.indices
        key = (op, substitute(e.body, {index: Index("any", index.range)}))
        if key not in found:
            number = str(len(found) + 1) if found else ""
            target = Tensor(f"{op}_of_all{number}", (), "float", "value")
            found[key] = Whole(target, op, index, e.body)
        return Access(found[key].target, ())

    definitions = tuple(replace(d, body=split(d.body)) for d in rule.definitions)
    return Phases(tuple(found.values()), replace(rule, definitions=definitions))


def inlined(definitions: Iterable[Definition], wanted: Iterable[Tensor]) -> list[Definition]:
    """The lines of `wanted` with the lines between written out, so that their scalars meet."""
    between: list[Definition] = []
    result: list[Definition] = []
    wanted = set(wanted)
    for d in definitions:
        body = d.body
        for line in between:
            body = inline(body, line.access, line.body)
        own = Definition(d.target, d.indices, body)
        (result if d.target in wanted else between).append(own)
    return result
