"""A third meaning of the language: whole arrays of PyTorch or JAX with named axes.

It shares the node classes with `chalkgrad` and nothing else; derivatives are autograd's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Pow,
    Program,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
)

jax.config.update("jax_enable_x64", True)

Names = tuple[Index, ...]
COMPARE = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Backend:
    """A library's spelling of what the interpreter needs."""

    array: Callable[[Any], Any]
    permute: Callable[..., Any]
    functions: Mapping[str, Callable[..., Any]]
    max: Callable[..., Any]
    min: Callable[..., Any]
    broadcast: Callable[..., Any]
    linalg: Any
    floating: Callable[[Any], Any]


TORCH = Backend(
    array=lambda a: a if isinstance(a, torch.Tensor) else torch.as_tensor(np.array(a)),
    permute=torch.permute,
    functions={
        "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "sqrt": torch.sqrt, "tanh": torch.tanh,
        "sigmoid": torch.sigmoid, "softplus": torch.nn.functional.softplus, "relu": torch.relu,
        "silu": torch.nn.functional.silu, "gelu": torch.nn.functional.gelu, "abs": torch.abs,
        "sign": torch.sign, "sin": torch.sin, "cos": torch.cos, "erf": torch.erf,
        "maximum": torch.maximum, "minimum": torch.minimum, "clip": torch.clamp,
        "where": lambda c, a, b: torch.where(c != 0, a, b),
    },
    max=torch.amax, min=torch.amin, broadcast=torch.broadcast_to, linalg=torch.linalg,
    floating=lambda a: a.double(),
)  # fmt: skip
JAX = Backend(
    array=jnp.asarray,
    permute=jnp.permute_dims,
    functions={
        "exp": jnp.exp, "expm1": jnp.expm1, "log": jnp.log, "sqrt": jnp.sqrt, "tanh": jnp.tanh,
        "sigmoid": jax.nn.sigmoid, "softplus": jax.nn.softplus, "relu": jax.nn.relu,
        "silu": jax.nn.silu, "gelu": lambda x: jax.nn.gelu(x, approximate=False), "abs": jnp.abs,
        "sign": jnp.sign, "sin": jnp.sin, "cos": jnp.cos, "erf": jax.scipy.special.erf,
        "maximum": jnp.maximum, "minimum": jnp.minimum, "clip": jnp.clip,
        "where": lambda c, a, b: jnp.where(c != 0, a, b),
    },
    max=lambda a, dim: jnp.max(a, axis=dim), min=lambda a, dim: jnp.min(a, axis=dim),
    broadcast=jnp.broadcast_to, linalg=jnp.linalg, floating=lambda a: a.astype(jnp.float64),
)  # fmt: skip


class ArrayInterpreter:
    """Evaluates expressions as arrays over named axes.

    Args:
        backend: PyTorch or JAX.
        sizes: Every symbolic range's size.
        values: Inputs, parameters and values so far, as the backend's arrays; integers as NumPy's.
    """

    def __init__(self, backend: Backend, sizes: Mapping[Range, int], values: dict[Tensor, Any]) -> None:
        self.backend, self.sizes, self.values = backend, sizes, values

    def size(self, of: Range) -> int:
        return of.size if of.size is not None else self.sizes[of]

    def define(self, program: Program) -> None:
        for definition in program.definitions:
            array = self.over(self.value(definition.body), definition.indices)
            shape = tuple(self.size(i.range) for i in definition.indices)
            self.values[definition.target] = self.backend.broadcast(array, shape)

    def over(self, named: tuple[Any, Names], names: Names) -> Any:
        """The array with these axes in this order, of length one where it does not depend on one."""
        array, own = named
        array = self.backend.permute(array, tuple(own.index(n) for n in names if n in own))
        return array.reshape(tuple(self.size(n.range) if n in own else 1 for n in names))

    def together(self, *parts: tuple[Any, Names]) -> tuple[list[Any], Names]:
        names = tuple(dict.fromkeys(n for _, own in parts for n in own))
        return [self.over(p, names) for p in parts], names

    def full(self, named: tuple[Any, Names], names: Names) -> Any:
        return self.backend.broadcast(self.over(named, names), tuple(self.size(n.range) for n in names))

    def value(self, e: Expr) -> tuple[Any, Names]:
        b = self.backend
        match e:
            case Const(number):
                return b.array(np.float64(number)), ()
            case Apply("pi", ()):
                return b.array(np.float64(math.pi)), ()
            case Size() | Index():
                array, names = self.whole(e)
                return b.array(array.astype(float)), names
            case Access():
                return self.access(e)
            case Apply("floordiv" | "mod"):
                array, names = self.whole(e)
                return b.array(array.astype(float)), names
            case Indicator(op, left, right):
                (x, y), names = self.together(self.value(left), self.value(right))
                return b.floating(COMPARE[op](x, y)), names
            case Apply(fn, args):
                arrays, names = self.together(*map(self.value, args))
                return b.functions[fn](*arrays), names
            case Add(terms):
                arrays, names = self.together(*map(self.value, terms))
                return reduce(operator.add, arrays), names
            case Mul(factors):
                arrays, names = self.together(*map(self.value, factors))
                return reduce(operator.mul, arrays), names
            case Pow(base, Const(exponent)):
                array, names = self.value(base)
                return array ** float(exponent), names
            case Pow(base, exponent):
                (x, y), names = self.together(self.value(base), self.value(exponent))
                return x**y, names
            case Sum(indices, body) | Reduce(_, indices, body):
                array, names = self.value(body)
                kept = tuple(n for n in names if n not in indices)
                array = self.full((array, names), (*kept, *indices))
                dims = tuple(range(len(kept), len(kept) + len(indices)))
                if isinstance(e, Sum):
                    return array.sum(dims), kept
                return {"max": b.max, "min": b.min}[e.op](array, dims), kept
            case Opaque():
                return self.matrix_function(e)
        raise TypeError(type(e))

    def matrix_function(self, e: Opaque) -> tuple[Any, Names]:
        array, names = self.value(e.body)
        kept = tuple(n for n in names if n not in e.indices)
        matrix = self.full((array, names), (*kept, *e.indices))
        if e.fn == "inv":
            assert not kept
            return self.take(self.backend.linalg.inv(matrix), e.at)
        if e.fn == "det":
            return self.backend.linalg.det(matrix), kept
        return self.backend.linalg.slogdet(matrix)[1], kept

    def access(self, e: Access) -> tuple[Any, Names]:
        return self.take(self.values[e.tensor], e.indices)

    def take(self, array: Any, indices: tuple[Expr, ...]) -> tuple[Any, Names]:
        """array[indices]; what lies outside is read as some entry, and an indicator must drop it."""
        if not indices:
            return self.backend.floating(self.backend.array(array)), ()
        places, names = self.together_whole(*map(self.whole, indices))
        places = np.broadcast_arrays(*places)
        clipped = tuple(np.clip(p, 0, n - 1) for p, n in zip(places, array.shape, strict=True))
        taken = self.backend.array(array)[clipped]
        return self.backend.floating(taken), names

    # --- whole numbers, which need no derivative and are NumPy's

    def together_whole(self, *parts: tuple[np.ndarray, Names]) -> tuple[list[np.ndarray], Names]:
        names = tuple(dict.fromkeys(n for _, own in parts for n in own))
        spread = []
        for array, own in parts:
            ordered = array.transpose([own.index(n) for n in names if n in own])
            spread.append(ordered.reshape([self.size(n.range) if n in own else 1 for n in names]))
        return spread, names

    def whole(self, e: Expr) -> tuple[np.ndarray, Names]:
        match e:
            case Const(number):
                return np.asarray(int(number)), ()
            case Size(of):
                return np.asarray(self.size(of)), ()
            case Index():
                return np.arange(self.size(e.range)), (e,)
            case Access(tensor, indices):
                places, names = self.together_whole(*map(self.whole, indices))
                return np.asarray(self.values[tensor])[tuple(np.broadcast_arrays(*places))], names
            case Add(terms):
                parts, names = self.together_whole(*map(self.whole, terms))
                return reduce(operator.add, parts), names
            case Mul(factors):
                parts, names = self.together_whole(*map(self.whole, factors))
                return reduce(operator.mul, parts), names
            case Apply("floordiv" | "mod" as fn, args):
                (x, y), names = self.together_whole(*map(self.whole, args))
                return (x // y if fn == "floordiv" else x % y), names
        raise TypeError(type(e))


def torch_gradients(
    program: Program, sizes: Mapping[Range, int], arrays: Mapping[Tensor, Any], upstream: Mapping[Tensor, Any]
) -> dict[Tensor, np.ndarray]:
    """PyTorch's gradient of Σ <G, output> by each float input."""
    values: dict[Tensor, Any] = {}
    leaves = {t: torch.tensor(arrays[t], requires_grad=True) for t in program.inputs if t.dtype == "float"}
    for tensor in (*program.inputs, *(p for p, _ in program.parameters)):
        values[tensor] = leaves.get(tensor, np.asarray(arrays[tensor]))
    interpreter = ArrayInterpreter(TORCH, sizes, values)
    interpreter.define(program)
    loss = sum((interpreter.values[t] * torch.as_tensor(g)).sum() for t, g in upstream.items())
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return {t: np.zeros(leaf.shape) if g is None else g.numpy() for (t, leaf), g in pairs}


def jax_gradients(
    program: Program, sizes: Mapping[Range, int], arrays: Mapping[Tensor, Any], upstream: Mapping[Tensor, Any]
) -> dict[Tensor, np.ndarray]:
    """JAX's gradient of Σ <G, output> by each float input."""
    wanted = [t for t in program.inputs if t.dtype == "float"]
    fixed = {t: np.asarray(arrays[t]) for t in (*program.inputs, *(p for p, _ in program.parameters))}

    def loss(leaves: list[Any]) -> Any:
        interpreter = ArrayInterpreter(JAX, sizes, {**fixed, **dict(zip(wanted, leaves, strict=True))})
        interpreter.define(program)
        return sum((interpreter.values[t] * g).sum() for t, g in upstream.items())

    found = jax.jit(jax.grad(loss))([jnp.asarray(arrays[t]) for t in wanted])
    return {t: np.asarray(g) for t, g in zip(wanted, found, strict=True)}
