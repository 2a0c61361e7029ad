"""Sizes of test points: small, greater than one, distinct where there are few of them, and such that
every derived range exists and every affine index falls inside its axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product

import numpy as np

from chalkgrad.errors import VerificationError
from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Program,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import children, free_indices, tensors_in, walk
from chalkgrad.verify.environment import Environment, whole_size
from chalkgrad.verify.labels import FEWEST_LABELS, compared_ranges, label_values, selected_ranges
from chalkgrad.verify.reference import evaluate

LARGEST = 64
"""So many entries at most has an array while sizes are distinct; larger ones take sizes 2 and 3 only."""

FARTHEST = 12
"""So much at most a size is changed at once for the sake of an equation between sizes."""

ComputedAccess = tuple[Access, list[tuple[Range, Expr]]]
"""An access, and the axes that it reads at a computed place."""

WIDENINGS = 60
"""Steps before a set of sizes is given up."""


def draw_sizes(
    program: Program, rng: np.random.Generator, given: Mapping[Range, int] | None = None
) -> dict[Range, int]:
    """The size of every symbolic range.

    Args:
        program: Its derived ranges (`Program.sizes`) get the size that follows from the others.
        rng: Chooses which range is larger.
        given: Sizes taken as they are.

    Raises:
        VerificationError: No sizes were found at which all derived ranges exist.
    """
    derived = {r for r, _ in program.sizes}
    free, accesses = _asked_for(program)
    count = max(len(free), 4)
    drawn = rng.permutation(np.arange(2, 2 + count))
    sizes = {r: int(n) for r, n in zip(free, drawn, strict=False)}
    distinct = max((_entries(t, sizes) for t in program.tensors()), default=1) <= LARGEST
    if not distinct:
        sizes = {r: 2 + n % 2 for r, n in sizes.items()}
    _widen_labels(program, sizes)
    _make_room_for_classes(program, sizes)
    given = given or {}
    sizes.update({r: n for r, n in given.items() if r not in derived})
    for _ in range(WIDENINGS):
        complete = _complete(program, sizes)
        short = next((r for r in derived if complete[r] < 2), None)
        if short is not None:
            _enlarge(short, program, sizes, given)
            continue
        if _wrong(program, complete):
            _make_equal(program, sizes, given, distinct)
            continue
        wide = next((found for a, at in accesses if (found := _too_narrow(a, at, complete))), None)
        wide = wide or _too_few_labels(program, complete, given)
        if wide is None:
            return complete
        axis, needed = wide
        if axis in derived:
            _enlarge(axis, program, sizes, given)
        elif axis in given:
            break
        else:
            taken = {n for r, n in sizes.items() if r is not axis} if distinct else set()
            sizes[axis] = next(n for n in range(needed, needed + len(taken) + 1) if n not in taken)
    raise VerificationError(
        f"no sizes were found at which all axes of {program.name} fit together",
        hint="Does every affine index stay inside its axis for the declared sizes?",
    )


@lru_cache(64)
def _asked_for(program: Program) -> tuple[tuple[Range, ...], tuple[ComputedAccess, ...]]:
    """The ranges that need a size, and the accesses that need room."""
    derived = {r for r, _ in program.sizes}
    free = tuple(r for r in _ranges(program) if r.size is None and r not in derived)
    read = (a for d in program.definitions for a in _unguarded(d.body, frozenset()))
    return free, tuple((a, at) for a in read if (at := _indices(a)))


def _entries(tensor: Tensor, sizes: Mapping[Range, int]) -> int:
    """How many entries the tensor has; a derived axis counts as two."""
    return math.prod(r.size if r.size is not None else sizes.get(r, 2) for r in tensor.axes)


def _ranges(program: Program) -> Iterator[Range]:
    """The program's ranges, those of indices and sizes included, each once."""
    found = dict.fromkeys(program.ranges())
    formulas = [*(d.body for d in program.definitions), *(e for _, e in program.sizes)]
    for formula in formulas:
        for node in walk(formula):
            if isinstance(node, Index | Size):
                found.setdefault(node.range)
            if isinstance(node, Sum | Reduce | Opaque):
                found.update(dict.fromkeys(i.range for i in node.indices))
    yield from found


def _complete(program: Program, sizes: Mapping[Range, int]) -> dict[Range, int]:
    found = dict(sizes)
    for of, formula in program.sizes:
        found[of] = whole_size(formula, found)
    return found


def _enlarge(short: Range, program: Program, sizes: dict[Range, int], given: Mapping[Range, int]) -> None:
    """The free size that makes a derived one larger soonest, enlarged."""
    before = _complete(program, sizes)[short]
    for by in range(1, 9):
        for of, size in sizes.items():
            moved = {**sizes} if of in given else {**sizes, of: size + by}
            if _complete(program, moved)[short] > before:
                sizes.update(moved)
                return
    raise VerificationError(f"the size of the range {short} in {program.name} cannot be made larger")


def _wrong(program: Program, complete: Mapping[Range, int]) -> int:
    """How many of the sizes that must come out equal do not."""
    return sum(whole_size(one, complete) != whole_size(other, complete) for one, other in program.equal_sizes)


def _make_equal(
    program: Program, sizes: dict[Range, int], given: Mapping[Range, int], distinct: bool
) -> None:
    """The free size changed that makes more sizes equal that must be: to a multiple of three heads, say."""
    wrong = _wrong(program, _complete(program, sizes))
    for by in sorted(range(-FARTHEST, FARTHEST + 1), key=lambda by: (abs(by), -by)):
        for of, size in sizes.items():
            moved = {**sizes, of: size + by}
            repeats = distinct and len(set(moved.values())) < len(set(sizes.values()))
            if of in given or size + by < 2 or repeats:
                continue
            if _wrong(program, _complete(program, moved)) < wrong:
                sizes.update(moved)
                return
    asked = " and ".join(f"{one} = {other}" for one, other in program.equal_sizes)
    raise VerificationError(f"no sizes were found at which {program.name} has {asked}")


def _unguarded(e: Expr, guarded: frozenset[Index]) -> Iterator[Access]:
    """The accesses that are read for all values of their indices: no factor 1(...) or where(...) around
    them looks at one of these, so all places must exist."""
    match e:
        case Access(_, indices):
            if not any(free_indices(i) & guarded for i in indices):
                yield e
        case Mul(factors):
            guards = (f for f in factors if isinstance(f, Indicator))
            guarded = guarded.union(*map(free_indices, guards))
        case Apply("where", (condition, *_)):
            guarded |= free_indices(condition)
    for kid in children(e):
        yield from _unguarded(kid, guarded)


def _indices(access: Access) -> list[tuple[Range, Expr]]:
    """The axes that are read at a computed place without a gather."""
    pairs = zip(access.tensor.axes, access.indices, strict=True)
    return [
        (r, i) for r, i in pairs if not isinstance(i, Index) and not tensors_in(i) and not _is_place(i, r)
    ]


def _is_place(index: Expr, axis: Range) -> bool:
    """Whether an index is the number of a place that the axis always has."""
    return isinstance(index, Const) and axis.size is not None and index.value in range(axis.size)


def _too_narrow(
    access: Access, at: list[tuple[Range, Expr]], sizes: Mapping[Range, int]
) -> tuple[Range, int] | None:
    """An axis that an index leaves, with the size that the index needs."""
    for axis, index in at:
        free = tuple(sorted(free_indices(index), key=lambda i: i.name))
        places = evaluate(index, free, Environment(sizes, {}))
        needed = int(places.max()) + 1
        if places.min() < 0 or (axis.size is not None and needed > axis.size):
            raise VerificationError(f"{access} reads outside of {access.tensor}, at {index}")
        if axis.size is None and needed > sizes[axis]:
            return axis, needed
    return None


# --- labels ----------------------------------------------------------------------------------------


def _widen_labels(program: Program, sizes: dict[Range, int]) -> None:
    """No range of labels has size 2: the labels 0 and 1 equal their own squares and products."""
    whole = [t for t in program.inputs if t.dtype == "int"]
    # A dict and not a set: the order of a set of nodes differs from run to run.
    labelled = dict.fromkeys(r for t in whole for r in selected_ranges(t, program))
    for narrow in [r for r in labelled if sizes.get(r) == 2]:
        other = next((r for r in sizes if r not in labelled), None)
        sizes[narrow] = sizes[other] if other is not None else max(sizes.values()) + 1
        if other is not None:
            sizes[other] = 2


def _make_room_for_classes(program: Program, sizes: dict[Range, int]) -> None:
    """As many places as classes where labels are compared with a class: each mean is of somebody then."""
    for t in program.inputs:
        for classes in compared_ranges(t, program) if t.dtype == "int" and len(t.axes) == 1 else ():
            own, needed = t.axes[0], classes.size or sizes.get(classes, 0)
            if sizes.get(own, needed) < needed:
                taken = set(sizes.values())
                sizes[own] = next(n for n in range(needed, needed + len(taken) + 1) if n not in taken)


def _too_few_labels(
    program: Program, sizes: Mapping[Range, int], given: Mapping[Range, int]
) -> tuple[Range, int] | None:
    """An axis that labels choose from by 2 y + 1, say, and a size at which there are more to choose."""
    fixed = {*given, *(r for r, _ in program.sizes)}
    for t in program.inputs:
        few = label_values(t, program, tuple(sizes.items())) if t.dtype == "int" else ()
        if not 0 < len(few) < FEWEST_LABELS:
            continue
        free = (r for r in selected_ranges(t, program) if r.size is None and r not in fixed)
        for r, by in product(free, range(1, FARTHEST)):
            more = {**sizes, r: sizes[r] + by}
            if len(label_values(t, program, tuple(more.items()))) > len(few):
                return r, more[r]
    return None
