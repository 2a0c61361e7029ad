"""A derivative as a forward pass of its own: what `Layer.gradient` differentiates again."""

from __future__ import annotations

from dataclasses import replace

from chalkgrad.derivation import Backward
from chalkgrad.diff.stable import without_dead
from chalkgrad.errors import DerivationError
from chalkgrad.expr.nodes import Access, Definition, Expr, Program, Tensor
from chalkgrad.expr.ops import map_children, tensors_in


def gradient_program(
    program: Program, backward: Backward, name: str, *, with_outputs: bool = False
) -> Program:
    """The program that computes the wanted adjoints: forward values, then the backward.

    The adjoint of f becomes an ordinary value called df; an upstream gradient that the backward
    reads becomes one more input, after the layer's own. `with_outputs` puts the layer's own outputs
    before the adjoints.

    Raises:
        DerivationError: If a name such as df is taken by a value of the forward.
    """
    defined = {d.target for d in backward.definitions}
    read = {t for d in backward.definitions for t in tensors_in(d.body) if t.role == "adjoint"}
    given = tuple(t.adjoint for t in program.outputs if t.adjoint in read - defined)
    taken = {t.name for t in program.tensors()}
    names = {t: f"d{t.name}" for t in (*defined, *given)}
    clash = next((n for n in names.values() if n in taken), None)
    if clash is not None:
        raise DerivationError(
            f"The gradient would be called '{clash}', but {program.name} has a value of that name.",
            hint=f"Rename '{clash}' in the forward formula.",
        )
    plain = {t: Tensor(n, t.axes, "float", "input" if t in given else "value") for t, n in names.items()}
    definitions = tuple(
        Definition(plain[d.target], d.indices, _plain(d.body, plain)) for d in backward.definitions
    )
    whole = replace(
        program,
        name=name,
        inputs=(*program.inputs, *(plain[t] for t in given)),
        definitions=(*program.definitions, *definitions),
        outputs=(*(program.outputs if with_outputs else ()), *(plain[t] for t in backward.wanted)),
    )
    return without_dead(whole, frozenset())


def _plain(e: Expr, names: dict[Tensor, Tensor]) -> Expr:
    if isinstance(e, Access) and e.tensor in names:
        return Access(names[e.tensor], tuple(_plain(i, names) for i in e.indices))
    return map_children(e, lambda kid: _plain(kid, names))
