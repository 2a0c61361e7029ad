"""What a traced function sees as `np`, `math` and `len`: the same, except that sizes stay symbols.

NumPy dispatches most functions on their arguments, but not np.arange, np.eye, np.ones and their like,
whose arguments are sizes. A traced function therefore runs with a copy of its globals in which the
module `numpy` is a proxy. Nothing is patched, so other threads and other code see the real NumPy.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

import numpy as np

from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Index, Indicator, as_expr
from chalkgrad.frontend import exact
from chalkgrad.frontend.array_ops import Axes, lift, recorder_of
from chalkgrad.frontend.namespaces import namespaces, stand_in
from chalkgrad.frontend.recorder import Recorder
from chalkgrad.frontend.sizes import NoSizeError
from chalkgrad.frontend.traced import SymbolicSize, TracedArray


def _is_symbolic(shape: Any) -> bool:
    entries = shape if isinstance(shape, tuple | list) else (shape,)
    return any(isinstance(s, TracedArray) for s in entries)


def _axis(recorder: Recorder, size: Any) -> Index | None:
    """An axis of the given size: a symbol |R|, or the number 1."""
    if not isinstance(size, TracedArray) and size == 1:
        return None
    if isinstance(size, SymbolicSize | int):
        with contextlib.suppress(NoSizeError, ValueError):
            return recorder.fresh(
                recorder.range_of(size.body if isinstance(size, SymbolicSize) else as_expr(size))
            )
    raise recorder.error(
        UnsupportedError,
        f"An axis of size {size} has no name here.",
        "Take sizes from an argument's shape, one axis at a time: N, D = x.shape.",
    )


def _axes(shape: Any) -> tuple[Recorder, Axes]:
    entries = shape if isinstance(shape, tuple | list) else (shape,)
    recorder = recorder_of(*entries)
    return recorder, tuple(_axis(recorder, s) for s in entries)


def arange(*args: Any, **kwargs: Any) -> Any:
    """np.arange(N): the index itself."""
    if not _is_symbolic(args):
        return np.arange(*args, **kwargs)
    recorder, (axis, *rest) = _axes(args)
    if rest or axis is None:
        raise recorder.error(
            UnsupportedError, "np.arange takes one symbolic size.", "Use np.arange(N) + start."
        )
    return TracedArray(recorder, axis, (axis,), "int")


def eye(n: Any, m: Any = None, **kwargs: Any) -> Any:
    """np.eye(K): 1(j == k)."""
    if not _is_symbolic((n, m)):
        return np.eye(n, m, **kwargs)
    recorder, axes = _axes((n, n if m is None else m))
    row, column = axes
    if row is None or column is None or row.range is not column.range or kwargs.get("k"):
        raise recorder.error(UnsupportedError, "np.eye takes one symbolic size and no diagonal k.")
    return TracedArray(recorder, Indicator("==", row, column), axes, "float")


def filled(real: Callable[..., Any], value: int) -> Callable[..., Any]:
    """np.zeros or np.ones of symbolic sizes."""

    def meaning(shape: Any, *args: Any, **kwargs: Any) -> Any:
        if not _is_symbolic(shape):
            return real(shape, *args, **kwargs)
        recorder, axes = _axes(shape)
        return TracedArray(recorder, as_expr(value), axes, "float")

    return meaning


def full(shape: Any, fill_value: Any, *args: Any, **kwargs: Any) -> Any:
    """np.full of symbolic sizes."""
    if not _is_symbolic(shape):
        return np.full(shape, fill_value, *args, **kwargs)
    recorder, axes = _axes(shape)
    value = lift(recorder, fill_value)
    return TracedArray(recorder, value.body, axes, value.kind)


def as_is(real: Callable[..., Any]) -> Callable[..., Any]:
    """np.asarray and its like leave a traced array as it is."""
    return lambda a, *args, **kwargs: a if isinstance(a, TracedArray) else real(a, *args, **kwargs)


class Proxy:
    """A module with some of its functions replaced."""

    def __init__(self, module: Any, replaced: dict[str, Any], refused: dict[str, str]) -> None:
        self._module = module
        self._replaced = replaced
        self._refused = refused

    def __getattr__(self, name: str) -> Any:
        if name in self._refused:
            raise UnsupportedError(
                f"{self._module.__name__}.{name} cannot be traced.", hint=self._refused[name]
            )
        return self._replaced.get(name) or getattr(self._module, name)


EXACT = ("sqrt", "exp", "log")
"""Functions of a plain number that stay formulas."""


def _math_function(name: str) -> Callable[..., Any]:
    plain, traced = getattr(math, name), getattr(np, {"pow": "power", "fabs": "abs"}.get(name, name))
    if name in EXACT:
        plain = exact.function(name, plain)
    return lambda *args: (traced if any(isinstance(a, TracedArray) for a in args) else plain)(*args)


NUMPY = Proxy(
    np,
    {
        "arange": arange, "eye": eye, "identity": eye, "full": full, "ones": filled(np.ones, 1),
        "zeros": filled(np.zeros, 0), "array": as_is(np.array), "asarray": as_is(np.asarray),
        "pi": exact.PI, "e": exact.E, **{n: exact.function(n, getattr(np, n)) for n in EXACT},
        "asanyarray": as_is(np.asanyarray), "ascontiguousarray": as_is(np.ascontiguousarray),
    },
    {"random": "Random numbers differ from call to call: make the mask or the noise an argument."},
)  # fmt: skip

MATH = Proxy(
    math,
    {
        n: _math_function(n)
        for n in ("sqrt", "exp", "log", "log1p", "expm1", "tanh", "sin", "cos", "tan", "pow")
    }
    | {"pi": exact.PI, "e": exact.E},
    {},
)


def symbolic_len(value: Any) -> Any:
    """len(), which for a traced array is its first size."""
    return value.shape[0] if isinstance(value, TracedArray) and value.ndim else len(value)


_REAL = {id(np): NUMPY, id(math): MATH} | {
    id(getattr(np, name)): replacement for name, replacement in NUMPY._replaced.items()
}


MODULES = namespaces(NUMPY)


def _seen(value: Any) -> Any:
    """What the traced function sees instead of `value`."""
    return _REAL.get(id(value)) or stand_in(value, MODULES) or value


def for_tracing(function: FunctionType) -> FunctionType:
    """The same function, in whose globals and closure NumPy keeps sizes symbolic.

    Helper functions of the same module see the same globals.
    """
    original = function.__globals__
    seen = {name: _seen(value) for name, value in original.items()}
    seen.setdefault("len", symbolic_len)
    for name, value in original.items():
        if isinstance(value, FunctionType) and value.__globals__ is original:
            seen[name] = _rebound(value, seen)
    return _rebound(function, seen)


def _rebound(function: FunctionType, seen: dict[str, Any]) -> FunctionType:
    closure = function.__closure__ and tuple(_cell(cell) for cell in function.__closure__)
    copy = FunctionType(function.__code__, seen, function.__name__, function.__defaults__, closure)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _cell(cell: CellType) -> CellType:
    try:
        value = cell.cell_contents
    except ValueError:  # not assigned yet
        return cell
    return cell if _seen(value) is value else CellType(_seen(value))
