"""The user's own variables: what each holds when the function returns, and which of our values it is."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any

import numpy as np

from chalkgrad.diagnose.capture import as_array, call
from chalkgrad.diagnose.forms import Form, Prepared
from chalkgrad.diagnose.names import match, match_key
from chalkgrad.emit.names import identifier
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array


def plain(function: Any) -> Any:
    """The Python function that does the work: of a method, a partial, a framework's class."""
    while True:
        inner = (
            getattr(function, "func", None)
            if isinstance(function, functools.partial)
            else getattr(function, "__func__", None) or getattr(function, "__wrapped__", None)
        )
        if inner is None and hasattr(function, "bwd") and hasattr(function, "fwd"):  # jax.custom_vjp
            inner = function.bwd
        if inner is None and isinstance(function, type):  # torch.autograd.Function
            inner = getattr(function, "backward", None)
        if inner is None and not hasattr(function, "__code__"):  # an object that can be called
            own = vars(type(function)).get("__call__")
            inner = own if hasattr(own, "__code__") else None
        if inner is None:
            return function
        function = inner


def code_of(function: Any) -> CodeType | None:
    """The code of the function that does the work; None for what is not written in Python."""
    return getattr(plain(function), "__code__", None)


def variables(function: Any, form: Form, prepared: Prepared, timeout: float | None) -> dict[str, Array]:
    """The arrays that the function's variables hold when it returns, by name; entries as params['W']."""
    code = code_of(function)
    found: dict[str, Array] = {}
    if code is None or sys.getprofile() is not None:  # somebody measures: stay out of the way
        return found

    def watch(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "return" and frame.f_code is code:
            held = dict(frame.f_locals)
            for name, value in frame.f_locals.items():
                entries = value.items() if isinstance(value, dict) else ()
                held.update({f"{name}[{k!r}]": v for k, v in entries if isinstance(k, str)})
            for name, value in held.items():
                array = as_array(value) if hasattr(value, "shape") or isinstance(value, int | float) else None
                if array is not None:
                    found[name] = array.copy()

    sys.setprofile(watch)
    try:
        call(form.invoke, prepared.arguments, timeout)
    finally:
        sys.setprofile(None)
    return found


def named(values: Mapping[Tensor, Array], own: Mapping[str, Array]) -> dict[Tensor, str]:
    """The user's variable that holds each of our values: the one of the usual name where several do."""
    found = {}
    for tensor, value in values.items():
        same = [name for name, array in own.items() if equal(array, value)]
        ours = f"d{tensor.name}" if tensor.role == "adjoint" else tensor.name
        alike = [n for n in same if n == ours or _alike(n, tensor)]
        if same:
            found[tensor] = [*alike, *same][0]
    return found


def _alike(name: str, tensor: Tensor) -> bool:
    if tensor.role == "adjoint":
        return match_key(name, [tensor.name]) is not None
    return match(name, [tensor.name]) is not None


def own_sizes(own: Mapping[str, Array], arrays: Mapping[Tensor, str]) -> dict[str, str]:
    """How the user writes the size of each range: N, or x.shape[0]."""
    found: dict[str, str] = {}
    for t, name in arrays.items():
        for place, axis in enumerate(t.axes):
            size = own[name].shape[place - len(t.axes)]
            plain_name = axis.name in own and own[axis.name].ndim == 0 and own[axis.name] == size
            found.setdefault(axis.name, axis.name if plain_name else f"{name}.shape[{place}]")
    return {identifier(name): text for name, text in found.items()}


def equal(own: Array, value: Array) -> bool:
    """Whether a variable holds a value; an axis of length 1 in front changes nothing in a formula."""
    if own.shape != value.shape and own.shape != (1, *value.shape):
        return False
    if own.dtype.kind == "b" or value.dtype.kind == "b":
        return own.dtype.kind == value.dtype.kind and bool((own == value).all())
    tolerance = 1e-5 if own.dtype.kind == "f" and own.dtype.itemsize < 8 else 1e-10
    scale = float(np.abs(value).max(initial=0.0))
    apart = np.abs(np.asarray(own, float) - value)
    return bool((apart <= tolerance * scale).all())
