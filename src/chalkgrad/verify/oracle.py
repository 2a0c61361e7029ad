"""True gradients, by perturbing one entry at a time and running the forward pass again.

    dL/dt  =  d ( sum over outputs of <G, output> ) / dt,   t every float input and every value

All perturbations of one tensor are run at once, along an axis of their own that is added to every
value downstream. The derivative is the complex step's where everything downstream allows it, and a
Richardson extrapolation with an error estimate elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chalkgrad.expr.nodes import Access, Definition, Expr, Index, Program, Range, Tensor
from chalkgrad.expr.ops import replace_access, tensors_in
from chalkgrad.verify.differences import IMAGINARY, LEVELS, WIDEST
from chalkgrad.verify.environment import Array, Environment
from chalkgrad.verify.reference import holomorphic, run_on

BATCH = 128
"""How many perturbations run at once, which bounds the memory."""

ROUNDING = 64 * np.finfo(float).eps
"""Relative rounding error granted to a forward pass of a few dozen operations."""


@dataclass(frozen=True, slots=True)
class Adjoints:
    """Gradients of every float tensor, keyed by adjoint.

    Attributes:
        values: dL/dt, keyed by `t.adjoint`.
        errors: Estimated absolute error of each.
        methods: "complex step" or "Richardson".
    """

    values: Mapping[Tensor, Array]
    errors: Mapping[Tensor, float]
    methods: Mapping[Tensor, str]


def adjoints(program: Program, env: Environment, upstream: Mapping[Tensor, Array]) -> Adjoints:
    """The numeric derivative of sum over outputs of <G, output> by every float input and value.

    Args:
        program: The forward pass.
        env: Sizes, inputs, parameters and forward values.
        upstream: G, keyed by output.

    Example: for y = x² and G = 1 at x = 3 the adjoint of x is 6.
    """
    values: dict[Tensor, Array] = {}
    slack: dict[Tensor, float] = {}
    methods: dict[Tensor, str] = {}
    for tensor in (*program.inputs, *(d.target for d in program.definitions)):
        if tensor.dtype == "float":
            downstream = tuple(_downstream(program.definitions, tensor))
            smooth = all(holomorphic(d.body) for d in downstream)
            take = _by_complex_step if smooth else _by_richardson
            values[tensor.adjoint], slack[tensor.adjoint] = take(tensor, downstream, env, upstream)
            methods[tensor.adjoint] = "complex step" if smooth else "Richardson"
    # An adjoint that cancels to nearly 0 still carries the rounding of what cancelled.
    largest = max((float(np.abs(v).max(initial=0.0)) for v in values.values()), default=0.0)
    errors = {t: s + ROUNDING * largest for t, s in slack.items()}
    return Adjoints(values, errors, methods)


def _downstream(definitions: Sequence[Definition], tensor: Tensor) -> Iterator[Definition]:
    """The definitions that depend on the tensor, in order."""
    reached = {tensor}
    for definition in definitions:
        if reached & tensors_in(definition.body):
            reached.add(definition.target)
            yield definition


def _by_complex_step(
    tensor: Tensor, downstream: Sequence[Definition], env: Environment, upstream: Mapping[Tensor, Array]
) -> tuple[Array, float]:
    loss = _losses(tensor, downstream, env, upstream, 1j * IMAGINARY)
    return loss.imag.reshape(env.array(tensor).shape) / IMAGINARY, 0.0


def _by_richardson(
    tensor: Tensor, downstream: Sequence[Definition], env: Environment, upstream: Mapping[Tensor, Array]
) -> tuple[Array, float]:
    """Central differences at halved steps, extrapolated; see `differences.richardson`."""
    table: list[Array] = []
    correction, largest = np.inf, 0.0
    for level in range(LEVELS):
        step = WIDEST / 2**level
        above = _losses(tensor, downstream, env, upstream, step)
        below = _losses(tensor, downstream, env, upstream, -step)
        largest = max(largest, float(np.abs(above).max(initial=0.0)))
        row = [(above - below) / (2 * step)]
        for order, coarser in enumerate(table, start=1):
            row.append(row[-1] + (row[-1] - coarser) / (4**order - 1))
        if table:
            correction = float(np.abs(row[-1] - table[-1]).max(initial=0.0))
        table = row
    shape = env.array(tensor).shape
    return table[-1].reshape(shape), correction + ROUNDING * largest / WIDEST


def _losses(
    tensor: Tensor,
    downstream: Sequence[Definition],
    env: Environment,
    upstream: Mapping[Tensor, Array],
    step: complex,
) -> Array:
    """sum over outputs of <G, output>, with each entry of the tensor moved by `step` in turn."""
    base = np.asarray(env.array(tensor))
    losses = [
        _batch(tensor, downstream, env, upstream, base[..., None] + step * move)
        for move in _moves(base.shape)
    ]
    return np.concatenate(losses)


def _moves(shape: tuple[int, ...]) -> Iterator[Array]:
    """One-hot arrays stacked along a last axis, a batch at a time."""
    count = int(np.prod(shape))
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        move = np.zeros((count, stop - start))
        move[np.arange(start, stop), np.arange(stop - start)] = 1.0
        yield move.reshape(*shape, stop - start)


def _batch(
    tensor: Tensor,
    downstream: Sequence[Definition],
    env: Environment,
    upstream: Mapping[Tensor, Array],
    moved: Array,
) -> Array:
    extra = Index("#", Range("#", moved.shape[-1]))
    moving = (tensor, *(d.target for d in downstream))
    stacked = {t: Tensor(t.name, (*t.axes, extra.range), t.dtype, t.role) for t in moving}
    definitions = [
        Definition(stacked[d.target], (*d.indices, extra), _stack(d.body, stacked, extra)) for d in downstream
    ]
    arrays = run_on(definitions, env.having({stacked[tensor]: moved})).arrays
    total = np.zeros(moved.shape[-1], complex)
    for output, gradient in upstream.items():
        if output in stacked:
            weight = np.asarray(gradient)[..., None]
            total = total + (arrays[stacked[output]] * weight).reshape(-1, moved.shape[-1]).sum(axis=0)
    return total if np.iscomplexobj(moved) else total.real


def _stack(body: Expr, stacked: Mapping[Tensor, Tensor], extra: Index) -> Expr:
    """The body with each perturbed tensor read along the extra axis too."""
    for tensor, wide in stacked.items():
        body = replace_access(body, tensor, lambda at, wide=wide: Access(wide, (*at, extra)))  # type: ignore[misc]
    return body
