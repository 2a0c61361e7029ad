"""Source text of a forward and a backward function that reads as if written by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chalkgrad.derivation import Backward
from chalkgrad.emit.dialects import DIALECTS, Dialect
from chalkgrad.emit.function_text import all_names, backward_function, forward_function, header
from chalkgrad.emit.jax_text import jax_module
from chalkgrad.emit.names import prefix
from chalkgrad.emit.plan import Plan, plan
from chalkgrad.emit.torch_text import torch_module
from chalkgrad.errors import UnsupportedError, suggestion
from chalkgrad.expr.guarded import sizes_known
from chalkgrad.expr.nodes import Program
from chalkgrad.render.own_names import with_names_apart

ERF = """\
import math

import numpy as np

try:
    from scipy.special import erf
except ImportError:  # as exact, one entry at a time

    def erf(x):
        return np.vectorize(math.erf, otypes=[np.result_type(x)])(x)"""
"""The head of a NumPy module that needs the error function, which NumPy itself lacks."""


@with_names_apart
def source(
    program: Program,
    backward: Backward,
    name: str | None = None,
    target: str = "numpy",
    *,
    jvp: bool = False,
    parameters: Sequence[str] = (),
) -> str:
    """The text of a module with `NAME_forward` and, where a gradient is wanted, `NAME_backward`.

    `NAME_forward(*inputs, **parameters)` returns the output (a tuple of several) and a cache;
    `NAME_backward(*upstream, cache)` returns a tuple with the gradient of each input in order, None
    for integer and boolean inputs and for those whose gradient was not asked for. For JAX there is
    also NAME, a `custom_vjp` function of both. For PyTorch there is instead NAME and a class of the
    same name in capitals, an `autograd.Function`.

    Args:
        program: The forward pass.
        backward: Adjoint definitions in evaluation order.
        name: The functions' prefix; the program's name by default.
        target: A backend of `chalkgrad.emit.dialects.DIALECTS`.
        jvp: For PyTorch, a forward-mode rule, too (which `torch.compile` refuses).
        parameters: For PyTorch, inputs to be the parameters of an `nn.Module` called NAMEModule.

    Raises:
        UnsupportedError: For an unknown backend, or a construct that has no code, by name.
        DerivationError: When the backward does not define what it should.
    """
    if target not in DIALECTS:
        known = list(DIALECTS)
        raise UnsupportedError(
            f"there is no backend '{target}'.{suggestion(target, known)}",
            hint=f"Backends: {', '.join(known)}.",
        )
    if target != "torch" and (jvp or parameters):
        raise UnsupportedError(
            f"{'jvp' if jvp else 'parameters'} is an option of the target 'torch', not of '{target}'."
        )
    name = name or program.name
    made = plan(program, backward)
    if target == "numpy" or not any(made.gradients):
        return module(made, DIALECTS[target], name)
    with sizes_known(program):
        if target == "torch":
            return torch_module(made, name, jvp, tuple(parameters))
        return jax_module(made, name)


def module(p: Plan, dialect: Dialect, name: str) -> str:
    """The plain functions of a plan as a module's text."""
    with sizes_known(p.program):
        names = all_names(p)
        functions = [forward_function(p, dialect, names, prefix(name))]
        if any(p.gradients):
            functions.append(backward_function(p, dialect, names, prefix(name)))
        code = "\n\n\n".join(functions)
        head = "\n".join(header(dialect, code))
        if dialect.name == "numpy" and re.search(r"(?<![\w.])erf\(", code):
            head = ERF
        return f"{head}\n\n\n{code}\n"
