"""The reverse sweep: the adjoint of every intermediate, output first.

    dL/dt[τ]  =  Σ over consumers c of t   Σ_ι  dL/dc[ι] · d c[ι] / d t[τ]

Intermediates stay opaque: each local derivative is that of one definition. This is the staged
derivation, the computational graph of CS231n.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalkgrad.derivation import Stage, Step
from chalkgrad.diff.local import local_derivative
from chalkgrad.diff.wording import over
from chalkgrad.expr.arithmetic import add, multiply
from chalkgrad.expr.letters import fresh_index
from chalkgrad.expr.nodes import ONE, ZERO, Access, Definition, Expr, Index, Partial, Program, Sum, Tensor
from chalkgrad.expr.ops import canonical, tensors_in, walk
from chalkgrad.expr.text import tensor_name
from chalkgrad.rules.contraction import settle
from chalkgrad.rules.polynomial import tidy


@dataclass(frozen=True, slots=True)
class Sweep:
    """The result: adjoint definitions in evaluation order, and the stages that found them."""

    definitions: tuple[Definition, ...]
    stages: tuple[Stage, ...]


def active_values(
    program: Program, wrt: tuple[Tensor, ...], fixed: frozenset[Tensor] = frozenset()
) -> set[Tensor]:
    """The tensors on a path from the wanted inputs to the output, none through `fixed`."""
    forward = set(wrt)
    for d in program.definitions:
        if d.target not in fixed and d.target.dtype == "float" and forward & tensors_in(d.body):
            forward.add(d.target)
    backward = set(program.outputs)
    for d in reversed(program.definitions):
        if d.target in backward:
            backward |= tensors_in(d.body)
    return forward & backward


def sweep(
    program: Program, wrt: tuple[Tensor, ...], given: bool, fixed: frozenset[Tensor] = frozenset()
) -> Sweep:
    """Adjoints of all active values, then of the wanted inputs.

    Args:
        given: Whether the adjoint of a scalar output is an argument; otherwise it is one, since the
            output is the loss itself.
        fixed: Values that nothing depends on, proved otherwise; their adjoints are 0.
    """
    active = active_values(program, wrt, fixed)
    definitions: list[Definition] = []
    stages: list[Stage] = []
    order = [d.target for d in reversed(program.definitions) if d.target in active]
    order += [t for t in wrt if t not in order]
    for tensor in order:
        found = _adjoint(program, tensor, active, given)
        if found is not None:
            definition, written = found
            definitions.append(definition)
            stages.extend(written)
    return Sweep(tuple(definitions), tuple(stages))


def _adjoint(
    program: Program, tensor: Tensor, active: set[Tensor], given: bool
) -> tuple[Definition, list[Stage]] | None:
    consumers = [d for d in program.definitions if tensor in tensors_in(d.body) and d.target in active]
    if tensor in program.outputs:
        # Nothing else reads an output (see `normal_form`), so its adjoint comes from above.
        return None if given or tensor.axes else _seed(tensor)
    indices = _letters(program, tensor, consumers)
    target = Access(tensor.adjoint, indices)
    if not consumers:
        because = f"no path leads from {tensor.name} to the output"
        step = Step(target, ZERO, "no-path", because, milestone=True)
        title = f"The gradient of {tensor_name(tensor)}"
        return Definition(tensor.adjoint, indices, ZERO), [Stage("adjoint", title, target, (step,))]
    seeds = () if given else tuple(t for t in program.outputs if not t.axes)
    links = [_Link.make(c, tensor, indices, c.target in seeds) for c in consumers]
    return _Chain(target, tensor, links).work_out()


def _seed(tensor: Tensor) -> tuple[Definition, list[Stage]]:
    target = Access(tensor.adjoint, ())
    step = Step(target, ONE, "loss", "the output is the loss itself", milestone=True)
    return Definition(tensor.adjoint, (), ONE), [
        Stage("chain", f"Start at the loss {tensor.name}", target, (step,))
    ]


def shared_prefix(definition: Definition, tensor: Tensor) -> int:
    """How many leading axes the consumer and the tensor go through together, entry by entry.

    p[i,k] = e[i,k] / z[i] reads z[i] only: observation i of p depends on observation i of z alone.
    """
    count = 0
    accesses = [n for n in walk(definition.body) if isinstance(n, Access) and n.tensor is tensor]
    for place in range(min(len(definition.indices), len(tensor.axes))):
        index = definition.indices[place]
        # An index over another range reads a part of the axis (x[i] with i < |N| − 1), not all of it.
        if index.range is not tensor.axes[place]:
            break
        if not all(a.indices[place] is index for a in accesses):
            break
        # The index must not reach the tensor by another axis as well (x[i,i]).
        if any(index in a.indices[place + 1 :] for a in accesses):
            break
        count += 1
    return count


def natural_letters(program: Program, tensor: Tensor) -> tuple[Index, ...]:
    """The indices a tensor is first written with."""
    own = program.definition(tensor.name)
    if own is not None and own.target is tensor:
        return own.indices
    found: list[tuple[bool, tuple[Index, ...]]] = []
    for d in program.definitions:
        for node in walk(d.body):
            if isinstance(node, Access) and node.tensor is tensor:
                plain = tuple(i for i in node.indices if isinstance(i, Index))
                whole = tuple(i.range for i in plain) == tensor.axes
                if whole and len(set(plain)) == len(plain):
                    # An index of the line itself is a better letter than one that a sum binds.
                    found.append((not set(plain) <= set(d.indices), plain))
    if found:
        return min(found, key=lambda f: f[0])[1]
    taken: set[str] = set()
    made = []
    for axis in tensor.axes:
        made.append(fresh_index(axis, taken))
        taken.add(made[-1].name)
    return tuple(made)


def _letters(program: Program, tensor: Tensor, consumers: list[Definition]) -> tuple[Index, ...]:
    """The free indices of the adjoint.

    An input that one formula uses gives way, as on a blackboard: f_ik keeps its letters and W
    becomes W_dj. Otherwise the tensor keeps its own letters and the consumers give way.
    """
    natural = natural_letters(program, tensor)
    is_input = program.definition(tensor.name) is None
    if not (is_input and len(consumers) == 1):
        return natural
    consumer = consumers[0]
    keep = shared_prefix(consumer, tensor)
    taken = {i.name for i in consumer.indices[keep:]} | {i.name for i in natural[:keep]}
    chosen = [Index(i.name, a) for i, a in zip(consumer.indices[:keep], tensor.axes[:keep], strict=True)]
    for index in natural[keep:]:
        new = fresh_index(index.range, taken | {c.name for c in chosen}, prefer=index.name)
        chosen.append(new)
    return tuple(chosen)


@dataclass(frozen=True, slots=True)
class _Link:
    """One edge t → c of the graph, with the consumer's indices named apart from t's."""

    definition: Definition
    value: Access
    partial: Partial
    summed: tuple[Index, ...]
    to_loss: bool

    @staticmethod
    def make(definition: Definition, tensor: Tensor, indices: tuple[Index, ...], to_loss: bool) -> _Link:
        keep = shared_prefix(definition, tensor)
        taken = {i.name for i in indices}
        own: list[Index] = list(indices[:keep])
        for index in definition.indices[keep:]:
            new = fresh_index(index.range, taken, prefer=index.name)
            taken.add(new.name)
            own.append(new)
        value = Access(definition.target, tuple(own))
        return _Link(definition, value, Partial(value, Access(tensor, indices)), tuple(own[keep:]), to_loss)

    def term(self, derivative: Expr) -> Expr:
        """The consumer's adjoint times a derivative; the loss's own adjoint is 1 and not written."""
        return derivative if self.to_loss else multiply((self.upstream, derivative))

    @property
    def upstream(self) -> Access:
        """The adjoint of the consumer."""
        return Access(self.value.tensor.adjoint, self.value.indices)


@dataclass(frozen=True, slots=True)
class _Chain:
    """The chain rule for one tensor."""

    target: Access
    tensor: Tensor
    links: list[_Link]

    def work_out(self) -> tuple[Definition, list[Stage]]:
        stages: list[Stage] = []
        locals_: list[Expr] = []
        contributions: list[Expr] = []
        written: list[Expr] = []
        per_part: list[Stage] = []
        for link in self.links:
            derivative, steps = local_derivative(link.definition, link.partial)
            title = f"How {link.value.tensor.name} changes with {self.tensor.name}"
            stages.append(Stage("local", title, link.partial, tuple(steps)))
            locals_.append(derivative)
            chain, contribution, part = self._contribution(link, derivative)
            written.append(chain)
            contributions.append(contribution)
            per_part.extend(part)
        return self._assemble(stages, written, locals_, contributions, per_part)

    def _contribution(self, link: _Link, derivative: Expr) -> tuple[Expr, Expr, list[Stage]]:
        """The link's term of the chain rule as written, its value, and the stage for one survivor."""
        flat = _summed(link.summed, link.term(derivative))
        value, used = settle(flat)
        gone = {c.index.name.split("#")[0] for c in used}
        collapsed = tuple(i for i in link.summed if i.name in gone)
        survivors = tuple(i for i in link.summed if i.name not in gone)
        inner = _summed(collapsed, link.term(link.partial))
        chain = _summed(survivors, inner)
        if not (survivors and collapsed) or derivative is ZERO:
            return chain, value, []
        inserted = _summed(collapsed, link.term(derivative))
        one, used = settle(inserted)
        steps = [
            Step(inner, inserted, "substitute", "local derivative put in"),
            Step(inserted, one, "contract-indicator", "; ".join(dict.fromkeys(c.because for c in used))),
        ]
        title = f"The part of {over(survivors, each=True)}"
        return chain, value, [Stage("part", title, inner, tuple(steps))]

    def _assemble(
        self,
        local: list[Stage],
        written: list[Expr],
        locals_: list[Expr],
        contributions: list[Expr],
        parts: list[Stage],
    ) -> tuple[Definition, list[Stage]]:
        first = add(tuple(written))
        name = tensor_name(self.tensor)
        reason = self._chain_reason()
        chain = Stage(
            "chain", f"The gradient of {name}", self.target,
            (Step(self.target, first, "chain-rule", reason, milestone=True),),
        )  # fmt: skip
        terms = [c for c in contributions if c is not ZERO]
        last = tidy(add(tuple(terms))) if terms else ZERO
        steps = self._closing_steps(first, locals_, last, bool(parts))
        direct = len(self.links) == 1 and self.links[0].to_loss
        stages = [*local, *parts] if direct else [chain, *local, *parts]
        title = f"The gradient of {name}" if direct else f"So the gradient of {name} is"
        stages.append(Stage("adjoint", title, self.target, tuple(steps)))
        indices = tuple(i for i in self.target.indices if isinstance(i, Index))
        return Definition(self.tensor.adjoint, indices, last), stages

    def _chain_reason(self) -> str:
        names = [link.value.tensor.name for link in self.links]
        if len(self.links) == 1 and self.links[0].to_loss:
            return f"{self.tensor.name} stands in the formula of the loss itself"
        through = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"{self.tensor.name} acts on L through {through}" + (
            " only" if len(names) == 1 else ": add the paths"
        )

    def _closing_steps(self, first: Expr, locals_: list[Expr], last: Expr, parted: bool) -> list[Step]:
        """From the chain rule's line to the result."""
        inserted_terms = [
            _summed(link.summed, link.term(d))
            for link, d in zip(self.links, locals_, strict=True)
            if d is not ZERO
        ]
        inserted = add(tuple(inserted_terms)) if inserted_terms else ZERO
        if parted and len(self.links) == 1:
            survivors = first.indices if isinstance(first, Sum) else ()
            return [Step(first, last, "sum-over-parts", f"the total adds {over(survivors)}", milestone=True)]
        if len(self.links) == 1 and self.links[0].to_loss:
            because = f"{self.links[0].value.tensor.name} is the loss itself"
            return [Step(self.target, last, "loss", because, milestone=True)]
        steps = []
        if inserted is not first:
            steps.append(Step(first, inserted, "substitute", "local derivatives put in"))
        if canonical(inserted) is not canonical(last) or not steps:
            _, used = settle(inserted)
            because = "; ".join(dict.fromkeys(c.because for c in used)) or "in order"
            rule = "contract-indicator" if used else "arithmetic"
            steps.append(Step(inserted, last, rule, because, minor=not used, milestone=bool(used)))
        return steps


def _summed(indices: tuple[Index, ...], body: Expr) -> Expr:
    return Sum(indices, body) if indices else body
