"""Where a guard does not let a value through, that value must be finite all the same.

    y = where(x > 0, √x, 0),  dx = 1(x > 0) dy / (2 √x)      at x = 0 the second is 0 · ∞, which is no number

Array code computes both branches. So the argument of a function that ends somewhere (√, log, a reciprocal) is
1 where nobody asks for its value: r = √where(x > 0, x, 1). Nothing changes where the guard lets through, and
the derivatives of such code are finite again, once more differentiated or not.

A guard is heeded in the backward where the formula itself computes the same under that guard, and never
without one: what relu lets through has nothing to do with the divisor of a normalisation beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from chalkgrad.emit.share import least_key, number_and_rest
from chalkgrad.expr.nodes import ONE, Access, Apply, Definition, Expr, Mul, Pow, Program, Tensor
from chalkgrad.expr.ops import children, free_indices, rebuild, substitute, tensors_in, walk
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.rules.bounds import Bounds
from chalkgrad.rules.conditions import Guard, Guards, Reads, is_conditional, moving, risk
from chalkgrad.rules.polynomial import collect, expand, to_expr

Definitions = tuple[Definition, ...]


def guarded(program: Program, backward: Sequence[Definition]) -> tuple[Program, Definitions]:
    """The forward and the backward with finite values where their guards let nothing through."""
    forward = program.definitions
    bounds = Bounds(forward)
    risky = any(risk(e, bounds) for d in forward for e in walk(d.body))
    if not risky or not any(is_conditional(d) for d in forward):
        return program, tuple(backward)
    asked = _Asked(forward, frozenset(program.outputs)).under()
    if not any(asked.values()):
        return program, tuple(backward)
    everything = (*forward, *backward)
    kept = frozenset((*program.outputs, *(t.adjoint for t in program.inputs)))
    found = _Guarding(everything, kept, asked, program).done()
    return replace(program, definitions=found[: len(forward)]), found[len(forward) :]


class _Asked(Reads):
    """Which guards the formula itself puts before each argument."""

    def under(self) -> dict[Expr, frozenset[Expr]]:
        """For each argument, by its key, the joint keys of its guards; none where it is evaluated without."""
        found: dict[Expr, list[frozenset[Expr]]] = {}
        values: dict[Expr, frozenset[Expr]] = {}
        for d in self.definitions:
            for e, guards in self.parts(d.body, self.of(d.target)):
                argument = risk(e, self.bounds)
                if argument is None:
                    continue
                end = PRIMITIVES[e.fn].above if isinstance(e, Apply) else None
                ends = (argument, argument - Fraction(end)) if end else (argument,)  # (log1p u)' = 1/(1 + u)
                for base in (b for a in ends for b in _bases(self, a)):
                    found.setdefault(least_key(base), []).append(_joint(base, guards))
                if e is d.body:
                    values[least_key(d.access)] = _joint(d.access, guards)
        asked = {key: frozenset().union(*sets) if all(sets) else frozenset() for key, sets in found.items()}
        return {**values, **asked}


def _joint(e: Expr, guards: Guards) -> frozenset[Expr]:
    """A key for the argument and each guard together, whatever their letters.

    A factor that is finer than the argument, as a mask beside the row's sum, does not guard it: rows of
    which nothing is let through are for a `where` to speak of.
    """
    free = free_indices(e)
    return frozenset(_pair(e, g) for g in guards.values() if g.branch or free_indices(g.condition) <= free)


def _pair(e: Expr, g: Guard) -> Expr:
    return least_key(Mul((e, g.key)))


def _bases(reads: Reads, e: Expr) -> Iterator[Expr]:
    """What an argument is made of by products and powers, seen through the names of values."""
    _, e = number_and_rest(to_expr(collect(expand(e))))
    yield e
    match e:
        case Mul(factors):
            inner: tuple[Expr, ...] = tuple(f for f in factors if moving(f) is not None)
        case Pow(base, _):
            inner = (base,)
        case Access(tensor, indices) if tensor in reads.own:
            d = reads.own[tensor]
            body = substitute(d.body, dict(zip(d.indices, indices, strict=True)))
            argument = risk(body, reads.bounds)
            inner = (body,) if isinstance(body, Mul | Pow) else (argument,) if argument else ()
        case _:
            inner = ()
    for part in inner:
        yield from _bases(reads, part)


class _Guarding(Reads):
    """Puts the guards before the arguments."""

    def __init__(
        self, definitions: Sequence[Definition], kept: frozenset[Tensor], asked: dict[Expr, frozenset[Expr]],
        program: Program,
    ) -> None:  # fmt: skip
        super().__init__(definitions, kept)
        self._asked = asked
        self._known = {*program.inputs, *(t for t, _ in program.parameters)}
        self._ones: set[Tensor] = set()

    def done(self) -> Definitions:
        """The definitions with guarded arguments."""
        result = []
        for d in self.definitions:
            body = self._visit(d.body, self.of(d.target))
            if body is not d.body and _is_one(body):
                self._ones.add(d.target)
            self._known.add(d.target)
            result.append(replace(d, body=body))
        return tuple(result)

    def _visit(self, e: Expr, guards: Guards) -> Expr:
        kids = tuple(self._visit(kid, inner) for kid, inner in self.conditions.inside(e, guards))
        argument = risk(e, self.bounds)
        if argument is not None:
            kids = (self._held(argument, kids[0], guards), *kids[1:])
        return rebuild(e, kids) if kids != children(e) else e

    def _held(self, argument: Expr, written: Expr, guards: Guards) -> Expr:
        """The argument, 1 where its guards let nothing through."""
        if isinstance(argument, Access) and argument.tensor in self._ones:
            return written
        chosen = {
            key: g
            for base in _bases(self, argument)
            for key, g in guards.items()
            if _pair(base, g) in self._asked.get(least_key(base), ())
            and tensors_in(g.condition) <= self._known
        }
        yes = [g.condition for g in chosen.values() if g.holds]
        for g in chosen.values():
            if not g.holds:
                written = Apply("where", (g.condition, ONE, written))
        if yes:
            written = Apply("where", (yes[0] if len(yes) == 1 else Mul(tuple(yes)), written, ONE))
        return written


def _is_one(e: Expr) -> bool:
    """Whether the value is 1 wherever its argument was put to 1."""
    argument = risk(e, Bounds())
    held = isinstance(argument, Apply) and argument.fn == "where" and ONE in argument.args[1:]
    return held and (isinstance(e, Pow) or (isinstance(e, Apply) and e.fn == "sqrt"))
