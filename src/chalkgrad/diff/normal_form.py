"""A-normal form: a forward pass in which every operation worth a name has one.

The user's own names are kept. A part of a formula gets a made-up name when its value is worth
reusing in the backward (exp, tanh: the derivative is a function of the value), when it is a sum or
reduction inside something nonlinear, or when it is written more than once.

A name says its value for all values of its indices. So a part that reads x[i - 1] beside 1(i >= 1) takes
the comparison along, 1(i >= 1) Σ_k x[i - 1, k], or it gets no name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

from chalkgrad.expr.guarded import guards_for, guards_of
from chalkgrad.expr.letters import fresh_index
from chalkgrad.expr.linear import derived_sizes
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Pow,
    Program,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import (
    canonical,
    children,
    free_indices,
    index_names,
    map_children,
    substitute,
    tensors_in,
    walk,
)
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.rules.factoring import opposite
from chalkgrad.rules.places import with_plain_places

NAMES: dict[str, str] = {
    "exp": "e", "log": "l", "sqrt": "r", "tanh": "t", "sigmoid": "s", "relu": "h", "sum": "z",
    "max": "m", "min": "m", "prod": "q", "add": "a", "power": "r", "abs": "u",
    "inv": "inv", "det": "det", "logdet": "logdet",
}  # fmt: skip
"""Made-up names by kind of operation."""


def normal_form(program: Program) -> Program:
    """The program with named intermediates; its outputs and named values are unchanged."""
    with derived_sizes(program.sizes):
        return _Naming(program).run()


def first_appearance(e: Expr) -> tuple[Index, ...]:
    """The free indices in the order in which they are read."""
    free = free_indices(e)
    order: list[Index] = []
    for node in walk(e):
        if isinstance(node, Index) and node in free and node not in order:
            order.append(node)
    return tuple(order)


def by_place(e: Expr) -> tuple[Expr, tuple[Index, ...]]:
    """The expression with its free indices named by place, and these indices: equal for e[i,j], e[i,k]."""
    order = first_appearance(e)
    return canonical(substitute(e, {i: Index(f"@{n}", i.range) for n, i in enumerate(order)})), order


class _Naming:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.taken = {t.name for t in program.tensors()} | {
            i.name for d in program.definitions for i in d.indices
        }
        self.known: dict[Expr, tuple[Tensor, tuple[int, ...]]] = {}
        self.definitions: list[Definition] = []
        self.repeated = _repeated(program)
        self.guards: tuple[Indicator, ...] = ()

    def run(self) -> Program:
        for d in self.program.definitions:
            body = self.whole(with_plain_places(d.body))
            self.definitions.append(replace(d, body=body))
            key, order = by_place(body)
            if not isinstance(body, Access | Const | Size) and set(order) == set(d.indices):
                places = tuple(order.index(i) for i in d.indices)
                self.known.setdefault(key, (d.target, places))
        return self.with_copied_outputs()

    def with_copied_outputs(self) -> Program:
        """An output that other values read is returned as a copy.

        Its adjoint has two parts then, from above and from inside, and each needs a name.
        """
        outputs: list[Tensor] = []
        read = {t for d in self.definitions for t in tensors_in(d.body)} | set(self.program.inputs)
        for output in self.program.outputs:
            if output in read or output in outputs:
                copy = replace(output, name=self._fresh(f"{output.name}_out"), role="value")
                indices = next((d.indices for d in self.definitions if d.target is output), None)
                letters = indices if indices is not None else _letters_of(output)
                self.definitions.append(Definition(copy, letters, Access(output, letters)))
                output = copy  # noqa: PLW2901
            outputs.append(output)
        return replace(self.program, definitions=tuple(self.definitions), outputs=tuple(outputs))

    def whole(self, e: Expr) -> Expr:
        """The body of a definition: its outermost operation needs no further name."""
        match e:
            case Apply():
                return self.applied(e)
            case Sum(indices, body):
                with self._binding(indices):
                    return Sum(indices, self.whole_body(body))
            case Reduce(op, indices, body):
                with self._binding(indices):
                    return Reduce(op, indices, self.part(body))
            case Opaque(fn, indices, body, at):
                if not _is_of_two_letters(e):
                    return self.part(e)
                with self._binding(indices):
                    return Opaque(fn, indices, self.part(body), at)
            case Add(terms):
                return Add(
                    tuple(self.whole(t) if not isinstance(t, Apply | Reduce) else self.part(t) for t in terms)
                )
            case Mul(factors):
                scalars = [f for f in factors if not free_indices(f) and _is_number(f)]
                rest = [f for f in factors if f not in scalars]
                if len(rest) == 1:
                    kept = self.whole(rest[0]) if isinstance(rest[0], Sum | Add) else self.part(rest[0])
                    return Mul(tuple(kept if f is rest[0] else f for f in factors))
                with self._under(guards_of(e)):
                    return Mul(tuple(self.part(f) for f in factors))
            case Pow(base, exponent):
                return Pow(self.argument(base), self.part(exponent))
        return self.part(e)

    def whole_body(self, body: Expr) -> Expr:
        return self.whole(body) if isinstance(body, Add | Mul | Sum) else self.part(body)

    def argument(self, e: Expr) -> Expr:
        """What a function or power is applied to: named when it holds a sum, a reduction or a function."""
        match e:
            case Add(terms) if any(_holds_sum(t) for t in terms):
                # The pre-activation x U + h W + b is one value, not one per product.
                return self.name(self.whole(e), "add")
            case Mul(factors):
                # A sign or number stays outside: 1/(1 + exp(−z)) is to be recognised.
                with self._under(guards_of(e)):
                    return Mul(tuple(f if _is_number(f) else self.argument(f) for f in factors))
        return self.part(e)

    def applied(self, e: Apply) -> Apply:
        """A function of its arguments, each of which may have got a name."""
        if e.fn != "where":
            return Apply(e.fn, tuple(self.argument(a) for a in e.args))
        condition, chosen, other = e.args
        condition = self.argument(condition)
        with self._under(guards_of(e.args[0])):
            chosen = self.argument(chosen)
        fails = guards_of(opposite(e.args[0])) if isinstance(e.args[0], Indicator) else ()
        with self._under(fails):
            other = self.argument(other)
        return Apply("where", (condition, chosen, other))

    @contextmanager
    def _under(self, guards: tuple[Indicator, ...]) -> Iterator[None]:
        """Within, what is named is read only where these comparisons hold too."""
        kept, self.guards = self.guards, self.guards + guards
        yield
        self.guards = kept

    @contextmanager
    def _binding(self, indices: tuple[Index, ...]) -> Iterator[None]:
        """Within a Σ, the comparisons around it that do not speak of its own indices."""
        kept = self.guards
        self.guards = tuple(g for g in kept if free_indices(g).isdisjoint(indices))
        yield
        self.guards = kept

    def part(self, e: Expr) -> Expr:
        """A part of a larger formula, with a name where it deserves one."""
        match e:
            case Apply(fn, args) if args:
                new = self.applied(e)
                reusable = any(PRIMITIVES[fn].in_value) if fn in PRIMITIVES else False
                return self.name(new, fn) if reusable or self._shared(e) else self._reuse(new)
            case Sum():
                return self.name(self.whole(e), "sum")
            case Reduce(op, indices, body):
                over = tuple(i for i in indices if i in free_indices(body))
                if op in ("max", "min") and not over:
                    return self.part(body)  # the largest of equal values is that value
                return self.name(self.whole(e), op)
            case Opaque(fn) if _is_of_two_letters(e):
                return self.name(self.whole(e), fn)
            case Opaque():
                return self.entry(e)
            case Pow(base, Const(Fraction() as power)) if power.denominator != 1 or power < 0:
                inner = Pow(self.argument(base), Const(power))
                compound = not isinstance(inner.base, Access | Const | Size)
                return self.name(inner, "power") if compound and _reads_array(inner) else inner
            case Pow(base, exponent):
                return Pow(self.argument(base), self.part(exponent))
            case Add(terms):
                # A sum of terms inside a product stays in place; its heavy terms get names.
                total = Add(tuple(self.part(t) for t in terms))
                return self.name(total, "add") if self._shared(e) else self._reuse(total)
            case Mul():
                with self._under(guards_of(e)):
                    return map_children(e, self.part)
            case Indicator():
                return map_children(e, self.part)
        return e

    def entry(self, e: Opaque) -> Expr:
        """An entry such as inv(A)[i, i], or of a matrix that i chooses, read out of the whole inverse."""
        taken = set(index_names(e))
        first = fresh_index(e.indices[0].range, taken)
        letters = sorted((first, fresh_index(e.indices[1].range, taken | {first.name})), key=lambda i: i.name)
        inverse = self.name(self.whole(replace(e, at=tuple(letters))), e.fn)
        return substitute(inverse, dict(zip(letters, e.at, strict=True)))

    def _shared(self, e: Expr) -> bool:
        return self.repeated[by_place(e)[0]] > 1

    def _reuse(self, e: Expr) -> Expr:
        key, order = by_place(e)
        found = self.known.get(key)
        if found is None:
            return e
        tensor, places = found
        return Access(tensor, tuple(order[p] for p in places))

    def name(self, e: Expr, kind: str) -> Expr:
        """An access of a (new or known) value that is `e`, wherever the formula reads it."""
        if isinstance(e, Access | Const | Size | Index):
            return e
        guards = guards_for(e, self.guards)
        if guards and not isinstance(e, Sum | Add):
            return e  # 1(g) tanh(x) is no function with a derivative in its own value
        if guards:
            e = Sum(e.indices, Mul((*guards, e.body))) if isinstance(e, Sum) else Mul((*guards, e))
        found = self._reuse(e)
        if found is not e:
            return found
        key, order = by_place(e)
        order = tuple(sorted(order, key=lambda i: _axis_order(self.program, i)))
        _, placed = by_place(e)
        target = Tensor(
            self._fresh(NAMES.get(kind, kind[0])), tuple(i.range for i in order), "float", "value"
        )
        self.definitions.append(Definition(target, order, e))
        self.known[key] = (target, tuple(placed.index(i) for i in order))
        return Access(target, order)

    def _fresh(self, base: str) -> str:
        name, number = base, 2
        while name in self.taken:
            name, number = f"{base}{number}", number + 1
        self.taken.add(name)
        return name


def _is_of_two_letters(e: Opaque) -> bool:
    """Whether an entry stands for all: two indices, neither of which chooses the matrix, or none at all."""
    letters = {i for i in e.at if isinstance(i, Index)}
    return len(letters) == len(e.at) and letters.isdisjoint(free_indices(e.body) - set(e.indices))


def _letters_of(tensor: Tensor) -> tuple[Index, ...]:
    letters: list[Index] = []
    for axis in tensor.axes:
        letters.append(fresh_index(axis, {i.name for i in letters}))
    return tuple(letters)


def _reads_array(e: Expr) -> bool:
    """Whether the expression reads an array; a number made of sizes and parameters is left in place."""
    return any(isinstance(n, Access) and n.tensor.role != "parameter" for n in walk(e))


def _holds_sum(term: Expr) -> bool:
    """Whether a written term is a Σ or reduction, perhaps with factors, not only inside a function."""
    factors = term.factors if isinstance(term, Mul) else (term,)
    return any(isinstance(f, Sum | Reduce | Opaque) for f in factors)


def _is_number(e: Expr) -> bool:
    return not any(isinstance(n, Access | Sum | Reduce) for n in walk(e))


def _axis_order(program: Program, index: Index) -> tuple[int, str]:
    """Axes of made-up values in the order in which the program's ranges appear."""
    ranges = program.ranges()
    place = ranges.index(index.range) if index.range in ranges else len(ranges)
    return place, index.name


def _repeated(program: Program) -> Counter[Expr]:
    """How often each compound part is written in the program, up to the names of its indices."""
    counts: Counter[Expr] = Counter()

    def visit(e: Expr) -> None:
        if isinstance(e, Add | Apply) and children(e) and _reads_array(e):
            counts[by_place(e)[0]] += 1
        for kid in children(e):
            visit(kid)

    for d in program.definitions:
        visit(d.body)
    return counts
