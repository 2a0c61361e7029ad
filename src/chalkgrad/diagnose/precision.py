"""How much rounding a right backward may show, from the condition of the computation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.labelled import Evaluation, Value
from chalkgrad.diagnose.points import Point
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array

ROUNDS = 8
GRANTED = 40.0
"""A different but sound order of operations stays within this many deviations."""


def rounding(derived: Derived, point: Point, eps: float, seed: int = 0) -> dict[Tensor, Array]:
    """The error of each gradient that rounding at `eps` explains, entry by entry.

    Every input, forward value and adjoint is moved by a relative `eps` at random, in the staged and
    in the closed form; how far the gradients move is how well the computation can do.
    """
    rng = np.random.default_rng(seed)
    spread = {t: np.zeros(point.true[t].shape) for t in derived.wrt}
    for _ in range(ROUNDS):
        for backward in (derived.staged, derived.closed):
            moved = _moved(derived, point, eps, rng)
            for d in backward.definitions:
                if d.target in moved.changed or d.target in {o.adjoint for o in derived.program.outputs}:
                    continue
                value = moved.defined(d.indices, d.body)
                moved.having(d.target, Value(_noisy(value.array, eps, rng)))
            for t in derived.wrt:
                apart = np.abs(moved.array(t.adjoint) - point.true[t])
                spread[t] = np.fmax(spread[t], np.where(np.isfinite(apart), apart, 0.0))
    found = {}
    for t in derived.wrt:
        scale = float(np.abs(point.magnitude[t]).max(initial=0.0))
        base = eps * (point.magnitude[t] + 0.1 * scale)
        # One observation's deviation is luck; the largest of all is the scale.
        bound = GRANTED * (0.5 * spread[t] + 0.5 * float(spread[t].max(initial=0.0)) + base)
        # Noise that breaks a tie (the maximum no longer equals its entry) is no rounding error.
        found[t] = np.minimum(bound, largest(point, t, eps))
    return found


def largest(point: Point, tensor: Tensor, eps: float) -> float:
    """What no entry of a gradient is granted more than."""
    return float(np.sqrt(eps)) * float(np.abs(point.magnitude[tensor]).max(initial=0.0))


def _moved(derived: Derived, point: Point, eps: float, rng: np.random.Generator) -> Evaluation:
    """Inputs, upstream gradients and forward values, each with a rounding error of its own."""
    program = derived.program
    changed: dict[Tensor, Value] = {}
    for t in (*program.inputs, *(o.adjoint for o in program.outputs)):
        array = np.asarray(point.env.arrays.get(t, 0.0))
        if t.dtype == "float" and t in point.env.arrays:
            changed[t] = Value(_noisy(array, eps, rng))
    given = {t: a for t, a in point.env.arrays.items() if t in program.inputs or t.role == "parameter"}
    moved = Evaluation(replace(point.env, arrays=given), changed)
    for d in program.definitions:
        value = moved.defined(d.indices, d.body).array
        moved.having(d.target, Value(_noisy(value, eps, rng) if d.target.dtype == "float" else value))
    return moved


def _noisy(array: Array, eps: float, rng: np.random.Generator) -> Array:
    return np.asarray(array * (1 + eps * rng.choice((-1.0, 1.0), size=array.shape)))
