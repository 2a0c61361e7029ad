"""Forward mode: how the output moves when the inputs move.

    ċ[ι]  =  Σ over inputs u of c   Σ_υ  d c[ι] / d u[υ] · u̇[υ]

The same local derivatives as the reverse sweep, followed the other way. With it a Jacobian–vector
product is a forward pass, and a Gauss–Newton product is three: J v, then the loss's Hessian, then Jᵀ.
"""

from __future__ import annotations

from dataclasses import replace

from chalkgrad.derivation import Backward
from chalkgrad.diff.closed import clean_all
from chalkgrad.diff.local import local_derivative
from chalkgrad.diff.normal_form import normal_form
from chalkgrad.diff.reverse import active_values
from chalkgrad.diff.simplify import Knowledge, simplify
from chalkgrad.diff.stable import recognise, without_dead
from chalkgrad.errors import DerivationError
from chalkgrad.expr.arithmetic import add, multiply
from chalkgrad.expr.letters import fresh_index
from chalkgrad.expr.nodes import (
    ZERO,
    Access,
    Definition,
    Expr,
    Index,
    Indicator,
    Partial,
    Program,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import inline, rename_bound, replace_access, tensors_in


def tangent_program(program: Program, wrt: tuple[Tensor, ...], name: str) -> Program:
    """The program that computes the output's tangent from the inputs and tangents of `wrt`.

    The tangent of x is called x_dot; those of `wrt` are inputs, after the program's own.
    """
    named, _ = recognise(normal_form(program))
    active = active_values(named, wrt)
    dots = {t: _dot(t, "input") for t in wrt}
    definitions: list[Definition] = []
    for place, d in enumerate(named.definitions):
        definitions.append(d)
        if d.target in active:
            dots[d.target] = _dot(d.target, "value")
            # Only what is defined by now may be called by its name.
            before = replace(named, definitions=named.definitions[: place + 1])
            definitions.append(Definition(dots[d.target], d.indices, _tangent(d, dots, before)))
    taken = {t.name for t in named.tensors()}
    clash = next((t.name for t in dots.values() if t.name in taken), None)
    if clash is not None:
        raise DerivationError(f"The tangent would be called '{clash}', which {program.name} already uses.")
    outputs = tuple(dots[t] for t in named.outputs if t in dots)
    if not outputs:
        raise DerivationError(
            f"The output of {program.name} does not depend on {', '.join(t.name for t in wrt)}."
        )
    inputs = (*named.inputs, *(dots[t] for t in wrt))
    whole = replace(named, name=name, inputs=inputs, definitions=tuple(definitions), outputs=outputs)
    return without_dead(whole, frozenset())


def _dot(t: Tensor, role: str) -> Tensor:
    return Tensor(f"{t.name}_dot", t.axes, "float", role)


def _tangent(d: Definition, dots: dict[Tensor, Tensor], program: Program) -> Expr:
    """Σ over the active operands of local derivative times tangent, simplified."""
    terms: list[Expr] = []
    taken = {i.name for i in d.indices}
    for operand, dot in dots.items():
        if operand in tensors_in(d.body) and operand is not d.target:
            letters: list[Index] = []
            for axis in operand.axes:
                letters.append(fresh_index(axis, taken | {i.name for i in letters}))
            entry = Access(operand, tuple(letters))
            derivative, _ = local_derivative(d, Partial(d.access, entry))
            product = multiply((derivative, Access(dot, tuple(letters))))
            terms.append(Sum(tuple(letters), product) if letters else product)
    body, _, _ = simplify(clean_all(add(tuple(terms))), Knowledge.of(program)) if terms else (ZERO, [], [])
    return body


def jacobian_program(program: Program, backward: Backward, wrt: Tensor, name: str) -> Program:
    """The program of d out[ι] / d wrt[υ], with the indices of the output and then those of the input.

    It is the vector–Jacobian product with an indicator for the vector: one entry of the output.
    """
    output = program.outputs[0]
    source = next(d for d in program.definitions if d.target is output)
    found = next(d for d in backward.definitions if d.target is wrt.adjoint)
    body = found.body
    for d in reversed(backward.definitions):
        if d.target is not found.target:
            body = inline(body, d.access, d.body)
    taken = {i.name for i in found.indices}
    rows: list[Index] = []
    for index in source.indices:
        rows.append(fresh_index(index.range, taken | {i.name for i in rows}, prefer=index.name))

    def one_entry(at: tuple[Expr, ...]) -> Expr:
        return multiply(tuple(Indicator("==", a, r) for a, r in zip(at, rows, strict=True)))

    body = rename_bound(body, taken | {i.name for i in rows})
    body = replace_access(body, output.adjoint, one_entry)
    body, _, _ = simplify(body, Knowledge.of(program))
    indices = (*rows, *found.indices)
    target = Tensor("J", tuple(i.range for i in indices), "float", "value")
    definitions = (*program.definitions, Definition(target, indices, body))
    whole = replace(program, name=name, definitions=definitions, outputs=(target,))
    return without_dead(whole, frozenset())
