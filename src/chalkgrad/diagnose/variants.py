"""Variants of the forward values that a backward may have worked with: ε forgotten, ε outside the root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.labelled import Evaluation
from chalkgrad.diagnose.points import Point
from chalkgrad.expr.nodes import (
    MINUS_ONE,
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Pow,
    Program,
    Range,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import map_children, tensors_in, walk
from chalkgrad.verify.environment import Array


def variants(program: Program) -> Iterator[tuple[str, str, Program]]:
    """(cause, words, forward) for each parameter that is added under a root or a power."""
    for parameter, _ in program.parameters:
        here = [d for d in program.definitions if any(_holds(n, parameter) for n in walk(d.body))]
        if here:
            words = f"{parameter.name} is left out of {here[0].target.name}"
            yield "missing_term", words, _changed(program, parameter, outside=False)
            words = f"{parameter.name} stands outside the root in {here[0].target.name}"
            yield "wrong_operand", words, _changed(program, parameter, outside=True)
    for d in program.definitions:
        means = {r for n in walk(d.body) if (r := _divisor(n)) is not None}
        summed = {i.range for n in walk(d.body) if isinstance(n, Sum) for i in n.indices}
        for of in sorted(means & summed - set(d.target.axes), key=lambda r: r.name):
            words = f"{d.target.name} is divided by {of.name} - 1 instead of {of.name}"
            yield "constant_factor", words, _redefined(program, d, partial(_less_one, of=of))


def _divisor(e: Expr) -> Range | None:
    """N for 1/N."""
    whole = isinstance(e, Pow) and isinstance(e.base, Size) and e.exponent == MINUS_ONE
    return e.base.range if whole and isinstance(e, Pow) and isinstance(e.base, Size) else None


def _less_one(e: Expr, of: Range) -> Expr:
    """1/(N - 1) for 1/N, as `ddof=1` has it."""
    if _divisor(e) is of:
        return Pow(Add((Size(of), MINUS_ONE)), MINUS_ONE)
    return map_children(e, lambda k: _less_one(k, of))


def _redefined(program: Program, one: Definition, change: Callable[[Expr], Expr]) -> Program:
    """The program with another formula for one value."""
    definitions = tuple(
        Definition(d.target, d.indices, change(d.body)) if d is one else d for d in program.definitions
    )
    return replace(program, definitions=definitions)


def private_lines(derived: Derived, line: Definition) -> list[Definition]:
    """A line, and those before it that are there for it alone: people write them as one."""
    found = [line]
    for d in reversed(derived.staged.definitions):
        readers = [e for e in derived.staged.definitions if d.target in tensors_in(e.body)]
        if readers and all(e in found for e in readers) and d not in found:
            found.insert(0, d)
    return found


def in_one_line(
    derived: Derived, line: Definition, point: Point, variant: Point, base: Evaluation, wanted: Tensor
) -> Array | None:
    """An input's gradient if one adjoint alone is worked out with the variant's forward values."""
    values = {t: a for t, a in variant.env.arrays.items() if t.role == "value"}
    there = Evaluation(point.env.having(values))
    for d in private_lines(derived, line):
        there.having(d.target, there.defined(d.indices, d.body))
    evaluation = Evaluation(point.env, {line.target: there.changed[line.target]}, base)
    for d in derived.staged.definitions:
        if d.target is not line.target and evaluation.changed.keys() & tensors_in(d.body):
            evaluation.having(d.target, evaluation.defined(d.indices, d.body))
    found = evaluation.changed.get(wanted.adjoint)
    return None if found is None or found.extra else found.array


def varied(derived: Derived, variant: Program, point: Point, base: Evaluation) -> Point | None:
    """The point as it would be with the variant's forward values; None where it has none.

    What the variant does not reach keeps the value that `base`, the point's own evaluation, has.
    """
    bodies = {
        d.target: d.body
        for d, own in zip(variant.definitions, derived.program.definitions, strict=True)
        if d.body is not own.body
    }
    there = Evaluation(point.env, base=base)
    try:
        with np.errstate(all="ignore"):
            there.run(variant.definitions, bodies)
            there.run(derived.staged.definitions, {})
    except ArithmeticError:
        return None
    if any(v.extra or np.isnan(v.array).any() for v in there.changed.values()):
        return None
    env = point.env.having({t: v.array for t, v in there.changed.items()})
    true = {t: np.asarray(env.array(t.adjoint)) for t in derived.wrt}
    return Point(env, true, point.magnitude, point.parameters)


def _holds(e: Expr, parameter: Tensor) -> bool:
    """Whether the node is a root or power of a sum with the parameter."""
    inside = e.args[0] if isinstance(e, Apply) and e.fn == "sqrt" else e.base if isinstance(e, Pow) else None
    return isinstance(inside, Add) and any(
        isinstance(t, Access) and t.tensor is parameter for t in inside.terms
    )


def _changed(program: Program, parameter: Tensor, outside: bool) -> Program:
    def change(e: Expr) -> Expr:
        if _holds(e, parameter):
            inside = e.args[0] if isinstance(e, Apply) else e.base if isinstance(e, Pow) else e
            assert isinstance(inside, Add)
            rest = tuple(t for t in inside.terms if not (isinstance(t, Access) and t.tensor is parameter))
            left = rest[0] if len(rest) == 1 else Add(rest)
            root: Expr = Apply("sqrt", (left,)) if isinstance(e, Apply) else left
            if isinstance(e, Pow):
                root = _root(left, e.exponent, parameter if outside else None)
            elif outside:
                root = Add((root, Access(parameter, ())))
            return root
        return map_children(e, change)

    definitions = tuple(Definition(d.target, d.indices, change(d.body)) for d in program.definitions)
    return replace(program, definitions=definitions)


def _root(base: Expr, exponent: Expr, beside: Tensor | None) -> Expr:
    """base^exponent, or with the parameter added to the square root of the base."""
    if beside is None or not isinstance(exponent, Const):
        return Pow(base, exponent)
    return Pow(Add((Apply("sqrt", (base,)), Access(beside, ()))), Const(2 * exponent.value))
