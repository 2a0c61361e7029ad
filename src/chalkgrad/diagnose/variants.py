"""Variants of the forward values that a backward may have worked with: ε forgotten, ε outside the root."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.points import Point, judged
from chalkgrad.expr.nodes import Access, Add, Apply, Const, Definition, Expr, Pow, Program, Tensor
from chalkgrad.expr.ops import map_children, walk
from chalkgrad.verify.reference import run_on


def variants(program: Program) -> Iterator[tuple[str, str, Program]]:
    """(cause, words, forward) for each parameter that is added under a root or a power."""
    for parameter, _ in program.parameters:
        here = [d for d in program.definitions if any(_holds(n, parameter) for n in walk(d.body))]
        if here:
            words = f"{parameter.name} is left out of {here[0].target.name}"
            yield "missing_term", words, _changed(program, parameter, outside=False)
            words = f"{parameter.name} stands outside the root in {here[0].target.name}"
            yield "wrong_operand", words, _changed(program, parameter, outside=True)


def varied(derived: Derived, variant: Program, point: Point) -> Point | None:
    """The point as it would be with the variant's forward values; None where it has none."""
    given = {t: a for t, a in point.env.arrays.items() if t in variant.inputs or t.role == "parameter"}
    ups = {o.adjoint: point.upstream(o) for o in variant.outputs if o.adjoint in point.env.arrays}
    try:
        env = run_on(variant.definitions, replace(point.env, arrays=given))
        return judged(derived, env.having(ups), point.parameters)
    except ArithmeticError:
        return None


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
