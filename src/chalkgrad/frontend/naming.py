"""From a finished trace to a `Program`: which values get a definition, and what they are called.

A value becomes a definition when a local variable holds it, when it is used more than once, or when it
is returned; any other is written into the formula that uses it. Names are the user's. Made-up ones say
what the value is: e for an exponential, s for a sum, m for a mean or an extremum, t otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Definition,
    Expr,
    Index,
    Mul,
    Opaque,
    Pow,
    Program,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import inline, tensors_in, walk
from chalkgrad.frontend.build import with_clips
from chalkgrad.frontend.recorder import Recorder, Temporary
from chalkgrad.frontend.relabel import one_letter_names, relabel
from chalkgrad.frontend.traced import TracedArray

DEEPEST = 30
"""So many operations at most are written into one formula, however few names a loop gives."""


@dataclass(slots=True)
class Names:
    """Names in use; a clash is numbered: s, s2, s3."""

    taken: set[str] = field(default_factory=set)

    def unique(self, wanted: str) -> str:
        """The wanted name, or the first free one with a number; taken from now on."""
        name, number = wanted, 2
        while name in self.taken:
            name, number = f"{wanted}{number}", number + 1
        self.taken.add(name)
        return name


ONE_PLACE = Range("1", 1)


def assemble(
    recorder: Recorder,
    inputs: Sequence[Tensor],
    parameters: Sequence[tuple[Tensor, float]],
    results: Sequence[TracedArray],
) -> Program:
    """The program that computes the results.

    Raises:
        UnsupportedError: A result that does not depend on any input.
    """
    outputs = _outputs(recorder, results, frozenset(inputs))
    live = _live(recorder, outputs)
    called = _local_names(recorder)
    defined = _defined(live, outputs, called)
    bodies = _inlined(live, defined)
    kept = [t for t in live if t.target in defined]
    names = _names(kept, bodies, called, outputs, {t.name for t in (*inputs, *(p for p, _ in parameters))})
    tensors = {t.target: Tensor(names[t.target], t.target.axes, t.target.dtype, "value") for t in kept}
    avoid = one_letter_names((*inputs, *(p for p, _ in parameters), *tensors.values()))
    definitions = tuple(
        relabel(Definition(t.target, t.indices, bodies[t.target]), tensors[t.target], tensors, {}, avoid)
        for t in kept
    )
    returned = tuple(tensors[o] for o in outputs)
    sizes = recorder.sizes_of(_ranges(inputs, definitions))
    equal = tuple(recorder.equal_sizes)
    return Program(recorder.name, tuple(inputs), tuple(parameters), definitions, returned, sizes, equal)


def _ranges(inputs: Sequence[Tensor], definitions: Sequence[Definition]) -> set[Range]:
    """Every range of an axis, an index or a size."""
    found = {r for t in inputs for r in t.axes}
    for definition in definitions:
        found.update(definition.target.axes)
        for node in walk(definition.body):
            if isinstance(node, Size | Index):
                found.add(node.range)
            if isinstance(node, Sum | Reduce | Opaque):
                found.update(i.range for i in node.indices)
    return found


def _outputs(
    recorder: Recorder, results: Sequence[TracedArray], inputs: frozenset[Tensor]
) -> tuple[Tensor, ...]:
    """The recorded value of each result; a view or a repeated result becomes a value of its own."""
    outputs: list[Tensor] = []
    for result in results:
        value = None if None in result.axes else result.as_value()
        if value is None or value in outputs:
            # An axis of length one is returned as an axis over a range of that size.
            axes = tuple(recorder.fresh(ONE_PLACE) if axis is None else axis for axis in result.axes)
            value = recorder.define(result.body, axes, result.kind).tensor
        outputs.append(value)
        if not _reaches(recorder, value, inputs):
            raise UnsupportedError(
                f"{recorder.name} returns {result!r}, which does not depend on any argument.",
                hint="Return a value computed from the annotated arguments.",
            )
    return tuple(outputs)


def _reaches(recorder: Recorder, value: Tensor, inputs: frozenset[Tensor]) -> bool:
    """Whether a value is made from an input; a long loop's values are too many for a recursion."""
    seen, pending = {value}, [value]
    while pending:
        read = tensors_in(recorder.temporaries[pending.pop()].body) - seen
        if not read.isdisjoint(inputs):
            return True
        seen |= read
        pending += [t for t in read if t in recorder.temporaries]
    return False


def _live(recorder: Recorder, outputs: Sequence[Tensor]) -> list[Temporary]:
    """The values that the outputs need, each before its uses."""
    needed = set(outputs)
    for temporary in reversed(recorder.temporaries.values()):
        if temporary.target in needed:
            needed |= tensors_in(temporary.body)
    return [t for t in recorder.temporaries.values() if t.target in needed]


def _local_names(recorder: Recorder) -> dict[Tensor, str]:
    """What the user's local variables call the values."""
    called: dict[Tensor, str] = {}
    for name, local in recorder.locals().items():
        if isinstance(local, TracedArray) and local.recorder is recorder and name.strip("_"):
            value = local.as_value()
            if value is not None:
                called.setdefault(value, name)
    return called


def _defined(live: Sequence[Temporary], outputs: Sequence[Tensor], called: dict[Tensor, str]) -> set[Tensor]:
    """The values that get a definition of their own."""
    uses = Counter(e.tensor for t in live for e in walk(t.body) if isinstance(e, Access))
    recorded = {t.target for t in live}
    defined = set(outputs)
    depth: dict[Tensor, int] = {}
    for t in live:
        read = tensors_in(t.body) & recorded
        depth[t.target] = 1 + max((depth[r] for r in read - defined), default=0)
        shared = uses[t.target] > 1 and not (isinstance(t.body, Access) and not read)
        if t.kept or t.target in called or shared or depth[t.target] >= DEEPEST:
            defined.add(t.target)
    return defined


def _inlined(live: Sequence[Temporary], defined: set[Tensor]) -> dict[Tensor, Expr]:
    """Each value's body with the values that get no definition written out."""
    bodies: dict[Tensor, Expr] = {}
    for t in live:
        body = t.body
        for other in live:
            if other.target not in defined and other.target in tensors_in(body):
                body = inline(body, Access(other.target, other.indices), bodies[other.target])
        bodies[t.target] = with_clips(body)
    return bodies


def _names(
    kept: Sequence[Temporary],
    bodies: dict[Tensor, Expr],
    called: dict[Tensor, str],
    outputs: Sequence[Tensor],
    taken: set[str],
) -> dict[Tensor, str]:
    """A name for each definition: the user's, the called layer's, a made-up one."""
    names = Names(set(taken))
    found: dict[Tensor, str] = {}
    for t in kept:
        if t.target in called and called[t.target] not in taken:
            found[t.target] = names.unique(called[t.target])
    # What is returned has the first claim on its name: a loss of a loss layer and a penalty is L again.
    for t in sorted(kept, key=lambda t: t.target not in outputs):
        if t.target in found:
            continue
        wanted = t.hint or called.get(t.target, "")
        if not wanted and t.target in outputs:
            wanted = "out" if t.target.axes else "L" if "L" not in names.taken else "loss"
        found[t.target] = names.unique(wanted or made_up_name(bodies[t.target]))
    return found


def made_up_name(body: Expr) -> str:
    """A short name that says what the value is."""
    match body:
        case Apply("exp", _):
            return "e"
        case Sum():
            return "s"
        case Reduce():
            return "m"
        case Mul((*weights, Sum())) if all(isinstance(w, Pow) and isinstance(w.base, Size) for w in weights):
            return "m"
    return "t"
