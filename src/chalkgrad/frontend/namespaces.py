"""PyTorch's and JAX's spellings of what NumPy has, in a traced function.

    torch.softmax(f, dim=1)    F.relu(x)    x.mm(W).sum(dim=0, keepdim=True)    jnp.exp(x)    jax.nn.silu

A traced function that names these modules sees a stand-in: functions that differ from NumPy's only in name,
or in the names of their arguments, mean the same; any other is refused by name. The modules themselves are
neither imported nor changed.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from chalkgrad.errors import UnsupportedError, suggestion
from chalkgrad.frontend import exact, functions
from chalkgrad.frontend.traced import METHODS, TracedArray

RENAMED = {"dim": "axis", "keepdim": "keepdims", "input": "a", "other": "b", "dims": "axis"}
"""Argument names of PyTorch, and NumPy's."""


def _named(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with PyTorch's argument names."""

    def apply(first: Any, *args: Any, **kwargs: Any) -> Any:
        return function(first, *args, **{RENAMED.get(name, name): value for name, value in kwargs.items()})

    return apply


def softmax(x: Any, axis: Any = -1) -> Any:
    """exp x / Σ exp x."""
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x: Any, axis: Any = -1) -> Any:
    """x − log Σ exp x."""
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """log Σ exp x."""
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


def leaky_relu(x: Any, negative_slope: Any = 0.01) -> Any:
    """x, or a fraction of it where it is negative."""
    return np.where(x > 0, x, negative_slope * x)


def elu(x: Any, alpha: Any = 1.0) -> Any:
    """x, or α(eˣ − 1) where it is negative."""
    return np.where(x > 0, x, alpha * np.expm1(x))


def gelu(x: Any, approximate: Any = "none") -> Any:
    """x Φ(x), or its approximation by tanh."""
    if approximate in ("none", False):
        return functions.gelu(x)
    return 0.5 * x * (1 + np.tanh(exact.function("sqrt", np.sqrt)(2 / exact.PI) * (x + 0.044715 * x**3)))


def variance(
    x: Any, axis: Any = None, unbiased: bool = True, keepdims: bool = False, correction: int = 1
) -> Any:
    """PyTorch's variance divides by n − 1 unless told otherwise; torch.var(x, False) is of all entries."""
    if isinstance(axis, bool):
        axis, unbiased = None, axis
    return np.var(x, axis=axis, ddof=correction if unbiased else 0, keepdims=keepdims)


def deviation(x: Any, *args: Any, **options: Any) -> Any:
    """The square root of the variance."""
    return np.sqrt(variance(x, *args, **options))


def norm(x: Any, p: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """(Σ |x|^p)^(1/p); the root of the sum of squares where p is not given."""
    return np.linalg.norm(x, None if p in (2, "fro") else p, axis=axis, keepdims=keepdims)


def chunk(x: Any, chunks: int, axis: int = 0) -> Any:
    """Equal parts."""
    return np.split(x, chunks, axis=axis)


def logdet(x: Any) -> Any:
    """log det, of a matrix whose determinant is positive."""
    return np.linalg.slogdet(x)[1]


def masked_fill(x: Any, mask: Any, value: Any) -> Any:
    """The value where the mask holds."""
    return np.where(mask, value, x)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x Wᵀ + b."""
    product = np.matmul(x, np.transpose(weight))
    return product if bias is None else product + bias


def hardtanh(x: Any, min_val: Any = -1.0, max_val: Any = 1.0) -> Any:
    """x between two bounds."""
    return np.clip(x, min_val, max_val)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Neighbouring axes as one."""
    first, last = start_dim % x.ndim, end_dim % x.ndim
    return np.reshape(x, (*x.shape[:first], -1, *x.shape[last + 1 :]))


def permute(x: Any, *order: Any) -> Any:
    """The axes in another order."""
    return np.transpose(x, order[0] if len(order) == 1 and isinstance(order[0], tuple | list) else order)


def gather(x: Any, axis: int, index: Any) -> Any:
    """np.take_along_axis."""
    return np.take_along_axis(x, index, axis=axis)


def index_select(x: Any, axis: int, index: Any) -> Any:
    """np.take."""
    return np.take(x, index, axis=axis)


def view(x: Any, *shape: Any) -> Any:
    """np.reshape."""
    return np.reshape(x, shape[0] if len(shape) == 1 else shape)


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002  (PyTorch's names)
    """np.clip."""
    return np.clip(x, min, max)


SAME = (
    "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "square", "tanh", "sin", "cos", "tan", "sinh",
    "cosh", "abs", "sign", "where", "maximum", "minimum", "einsum", "matmul", "dot", "outer", "trace",
    "diagonal", "diag", "sum", "mean", "prod", "stack", "tril", "triu", "flip", "diff", "ones_like",
    "zeros_like", "full_like", "cumsum", "logaddexp", "reciprocal", "reshape", "squeeze",
    "swapaxes", "moveaxis",
)  # fmt: skip
"""Functions that are called the same."""

NN: dict[str, Callable[..., Any]] = {
    "relu": functions.relu, "sigmoid": functions.sigmoid, "silu": functions.silu, "swish": functions.silu,
    "softplus": functions.softplus, "gelu": gelu, "elu": elu, "leaky_relu": leaky_relu, "softmax": softmax,
    "log_softmax": log_softmax, "logsumexp": logsumexp, "tanh": np.tanh, "erf": functions.erf,
    "expit": functions.sigmoid, "logaddexp": np.logaddexp, "linear": linear, "hardtanh": hardtanh,
    "hard_tanh": hardtanh, "relu6": lambda x: np.clip(x, 0, 6),
    "mish": lambda x: x * np.tanh(functions.softplus(x)),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}  # fmt: skip
"""Functions of torch.nn.functional, jax.nn and scipy.special."""

TORCH: dict[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in SAME}, **NN,
    "mm": np.matmul, "bmm": np.matmul, "mv": np.matmul, "amax": np.max, "amin": np.min, "var": variance,
    "std": deviation, "cat": np.concatenate, "concat": np.concatenate, "permute": permute,
    "transpose": np.swapaxes, "clamp": clamp, "clip": clamp, "pow": np.power,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "unsqueeze": np.expand_dims, "gather": gather, "index_select": index_select, "flatten": flatten,
    "inverse": np.linalg.inv, "chunk": chunk, "logdet": logdet, "masked_fill": masked_fill,
    "det": np.linalg.det, "slogdet": np.linalg.slogdet, "norm": norm, "t": np.transpose,
    "mul": np.multiply, "add": np.add, "sub": np.subtract, "div": np.divide, "neg": np.negative,
    "ger": np.outer,
}  # fmt: skip
"""Functions of torch."""

LINALG = {n: getattr(np.linalg, n) for n in ("inv", "det", "slogdet", "norm", "solve")}
LINALG["vector_norm"] = np.linalg.norm


class Namespace:
    """A stand-in for a module: some names, and what lies below it."""

    def __init__(self, name: str, known: dict[str, Any], below: dict[str, Namespace] | None = None) -> None:
        self._name, self._known, self._below = name, known, below or {}

    def __getattr__(self, name: str) -> Any:
        if name in self._below:
            return self._below[name]
        found = self._known.get(name)
        if found is None:
            raise UnsupportedError(
                f"{self._name}.{name} cannot be traced.{suggestion(name, list(self._known))}",
                hint="Write it with NumPy, or with one of: " + ", ".join(sorted(self._known)) + ".",
            )
        return _named(found) if callable(found) else found


def _of_sizes(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch.ones(N, D) for np.ones((N, D))."""
    return lambda *sizes: function(sizes[0] if len(sizes) == 1 else sizes)


def namespaces(numpy: Any) -> dict[str, Any]:
    """The stand-ins by module name; `numpy` is the one for NumPy, in which sizes are symbols."""
    made = {name: getattr(numpy, name) for name in ("arange", "eye", "ones", "zeros", "full", "pi")}
    made_of = {name: _of_sizes(made[name]) for name in ("ones", "zeros")}
    linalg = Namespace("torch.linalg", LINALG)
    functional = Namespace("torch.nn.functional", NN)
    nn = Namespace("torch.nn", {}, {"functional": functional})
    # JAX's gelu is the approximation by tanh unless told otherwise; jax.nn has none of the linear layers.
    jax_nn = Namespace("jax.nn", {**NN, "gelu": lambda x, approximate=True: gelu(x, approximate)})
    special = {
        "jax.scipy.special": Namespace("jax.scipy.special", NN),
        "scipy.special": Namespace("scipy.special", NN),
    }
    jax_scipy = Namespace("jax.scipy", {}, {"special": special["jax.scipy.special"]})
    return {
        "torch": Namespace("torch", {**TORCH, **made, **made_of}, {"linalg": linalg, "nn": nn}),
        "torch.linalg": linalg, "torch.nn": nn, "torch.nn.functional": functional,
        "jax": Namespace("jax", {}, {"nn": jax_nn, "numpy": numpy, "scipy": jax_scipy}),
        "jax.numpy": numpy, "jax.nn": jax_nn, "jax.scipy": jax_scipy, **special,
        "scipy": Namespace("scipy", {}, {"special": special["scipy.special"]}),
    }  # fmt: skip


def stand_in(value: Any, known: dict[str, Any]) -> Any:
    """What a traced function sees instead of a module; None for anything else."""
    return known.get(value.__name__) if isinstance(value, ModuleType) else None


def _method(name: str, function: Callable[..., Any]) -> None:
    METHODS.setdefault(name, _named(function))


for _name, _function in TORCH.items():
    if not hasattr(TracedArray, _name) and _name not in ("where", "einsum", "stack", "cat", "concat"):
        _method(_name, _function)
_OTHERS: dict[str, Callable[..., Any]] = {
    "view": view, "ravel": np.ravel, "flatten": flatten, "float": lambda x: x.astype(float),
    "double": lambda x: x.astype(float), "matmul": np.matmul, "norm": norm,
    "contiguous": lambda x: x, "clone": lambda x: x.copy(),
}  # fmt: skip
for _name, _function in _OTHERS.items():
    _method(_name, _function)
