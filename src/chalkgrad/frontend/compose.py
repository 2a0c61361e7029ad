"""Layers one after the other: each stage's first input is the output of the stage before.

    chain(affine, relu, affine, softmax_loss)    has the inputs    x, W1, b1, W2, b2, y

Names that clash are numbered by occurrence. Ranges are unified by position; where several stages bring
in a range of one name, the last keeps it and the earlier ones are hidden: H, or H1, H2, … .
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.expr.nodes import Expr, Program, Range, Tensor
from chalkgrad.frontend.relabel import one_letter_names, relabel
from chalkgrad.frontend.sizes import Sizes, all_ranges, in_order, size_form, with_ranges

Slot = tuple[int, Range]
"""A range as one stage knows it."""


def chain(programs: Sequence[Program], name: str = "chain") -> Program:
    """The program that feeds each stage's first output to the next stage's first input.

    Args:
        programs: The stages in order.
        name: What the composed layer is called.

    Raises:
        ShapeError: An output with another number of axes than the next input, or other fixed sizes.
        UnsupportedError: No stages, or a float output for an integer input.
    """
    if not programs:
        raise UnsupportedError("A chain needs at least one layer.", hint="chain(affine, relu)")
    stages = tuple(programs)
    _check(stages)
    classes = _unify(stages)
    ranges = _range_names(stages, classes)
    tensors = _tensors(stages, ranges)
    avoid = one_letter_names(tuple(tensors.values()))
    inputs, parameters, definitions = [], [], []
    for at, stage in enumerate(stages):
        mapping = {t: tensors[at, t] for t in stage.tensors()}
        inputs += [mapping[t] for t in _own_inputs(stages, at)]
        parameters += [(mapping[t], default) for t, default in stage.parameters]
        of = {r: ranges[at, r] for r in all_ranges(stage)}
        definitions += [relabel(d, mapping[d.target], mapping, of, avoid) for d in stage.definitions]
    outputs = tuple(tensors[len(stages) - 1, t] for t in stages[-1].outputs)
    sizes = _sizes(stages, ranges)
    equal = _equal_sizes(stages, ranges)
    return Program(name, tuple(inputs), tuple(parameters), tuple(definitions), outputs, sizes, equal)


def _sizes(stages: Sequence[Program], ranges: Mapping[Slot, Range]) -> Sizes:
    """The derived ranges of all stages as the composed layer knows them."""
    found = []
    for at, stage in enumerate(stages):
        mine = {r: ranges[at, r] for r in all_ranges(stage)}
        found += [(mine[of], size_form(with_ranges(size, mine))) for of, size in stage.sizes]
    return in_order(found)


def _equal_sizes(stages: Sequence[Program], ranges: Mapping[Slot, Range]) -> tuple[tuple[Expr, Expr], ...]:
    """What the stages require of their sizes, of those that the composed layer knows."""
    found = []
    for at, stage in enumerate(stages):
        mine = {r: ranges[at, r] for r in all_ranges(stage)}
        found += [
            (size_form(with_ranges(a, mine)), size_form(with_ranges(b, mine))) for a, b in stage.equal_sizes
        ]
    return tuple(dict.fromkeys(found))


def _own_inputs(stages: Sequence[Program], at: int) -> tuple[Tensor, ...]:
    """The inputs that the composed layer keeps."""
    return stages[at].inputs[1 if at else 0 :]


def _check(stages: Sequence[Program]) -> None:
    for before, after in pairwise(stages):
        if not after.inputs:
            raise UnsupportedError(f"{after.name} has no input to connect with {before.name}.")
        given, wanted = before.outputs[0], after.inputs[0]
        if len(given.axes) != len(wanted.axes):
            raise ShapeError(
                f"{before.name} gives {given} with {len(given.axes)} axes, but {after.name} takes {wanted} "
                f"with {len(wanted.axes)}.",
                hint=f"Put a layer between {before.name} and {after.name} that changes the axes.",
            )
        if given.dtype != wanted.dtype and wanted.dtype != "float":
            raise UnsupportedError(
                f"{before.name} gives {given} of type {given.dtype}, but {after.name} takes {wanted} of type "
                f"{wanted.dtype}."
            )


# --- ranges ----------------------------------------------------------------------------------------


def _unify(stages: Sequence[Program]) -> dict[Slot, Slot]:
    """Each stage's range with its representative: the first stage's range that it is the same as."""
    parent: dict[Slot, Slot] = {(at, r): (at, r) for at, s in enumerate(stages) for r in all_ranges(s)}

    def find(slot: Slot) -> Slot:
        while parent[slot] != slot:
            slot = parent[slot]
        return slot

    for at in range(1, len(stages)):
        pairs = zip(stages[at - 1].outputs[0].axes, stages[at].inputs[0].axes, strict=True)
        for given, wanted in pairs:
            a, b = sorted((find((at - 1, given)), find((at, wanted))), key=lambda s: s[0])
            sizes = {s[1].size for s in (a, b)} - {None}
            if len(sizes) > 1:
                raise ShapeError(
                    f"{stages[at - 1].name} gives the axis {given} and {stages[at].name} takes {wanted}: "
                    "their sizes differ."
                )
            if a != b:
                # A fixed size holds for the whole class.
                keep, drop = (b, a) if a[1].size is None and b[1].size is not None else (a, b)
                parent[drop] = keep
    return {slot: find(slot) for slot in parent}


def _range_names(stages: Sequence[Program], classes: Mapping[Slot, Slot]) -> dict[Slot, Range]:
    """The range of each class: its own name if no later stage brings in the same one, else hidden."""
    order = list(dict.fromkeys(classes[at, r] for at, s in enumerate(stages) for r in all_ranges(s)))
    last = {slot[1].name: slot for slot in order}
    hidden = [slot for slot in order if last[slot[1].name] != slot]
    taken = set(last)
    found: dict[Slot, Range] = {slot: slot[1] for slot in last.values()}
    for number, slot in enumerate(hidden, 1):
        name = "H" if len(hidden) == 1 else f"H{number}"
        while name in taken:
            name += "′"
        taken.add(name)
        found[slot] = Range(name, slot[1].size)
    return {slot: found[representative] for slot, representative in classes.items()}


# --- names -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor that needs a name in the composed layer."""

    at: int
    tensor: Tensor


def _tensors(stages: Sequence[Program], ranges: Mapping[Slot, Range]) -> dict[tuple[int, Tensor], Tensor]:
    """Each stage's tensors as the composed layer knows them, names numbered where they clash."""
    entries = []
    for at, stage in enumerate(stages):
        own = (
            *_own_inputs(stages, at),
            *(t for t, _ in stage.parameters),
            *(d.target for d in stage.definitions),
        )
        entries += [_Entry(at, t) for t in own]
    clashes = Counter(entry.tensor.name for entry in entries)
    taken = {name for name, count in clashes.items() if count == 1}
    seen: Counter[str] = Counter()
    found: dict[tuple[int, Tensor], Tensor] = {}
    for entry in entries:
        old = entry.tensor
        name = old.name
        while clashes[old.name] > 1 and (name == old.name or name in taken):
            seen[old.name] += 1
            name = f"{old.name}{seen[old.name]}"
        taken.add(name)
        axes = tuple(ranges[entry.at, r] for r in old.axes)
        found[entry.at, old] = Tensor(name, axes, old.dtype, old.role)
    for at in range(1, len(stages)):
        found[at, stages[at].inputs[0]] = found[at - 1, stages[at - 1].outputs[0]]
    return found
