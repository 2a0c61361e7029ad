"""PyTorch and JAX functions, called raw: before the framework sums broadcast axes away."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.forms import Form, Prepared
from chalkgrad.diagnose.points import Point
from chalkgrad.expr.nodes import Tensor


def framework_of(function: Any) -> str:
    """ "torch" for a `torch.autograd.Function`, "jax" for a `jax.custom_vjp` function, else "numpy"."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(function, type) and issubclass(function, torch.autograd.Function):
        return "torch"
    if type(function).__name__ == "custom_vjp" and hasattr(function, "fwd") and hasattr(function, "bwd"):
        return "jax"
    return "numpy"


class RawContext:
    """Stands in for the context of a `torch.autograd.Function`: keeps what is saved, sums nothing."""

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors for the backward."""
        self.saved_tensors = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Keep nothing: forward mode is not checked."""

    def mark_dirty(self, *tensors: Any) -> None:
        """Nothing to do."""

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Nothing to do."""

    def set_materialize_grads(self, value: bool) -> None:
        """Nothing to do: every gradient is given."""


def torch_form(function: Any, derived: Derived) -> Form:
    """`forward(ctx, ...)` or `forward(...)` with `setup_context`, then `backward(ctx, grad)` directly."""
    torch = sys.modules["torch"]
    program = derived.program
    setup = getattr(function, "setup_context", None)
    own = setup is not None and setup is not getattr(torch.autograd.Function, "setup_context", None)

    def prepare(point: Point) -> Prepared:
        inputs = [_tensor(torch, point, t) for t in program.inputs]
        names = [*(t.name for t in program.inputs)]
        count = _positional(function.forward) - (0 if own else 1)
        extra = [point.parameters[t] for t, _ in program.parameters][: max(0, count - len(inputs))]
        args = [*inputs, *extra]
        needs = tuple(hasattr(a, "is_floating_point") and a.is_floating_point() for a in args)
        ctx = RawContext(needs)
        with torch.no_grad():
            if own:
                out = function.forward(*args)
                function.setup_context(ctx, tuple(args), out)
            else:
                out = function.forward(ctx, *args)
        ups = [torch.as_tensor(np.array(point.upstream(o))) for o in program.outputs if o.dtype == "float"]
        return Prepared(
            point, {"grad_output": tuple(ups), **dict(zip(names, inputs, strict=True)), "": ctx}, None, out
        )

    def invoke(arguments: dict[str, Any]) -> Any:
        ctx = arguments[""]
        with torch.no_grad():
            found = function.backward(ctx, *arguments["grad_output"])
        found = found if isinstance(found, tuple | list) else (found,)
        return tuple(found)[: len(program.inputs)]

    return Form(f"{function.__name__}.backward(ctx, grad_output), raw", prepare, invoke)


def _positional(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _tensor(torch: Any, point: Point, tensor: Tensor) -> Any:
    array = np.array(point.env.array(tensor))
    return torch.as_tensor(array)


def jax_form(function: Any, derived: Derived) -> Form:
    """The forward rule, then the backward rule directly, before JAX compares shapes."""
    program = derived.program

    def prepare(point: Point) -> Prepared:
        jnp = sys.modules["jax.numpy"]
        inputs = [jnp.asarray(np.array(point.env.array(t))) for t in program.inputs]
        count = _positional(function.fun) if hasattr(function, "fun") else len(inputs)
        extra = [point.parameters[t] for t, _ in program.parameters][: max(0, count - len(inputs))]
        args = [*inputs, *extra]
        static = tuple(getattr(function, "nondiff_argnums", ()))
        out, saved = function.fwd(*args)
        ups = [jnp.asarray(np.array(point.upstream(o))) for o in program.outputs if o.dtype == "float"]
        fixed = [args[n] for n in static]
        return Prepared(point, {"grad_output": tuple(ups), "": (fixed, saved)}, None, out)

    def invoke(arguments: dict[str, Any]) -> Any:
        fixed, saved = arguments[""]
        ups = arguments["grad_output"]
        found = list(function.bwd(*fixed, saved, ups[0] if len(ups) == 1 else ups))
        for place in sorted(getattr(function, "nondiff_argnums", ())):
            found.insert(place, None)
        # JAX marks inputs without a gradient by arrays of float0, which hold nothing.
        return tuple(None if str(getattr(g, "dtype", "")).startswith("[('float0'") else g for g in found)[
            : len(program.inputs)
        ]

    return Form("the backward rule of the custom_vjp, raw", prepare, invoke)
