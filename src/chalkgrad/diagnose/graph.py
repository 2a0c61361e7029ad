"""The forward's graph: paths in words, statistics, activations, and factors that may be mistaken."""

from __future__ import annotations

from dataclasses import dataclass, field

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.words import Words, words
from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Pow,
    Program,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import free_indices, tensors_in, walk


@dataclass(frozen=True, slots=True)
class Graph:
    """What hypotheses need to know about a forward pass.

    Attributes:
        program: The forward pass.
        values: Inputs and forward values that are arrays of floats.
        factors: Forward values, masks and conditions as factors, with indices of their own.
        statistics: Means over an axis of the data.
        activations: Pairs of tensors, and whether the second is an activation of the first, as far as known.
    """

    program: Program
    values: tuple[Tensor, ...]
    factors: tuple[Expr, ...]
    statistics: tuple[Tensor, ...]
    activations: dict[tuple[Tensor, Tensor], bool] = field(default_factory=dict, compare=False)

    @staticmethod
    def of(derived: Derived) -> Graph:
        program = derived.program
        values = tuple(t for t in program.tensors() if t.dtype == "float" and t.axes)
        factors: list[Expr] = []
        for t in program.tensors():
            if t.dtype != "int":
                factors.append(Access(t, _letters(t, program)))
        conditions = {
            node: None
            for back in (derived.staged, derived.closed)
            for d in back.definitions
            for node in walk(d.body)
            if isinstance(node, Indicator) and free_indices(node)
        }
        factors += conditions
        return Graph(program, values, tuple(factors), tuple(_statistics(derived)))

    def activates(self, one: Tensor, other: Tensor) -> bool:
        """Whether one of two tensors is a nonlinear elementwise function of the other."""
        return self._activation(one, other) or self._activation(other, one)

    def _activation(self, before: Tensor, after: Tensor) -> bool:
        pair = (before, after)
        if pair not in self.activations:
            self.activations[pair] = self._nonlinear(before, after)
        return self.activations[pair]

    def _nonlinear(self, before: Tensor, after: Tensor) -> bool:
        """Whether `after` is a nonlinear function of `before` and of nothing else."""
        if before.axes != after.axes or before is after:
            return False
        functions: list[str] = []
        waiting, seen = [after], {before}
        while waiting:
            tensor = waiting.pop()
            own = self.program.definition(tensor.name)
            if tensor in seen or tensor.role == "parameter":
                continue
            if own is None or own.target is not tensor:
                return False  # another input
            seen.add(tensor)
            functions += [
                n.fn for n in walk(own.body) if isinstance(n, Apply) and n.fn not in ("sqrt", "sign")
            ]
            waiting += tensors_in(own.body)
        return bool(functions)

    def describe(self, d: Definition, term: Expr, is_path: bool) -> tuple[str, Words]:
        """The cause and the words if a term of an adjoint's formula is left out."""
        consumers = [t for t in tensors_in(term) if t.role == "adjoint"]
        others = {t for t in tensors_in(d.body) if t.role == "adjoint"}
        if is_path and len(consumers) == 1 and (len(others) > 1 or _defines(self.program, consumers[0])):
            through = next((t for t in self.program.tensors() if t.adjoint is consumers[0]), None)
            start = next((t for t in self.program.tensors() if t.adjoint is d.target), None)
            if through is not None and start is not None and len(others) > 1:
                return "missing_path", words(f"the path {self.path(start, through)} is missing")
        return "missing_term", words("the term ", term, " of ", d.target, " is missing")

    def path(self, start: Tensor, through: Tensor) -> str:
        """The path from an input by `start` and `through` to the output, in words: where it branches
        off, then all of it."""
        before = self._to_input(start)
        after = self._to_output(through)
        whole = [*before, start, through, *after]
        short = [whole[0], *dict.fromkeys(t for t in (start, through) if t is not whole[0]), *whole[-1:]]
        brief, full = (" → ".join(t.name for t in dict.fromkeys(p)) for p in (short, whole))
        return brief if brief == full else f"{brief} (in full: {full})"

    def _to_input(self, tensor: Tensor) -> list[Tensor]:
        own = self.program.definition(tensor.name)
        found: list[Tensor] = []
        while own is not None and own.target is tensor:
            read = [t for t in tensors_in(own.body) if t.dtype == "float" and t.role in ("input", "value")]
            if not read:
                break
            order = list(self.program.tensors())
            tensor = min(read, key=order.index)
            found.insert(0, tensor)
            own = self.program.definition(tensor.name)
        return found

    def _to_output(self, tensor: Tensor) -> list[Tensor]:
        found: list[Tensor] = []
        while tensor not in self.program.outputs:
            consumers = [d.target for d in self.program.definitions if tensor in tensors_in(d.body)]
            if not consumers:
                break
            tensor = consumers[-1]
            found.append(tensor)
        return found


def _letters(tensor: Tensor, program: Program) -> tuple[Index, ...]:
    own = program.definition(tensor.name)
    if own is not None and own.target is tensor:
        return own.indices
    return tuple(Index(f"@{place}", axis) for place, axis in enumerate(tensor.axes))


def _defines(program: Program, adjoint: Tensor) -> bool:
    return any(d.target.adjoint is adjoint for d in program.definitions)


def _statistics(derived: Derived) -> list[Tensor]:
    """Values that are a mean over an axis which the layer's output keeps."""
    axes = {r for t in derived.program.outputs for r in t.axes}
    found = []
    for d in derived.program.definitions:
        if d.target.dtype == "float" and d.target not in derived.program.outputs:
            averaged = {r for r in _averaged(d.body) if r in axes and r not in d.target.axes}
            if averaged:
                found.append(d.target)
    return found


def _averaged(body: Expr) -> set[object]:
    """The ranges over which the formula takes a mean."""
    sums = {i.range for n in walk(body) if isinstance(n, Sum) for i in n.indices}
    sizes = {
        n.base.range
        for n in walk(body)
        if isinstance(n, Pow) and isinstance(n.base, Size) and isinstance(n.exponent, Const)
    }
    return {r for r in sums if r in sizes}
