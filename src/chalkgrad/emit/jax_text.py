"""JAX: a `custom_vjp` function made of the plain forward and backward.

Keyword parameters are static numbers (`nondiff_argnums`), so that differentiating by one is an error
and never a silent zero.
"""

from __future__ import annotations

from dataclasses import replace

from chalkgrad.emit.arrays import Einsum, MatMul, arrays_of, every_part
from chalkgrad.emit.dialects import JAX
from chalkgrad.emit.function_text import (
    Row,
    all_names,
    backward_function,
    forward_doc,
    forward_function,
    function_text,
    header,
    literal,
)
from chalkgrad.emit.names import function_name, prefix
from chalkgrad.emit.plan import Plan

RESERVED = ("derivative", "jnp", "jax", "functools")


def jax_module(p: Plan, name: str) -> str:
    """The module's text: NAME_forward, NAME_backward, and NAME."""
    p = _with_sharded(p)
    names = all_names(p, RESERVED)
    function, stem = function_name(name), prefix(name)
    inputs = [names.of(t) for t in p.program.inputs]
    numbers = [names.of(t) for t, _ in p.program.parameters]
    texts = [forward_function(p, JAX, names, stem), backward_function(p, JAX, names, stem)]
    keywords = [f"{n}={n}" for n in numbers]
    called = f"{stem}_forward({', '.join([*inputs, *keywords])})"
    given = "*derivative" if len(p.upstream) > 1 else names.of(p.upstream[0])
    argument = "derivative" if len(p.upstream) > 1 else names.of(p.upstream[0])
    rows = [Row(f"return {called}[0]")]
    if not numbers:
        body = function_text(function, inputs, forward_doc(p), rows)
        forward = f"{stem}_forward"
        backward = f"lambda cache, {argument}: {stem}_backward({given}, cache)"
        texts.append(f"@jax.custom_vjp\n{body}")
        texts.append(f"{function}.defvjp({forward}, {backward})")
    else:
        private = f"_{function}"
        places = ", ".join(str(len(inputs) + n) for n in range(len(numbers)))
        body = function_text(private, [*inputs, *numbers], [], rows)
        static = f"({places},)" if len(numbers) == 1 else f"({places})"
        texts.append(f"@functools.partial(jax.custom_vjp, nondiff_argnums={static})\n{body}")
        texts.append(
            f"{private}.defvjp(\n    lambda {', '.join([*inputs, *numbers])}: {called},\n"
            f"    lambda {', '.join([*numbers, 'cache', argument])}: {stem}_backward({given}, cache),\n)"
        )
        defaults = [f"{names.of(t)}={literal(v)}" for t, v in p.program.parameters]
        plain = [Row(f"return {private}({', '.join([*inputs, *numbers])})")]
        texts.append(function_text(function, [*inputs, "*", *defaults], forward_doc(p), plain))
    code = "\n\n\n".join(texts)
    head = header(JAX, code)
    if numbers:
        head = ["import functools", "", *head]
    return "\n".join(head) + f"\n\n\n{code}\n"


def _with_sharded(p: Plan) -> Plan:
    """The plan, with each input saved whose gradient is a contraction: it says how that is sharded."""
    contracted = {
        line.definition.target
        for line in p.backward
        for s in line.statements
        for a in arrays_of(s)
        if any(isinstance(b, MatMul | Einsum) and b.axes == line.definition.indices for b in every_part(a))
    }
    saved = {*p.saved, *(t for t in p.program.inputs if t.adjoint in contracted)}
    return replace(p, saved=tuple(t for t in p.program.tensors() if t in saved))
