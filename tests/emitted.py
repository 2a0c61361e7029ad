"""Gradients of a layer by each backend's emitted code, and by its derivation's own lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.diff.derive import for_code
from chalkgrad.emit.module_text import source
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.reference import evaluate, run

Arrays = list[np.ndarray]


def draw(*shape: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def emitted(layer: cg.Layer, target: str, **options: Any) -> dict[str, Any]:
    """The names in the module that is written for a backend, run."""
    space: dict[str, Any] = {}
    exec(source(*for_code(layer.program), layer.name, target, **options), space)
    return space


def gradients(
    layer: cg.Layer, target: str, inputs: list[np.ndarray], upstream: Any
) -> list[np.ndarray | None]:
    """One gradient per input, by a backend's emitted code."""
    floats = [np.asarray(a).dtype.kind == "f" for a in inputs]
    if target == "numpy":
        ops = layer.compile("numpy")
        return list(ops.backward(upstream, ops.forward(*inputs)[1]))
    function = emitted(layer, target)[layer.name]
    if target == "torch":
        torch = pytest.importorskip("torch")
        tensors = [torch.tensor(a, requires_grad=f) for a, f in zip(inputs, floats, strict=True)]
        function(*tensors).backward(torch.as_tensor(upstream, dtype=torch.float64))
        return [t.grad.numpy() if f else None for t, f in zip(tensors, floats, strict=True)]
    jax = pytest.importorskip("jax")
    out, back = jax.vjp(function, *(jax.numpy.asarray(a) for a in inputs))
    found = back(jax.numpy.asarray(upstream, out.dtype))
    return [np.asarray(g) if f else None for g, f in zip(found, floats, strict=True)]


TARGETS = ("numpy", "torch", "jax")


def by_the_derivation(layer: cg.Layer, arrays: dict[str, Any], upstream: Any = None) -> dict[str, np.ndarray]:
    """The derivation's own results, evaluated as they are written by the slow reference evaluator."""
    record = layer.derive(form="closed").record
    given_inputs = {t: np.asarray(arrays[t.name]) for t in record.program.inputs}
    values = run(record.program, given_inputs)
    sizes = {r: s for t, a in values.items() for r, s in zip(t.axes, a.shape, strict=True)}
    if upstream is not None:
        values[record.upstream[0]] = upstream
    inside = Environment(sizes, values)
    for definition in record.chosen.definitions:
        if definition.target not in inside.arrays:
            found = evaluate(definition.body, definition.indices, inside)
            inside = inside.having({definition.target: found})
    return {t.name: inside.array(t.adjoint) for t in record.wrt}
