"""A program and its backward as straight-line array code: what is computed, in which order, and
which forward values the backward needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from chalkgrad.derivation import Backward
from chalkgrad.emit.arrays import (
    Array,
    Clamp,
    Crop,
    Loop,
    Positions,
    SizeOf,
    Slot,
    Spread,
    Statement,
    Window,
    Zeros,
    arrays_of,
    parts,
)
from chalkgrad.emit.cost import Cost, total
from chalkgrad.emit.guarded import guarded
from chalkgrad.emit.kept import keep_values, reading
from chalkgrad.emit.outside import without_poles
from chalkgrad.emit.rescale import rescale
from chalkgrad.emit.share import live, share
from chalkgrad.emit.statements import statements
from chalkgrad.emit.untaken import without_overflow
from chalkgrad.errors import DerivationError
from chalkgrad.expr.guarded import sizes_known
from chalkgrad.expr.linear import sizes_in
from chalkgrad.expr.nodes import ONE, Access, Add, Const, Definition, Expr, Mul, Program, Range, Sum, Tensor
from chalkgrad.expr.ops import map_children, tensors_in


@dataclass(frozen=True, slots=True)
class Line:
    """One definition, the statements that compute it, and the equation shown beside them."""

    definition: Definition
    statements: tuple[Statement, ...]
    shown: Definition


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a dialect needs to write the forward and the backward function.

    Attributes:
        program: The forward pass.
        forward, backward: The live definitions with their statements, in order.
        saved: What the forward hands to the backward: inputs, parameters, then values.
        upstream: The derivative by each output, the backward's arguments.
        gradients: The derivative by each input in order, None where there is none.
    """

    program: Program
    forward: tuple[Line, ...]
    backward: tuple[Line, ...]
    saved: tuple[Tensor, ...]
    upstream: tuple[Tensor, ...]
    gradients: tuple[Tensor | None, ...]


def plan(program: Program, backward: Backward) -> Plan:
    """The array code of a program and its backward.

    Raises:
        DerivationError: When a wanted gradient is not defined, or a value is read that nothing gives.
        UnsupportedError: When a construct has no array code.
    """
    with sizes_known(program):
        return _plan(program, backward)


def _plan(program: Program, backward: Backward) -> Plan:
    wanted = tuple(backward.wanted)
    derivation = rescale(backward.definitions, wanted, program.tensors())
    # Before anything gets a name of its own: it would lose the guards that it stands beside.
    scaled = [without_poles(d) for d in _adjoint_definitions(program, derivation)]
    program = replace(program, definitions=tuple(without_poles(d) for d in program.definitions))
    program, values = keep_values(program, scaled, wanted)
    derivation = reading(derivation, values)
    program, finite = guarded(program, reading(scaled, values))
    adjoints = live(share(finite, wanted), wanted)
    upstream = tuple(t.adjoint for t in program.outputs)
    _check(adjoints, wanted, program, upstream)
    derived = {d.target: _shown(d, upstream) for d in derivation}
    lines = tuple(Line(d, statements(d, own=d.target in wanted), derived.get(d.target, d)) for d in adjoints)
    kept = _saved(program, lines, upstream)
    held = without_overflow(program).definitions
    values = live(share(held, program.outputs + kept), (*program.outputs, *kept))
    forward = tuple(Line(d, statements(d, own=d.target in program.outputs), d) for d in values)
    gradients = tuple(t.adjoint if t.adjoint in wanted else None for t in program.inputs)
    return Plan(program, forward, lines, kept, upstream, gradients)


def saved(program: Program, backward: Backward) -> tuple[Tensor, ...]:
    """The inputs, parameters and forward values that the backward's code reads, and nothing else."""
    return plan(program, backward).saved


def backward_cost(p: Plan) -> Cost:
    """The cost of the backward that a plan's code runs."""
    return total(s for line in p.backward for s in line.statements)


def _adjoint_definitions(program: Program, derivation: Sequence[Definition]) -> tuple[Definition, ...]:
    """The derivation's definitions, linear in the upstream gradient."""
    upstream = {t.adjoint for t in program.outputs}
    definitions = tuple(d for d in derivation if not _given(d, upstream))
    if len(program.outputs) == 1 and not program.outputs[0].axes:
        definitions = _scaled(definitions, program.outputs[0].adjoint)
    return definitions


def _given(d: Definition, upstream: set[Tensor]) -> bool:
    """Whether the line only says dL/dL = 1, which the caller of the backward gives."""
    return d.target in upstream and isinstance(d.body, Const) and d.body.value == 1


def _scaled(definitions: Sequence[Definition], given: Tensor) -> tuple[Definition, ...]:
    """Terms without any derivative stand for dL/dL = 1 times themselves: write that factor.

    A derivation of a scalar loss sets dL/dL = 1; the code takes it as an argument, so that a loss
    inside a larger computation gets the right gradient too.
    """
    if any(given in tensors_in(d.body) for d in definitions):
        return tuple(definitions)
    linear = {given}
    result = []
    for d in definitions:
        body = d.body
        if d.target.role == "adjoint":
            body = _times(body, Access(given, ()), linear)
        if tensors_in(body) & linear:
            linear.add(d.target)
        result.append(Definition(d.target, d.indices, body))
    return tuple(result)


def _times(e: Expr, factor: Expr, linear: set[Tensor]) -> Expr:
    """`e` with `factor` in each term that reads nothing of `linear`."""
    if not tensors_in(e) & linear:
        if isinstance(e, Const) and e.value == 0:
            return e
        return Mul((factor, *(e.factors if isinstance(e, Mul) else (e,))))
    match e:
        case Add(terms):
            return Add(tuple(_times(t, factor, linear) for t in terms))
        case Mul(factors):
            return Mul(tuple(_times(f, factor, linear) if tensors_in(f) & linear else f for f in factors))
        case Sum(indices, body):
            return Sum(indices, _times(body, factor, linear))
    return e


def _shown(d: Definition, upstream: Sequence[Tensor]) -> Definition:
    """The equation for the comment: ∂L/∂L is 1 there, though the code takes it as an argument."""
    scalars = {t for t in upstream if not t.axes}

    def without(e: Expr) -> Expr:
        if isinstance(e, Access) and e.tensor in scalars:
            return ONE
        if isinstance(e, Mul):
            kept = tuple(without(f) for f in e.factors if not (isinstance(f, Access) and f.tensor in scalars))
            return kept[0] if len(kept) == 1 else Mul(kept)
        return map_children(e, without)

    if len(upstream) > 1 or not scalars & tensors_in(d.body):
        return d
    return Definition(d.target, d.indices, without(d.body))


def _check(
    definitions: Sequence[Definition], wanted: Sequence[Tensor], program: Program, upstream: Sequence[Tensor]
) -> None:
    known = {*program.tensors(), *upstream}
    for d in definitions:
        unknown = sorted(str(t) for t in tensors_in(d.body) - known)
        if unknown:
            raise DerivationError(f"{d} reads {unknown[0]}, which nothing before it defines")
        known.add(d.target)
    for t in wanted:
        if t not in known:
            raise DerivationError(f"the backward does not define {t!r}, which was asked for")


def _saved(program: Program, lines: Sequence[Line], upstream: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Tensors of the forward that the backward reads, and an input for each size it cannot see."""
    own = {line.definition.target for line in lines}
    read = frozenset().union(*(tensors_in(line.definition.body) for line in lines)) - own
    chosen = [t for t in program.tensors() if t in read]
    for missing in _read_off(_sizes(lines), program, (*chosen, *upstream)):
        if any(missing in t.axes for t in (*chosen, *upstream)):
            continue
        holders = [t for t in program.inputs if missing in t.axes]
        if not holders:
            raise DerivationError(f"the size of {missing} cannot be read off any input of {program.name}")
        chosen.append(min(holders, key=lambda t: len(t.axes)))
    return tuple(t for t in program.tensors() if t in chosen)


def _read_off(wanted: Iterable[Range], program: Program, visible: Sequence[Tensor]) -> Iterator[Range]:
    """The ranges whose sizes must be read off an array: those wanted, or what they follow from."""
    derived = dict(program.sizes)
    for of in wanted:
        if of in derived and not any(of in t.axes for t in visible):
            yield from _read_off(sizes_in(derived[of]), program, visible)
        else:
            yield of


def _sizes(lines: Sequence[Line]) -> tuple[Range, ...]:
    """The symbolic ranges whose sizes the statements may name."""
    found: dict[Range, None] = {}
    for line in lines:
        for s in line.statements:
            match s:
                case Zeros(_, axes, _):
                    found.update(dict.fromkeys(i.range for i in axes))
                case Loop(_, counters, slots, _, axes, _, _):
                    found.update(dict.fromkeys(c.tensor.axes[0] for c in counters))
                    found.update(dict.fromkeys(i.range for i in axes))
                    found.update(dict.fromkeys(r for slot in slots for r in _slot_sizes(slot)))
                case Crop(_, _, frame):
                    found.update(dict.fromkeys(r for slot in frame for r in _slot_sizes(slot)))
            stack: list[Array] = list(arrays_of(s))
            while stack:
                a = stack.pop()
                stack.extend(parts(a))
                match a:
                    case SizeOf(of) | Clamp(_, of, _):
                        found[of] = None
                    case Positions(index, _):
                        found[index.range] = None
                    case Spread(_, axes):
                        found.update(dict.fromkeys(i.range for i in axes))
                    case Window(_, slots, _):
                        found.update(dict.fromkeys(r for slot in slots for r in _slot_sizes(slot)))
    return tuple(r for r in found if r.size is None)


def _slot_sizes(s: Slot) -> Iterator[Range]:
    """The ranges that a slice or a window may name: its axis, its indices, what bounds it."""
    yield s.axis
    yield from (i.range for i in (s.outer, s.inner) if i is not None)
    for atom, _ in (*s.start, *s.high):
        if atom is not None:
            yield from sizes_in(atom)
