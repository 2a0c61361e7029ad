"""Claims about derivatives: read with the forward pass's ranges, evaluated at random points.

    d f[i,k] / d W[d,j]  is the total derivative: every definition between W and f is followed,
                         whatever does not depend on W stays as it is
    dL/df[i,k]           is the total derivative of the loss L; without a definition of L, of
                         sum(G * output) for an arbitrary upstream gradient G

Both are taken numerically from the forward pass alone, so that no rule of the engine is involved in
judging a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import FormulaError
from chalkgrad.expr.grammar import parse
from chalkgrad.expr.nodes import Access, Definition, Expr, Index, Partial, Program, Range, Tensor
from chalkgrad.expr.ops import free_indices, map_children, tensors_in, walk
from chalkgrad.expr.syntax import Binder, Condition, Derivative, Entry, Equation, Factors, Name, Syntax
from chalkgrad.expr.tokens import error
from chalkgrad.frontend.inference import Slots
from chalkgrad.frontend.known import Known, Retyping, map_parts, parts
from chalkgrad.frontend.reader import Reader
from chalkgrad.verify.differences import complex_step, richardson
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.reference import evaluate, holomorphic, run_on
from chalkgrad.verify.sample import sample

Array = NDArray[np.float64]

POINTS = 3
"""Random points, each with sizes of its own."""

TOLERANCE = 1e-6
"""Relative error below which a claim holds; Richardson's derivatives are good to about 1e-9."""

SMALLEST = 1e-4
"""Errors are relative to at least this much: test values are near 1, and a value that cancels to 0
carries their rounding."""

LOSS = "L"


@dataclass(frozen=True, slots=True)
class Claim:
    """left = right for all values of the indices.

    Attributes:
        text: As written.
        left, right: Expressions; derivatives are `Partial` nodes and adjoint tensors.
        indices: The indices of the left side, then those that only the right side has.
        loose: Indices that only the right side has: with any, the line is no statement yet.
        tree: The syntax of `text`.
    """

    text: str
    left: Expr
    right: Expr
    indices: tuple[Index, ...]
    loose: tuple[Index, ...]
    tree: Equation


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a claim compares at its worst element: the indices there, the claimed and the true value."""

    error: float
    where: dict[str, int]
    claimed: float
    true: float

    @property
    def holds(self) -> bool:
        return self.error <= TOLERANCE


# --- reading ---------------------------------------------------------------------------------------


def read_claim(text: str, program: Program) -> Claim:
    """The claim that a line makes about a forward pass.

    Raises:
        RangeConflictError: An index of one range on an axis of another.
        FormulaError: Anything else that is not a claim about this forward pass.
    """
    statements = parse(text)
    equation = statements[0]
    if len(statements) != 1 or not isinstance(equation, Equation) or equation.left is None:
        raise FormulaError("A claim is one equation.", source=text, position=0, length=len(text))
    equation = _with_quotients(equation, {t.name for t in program.tensors()})
    reader, final = _reader(text, program)
    assert equation.left is not None
    outer = _distinct(_index_names(equation.left, reader, frozenset()))
    known = {name.name for name in outer}
    right_names = _index_names(equation.right, reader, frozenset())
    inner = _distinct(name for name in right_names if name.name not in known)
    scope = reader.bind((*outer, *inner), {})
    left, right = reader.read(equation.left, scope), reader.read(equation.right, scope)
    tensors = {k.placeholder: final[k.name, k.adjoint] for k in reader.tensors.values()}
    retype = Retyping(_ranges(reader, program), tensors)
    indices = tuple(retype.index(Index(v.name, v.slot.placeholder)) for v in scope.values())
    return Claim(text, retype(left), retype(right), indices, indices[len(outer) :], equation)


def _with_quotients(equation: Equation, names: set[str]) -> Equation:
    """df[i,k]/dW[d,j], written without spaces, is d f[i,k] / d W[d,j] where f and W are known and df and
    dW are not."""

    def without_d(part: Syntax) -> Name | Entry | None:
        if not isinstance(part, Name | Entry) or part.adjoint or part.name in names:
            return None
        if part.name[:1] != "d" or part.name[1:] not in names:
            return None
        return replace(part, start=part.start + 1, name=part.name[1:])

    def read(part: Syntax) -> Syntax:
        part = map_parts(part, read)
        if not isinstance(part, Factors):
            return part
        factors: list[tuple[bool, Syntax]] = []
        for divides, factor in part.factors:
            by = without_d(factor) if divides and factors else None
            of = without_d(factors[-1][1]) if by is not None else None
            if by is None or of is None:
                factors.append((divides, factor))
            else:
                before = factors.pop()
                factors.append((before[0], Derivative(of.start - 1, by.end, of, by)))
        if len(factors) == 1 and not factors[0][0]:
            return factors[0][1]
        return replace(part, factors=tuple(factors))

    left = equation.left
    return replace(equation, left=left and read(left), right=read(equation.right))


def _reader(text: str, program: Program) -> tuple[Reader, dict[tuple[str, bool], Tensor]]:
    """A reader that knows the program's tensors and their adjoints, with all ranges fixed."""
    slots = Slots(text)
    by_range = {r: slots.new(fixed=r) for r in program.ranges()}
    reader = Reader(text, slots, closed=True, adjoints=True)
    final: dict[tuple[str, bool], Tensor] = {}
    for tensor in program.tensors():
        axes = tuple(by_range[r] for r in tensor.axes)
        for adjoint in (False, True) if tensor.dtype == "float" else (False,):
            final[tensor.name, adjoint] = tensor.adjoint if adjoint else tensor
            known = Known(tensor.name, axes, Syntax(0, 0), adjoint, tensor.role == "value", tensor.dtype)
            reader.tensors[tensor.name, adjoint] = known
    return reader, final


def _index_names(tree: Syntax, reader: Reader, bound: frozenset[str]) -> Iterator[Name]:
    """Names in places of indices that neither a binder nor the forward pass explains."""
    match tree:
        case Binder(_, _, _, names, body):
            yield from _index_names(body, reader, bound | {n.name for n in names})
        case Entry(_, _, _, indices):
            for index in indices:
                yield from _loose_names(index, reader, bound)
        case Condition(_, _, _, left, right):
            yield from _loose_names(left, reader, bound)
            yield from _loose_names(right, reader, bound)
        case _:
            for part in parts(tree):
                yield from _index_names(part, reader, bound)


def _loose_names(tree: Syntax, reader: Reader, bound: frozenset[str]) -> Iterator[Name]:
    if isinstance(tree, Name):
        if not tree.adjoint and tree.name not in bound and (tree.name, False) not in reader.tensors:
            yield tree
    elif isinstance(tree, Entry | Binder | Condition | Derivative):
        yield from _index_names(tree, reader, bound)
    else:
        for part in parts(tree):
            yield from _loose_names(part, reader, bound)


def _distinct(names: Iterator[Name]) -> tuple[Name, ...]:
    """Each name where it first stands."""
    found: dict[str, Name] = {}
    for name in names:
        found.setdefault(name.name, name)
    return tuple(found.values())


def _ranges(reader: Reader, program: Program) -> dict[Range, Range]:
    """The range of every placeholder; all are fixed, because claims bring no new tensors."""
    ranges: dict[Range, Range] = {}
    for variables in reader.letters.values():
        for variable in variables:
            if variable.slot.root().fixed is None:
                message = f"Nothing says what the index {variable.name} runs over."
                raise reader.error(variable.bound, message, "Use it on an axis of an array.")
    for slot in reader.slots.all:
        of = slot.root().fixed
        assert of is not None
        ranges[slot.placeholder] = of
    by_name = {r.name: r for r in program.ranges()}
    for waiting, name in reader.sizes.items():
        found = {ranges[v.slot.placeholder] for v in reader.letters.get(name.name, [])}
        if not found and name.name in by_name:
            found = {by_name[name.name]}
        if len(found) != 1:
            raise reader.error(name, f"There is no one range called {name.name} here.")
        ranges[waiting] = found.pop()
    return ranges


# --- judging ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Point:
    """One random point of the forward pass, with the derivatives taken there so far."""

    program: Program
    env: Environment
    seed: int
    jacobians: dict[tuple[Expr, Tensor], Tensor] = field(default_factory=dict)

    def value(self, e: Expr, indices: tuple[Index, ...]) -> Array:
        """The expression at this point, one axis per index."""
        adjoints = {n.tensor for n in walk(e) if isinstance(n, Access) and n.tensor.role == "adjoint"}
        for tensor in adjoints - self.env.arrays.keys():
            self.env = self.env.having({tensor: self.adjoint(tensor)})
        ready = self._replaced(e)
        return np.asarray(evaluate(ready, indices, self.env), dtype=float)

    def _replaced(self, e: Expr) -> Expr:
        """Derivatives replaced by entries of arrays that hold them."""
        new = map_children(e, self._replaced)
        if not isinstance(new, Partial):
            return new
        body, free, actual = _as_value(new.body)
        by = new.wrt.tensor
        if (body, by) not in self.jacobians:
            axes = (*(i.range for i in free), *by.axes)
            tensor = Tensor(f"d{len(self.jacobians)}", axes, "float", "value")
            self.env = self.env.having({tensor: self.jacobian(body, free, by)})
            self.jacobians[body, by] = tensor
        return Access(self.jacobians[body, by], (*actual, *new.wrt.indices))

    def jacobian(self, body: Expr, free: tuple[Index, ...], by: Tensor) -> Array:
        """d body[free] / d by, through every definition that depends on `by`."""
        following = downstream(self.program.definitions, by)
        array = self.env.array(by)

        def moved(values: NDArray[np.generic]) -> NDArray[np.generic]:
            return evaluate(body, free, run_on(following, self.env.having({by: values})))

        smooth = holomorphic(body) and all(holomorphic(d.body) for d in following)
        columns = [
            complex_step(moved, array, entry) if smooth else richardson(moved, array, entry)[0]
            for entry in range(array.size)
        ]
        shape = tuple(self.env.size(i.range) for i in free)
        return np.stack(columns, axis=-1).reshape((*shape, *array.shape))

    def adjoint(self, adjoint: Tensor) -> Array:
        """dL/dt: of the loss, or of sum(G * output) with a random G."""
        of = next(t for t in self.program.tensors() if t.dtype == "float" and t.adjoint is adjoint)
        loss = self.program.definition(LOSS) or self.program.definitions[-1]
        jacobian = self.jacobian(loss.access, loss.indices, of)
        if not loss.indices:
            return jacobian
        upstream = np.random.default_rng(self.seed).normal(size=self.env.array(loss.target).shape)
        return np.tensordot(upstream, jacobian, axes=upstream.ndim)


def downstream(definitions: tuple[Definition, ...], of: Tensor) -> tuple[Definition, ...]:
    """The definitions that depend on a tensor."""
    reached, found = {of}, []
    for definition in definitions:
        if definition.target is not of and reached & tensors_in(definition.body):
            reached.add(definition.target)
            found.append(definition)
    return tuple(found)


def _as_value(body: Expr) -> tuple[Expr, tuple[Index, ...], tuple[Expr, ...]]:
    """A body with plain distinct indices, those indices, and what stands in their places."""
    if isinstance(body, Access):
        formal = tuple(Index(f"#{place}", axis) for place, axis in enumerate(body.tensor.axes))
        return Access(body.tensor, formal), formal, body.indices
    free = tuple(sorted(free_indices(body), key=lambda i: (i.name, i.range.name)))
    return body, free, free


class Judge:
    """Evaluates claims about one forward pass, all at the same few random points."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._points: list[Point] = []

    def points(self) -> Iterator[Point]:
        """The points, drawn when they are first needed."""
        for seed in range(POINTS):
            if seed == len(self._points):
                self._points.append(Point(self.program, sample(self.program, seed), seed))
            yield self._points[seed]

    def check(self, claim: Claim) -> Outcome:
        """The worst element over all points; of the first point that refutes the claim, if one does.

        Raises:
            FormulaError: If a side differentiates by whole numbers, or differentiates a derivative.
        """
        _check_differentiable(claim)
        worst = Outcome(0.0, {}, 0.0, 0.0)
        for point in self.points():
            found = compare(
                point.value(claim.right, claim.indices), point.value(claim.left, claim.indices), claim
            )
            if found.error >= worst.error:
                worst = found
            if not worst.holds:
                break
        return worst

    def ratios(self, claim: Claim) -> list[tuple[Environment, float]]:
        """At each point the constant true/claimed; empty where the two are not proportional."""
        found = []
        for point in self.points():
            claimed = point.value(claim.right, claim.indices)
            true = point.value(claim.left, claim.indices)
            if not np.isfinite(claimed).all() or not np.isfinite(true).all():
                return []
            peak = np.unravel_index(np.abs(claimed).argmax(), claimed.shape)
            if claimed[peak] == 0 or true[peak] == 0:
                return []
            ratio = float(true[peak] / claimed[peak])
            if not compare(claimed * ratio, true, claim).holds:
                return []
            found.append((point.env, ratio))
        return found

    def diagonal(self, claim: Claim) -> tuple[Index, Index] | None:
        """Two indices of one range where a false claim holds if they are equal, and nowhere else."""
        pairs = [(m, n) for n, two in enumerate(claim.indices) for m, one in enumerate(claim.indices[:n])
                 if one.range is two.range]  # fmt: skip
        for m, n in pairs:
            sides = [
                [np.diagonal(p.value(side, claim.indices), 0, m, n) for side in (claim.right, claim.left)]
                for p in self.points()
            ]
            if all(np.allclose(one, two, rtol=TOLERANCE, atol=1e-12) and np.any(one) for one, two in sides):
                return claim.indices[m], claim.indices[n]
        return None


def _check_differentiable(claim: Claim) -> None:
    for node in (*walk(claim.left), *walk(claim.right)):
        if not isinstance(node, Partial):
            continue
        by = node.wrt.tensor
        if by.dtype != "float":
            raise error(claim.text, claim.tree, f"{by.name} holds whole numbers and has no derivative.")
        adjoint = by.role == "adjoint" or any(t.role == "adjoint" for t in tensors_in(node.body))
        if adjoint or any(isinstance(inner, Partial) for inner in walk(node.body)):
            raise error(claim.text, claim.tree, "A derivative of a derivative cannot be checked.")


def compare(claimed: Array, true: Array, claim: Claim) -> Outcome:
    """The worst element, relative to the largest value on either side."""
    with np.errstate(all="ignore"):
        difference = np.where(claimed == true, 0.0, np.abs(claimed - true))
    # What is not a number agrees with nothing; a comparison with it would never say so.
    difference = np.where(np.isnan(difference), np.inf, difference)
    sizes = np.abs(np.stack((claimed, true)))
    scale = max(float(sizes.max(initial=0.0, where=np.isfinite(sizes))), SMALLEST)
    at = np.unravel_index(difference.argmax(), difference.shape)
    where = {i.name: int(p) for i, p in zip(claim.indices, at, strict=True)}
    return Outcome(float(difference[at]) / scale, where, float(claimed[at]), float(true[at]))
