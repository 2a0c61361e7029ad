"""PyTorch and JAX functions are judged raw, before the framework sums."""

from __future__ import annotations

from typing import Any

import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY

AFFINE = GALLERY["affine"]


@pytest.mark.parametrize("summed", [True, False])
def test_torch_functions_are_seen_before_autograd_sums(summed: bool) -> None:
    torch = pytest.importorskip("torch")

    class Affine(torch.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(ctx: Any, x: Any, W: Any, b: Any) -> Any:
            ctx.save_for_backward(x, W)
            return x @ W + b

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            x, W = ctx.saved_tensors
            return grad @ W.T, x.T @ grad, grad.sum(0) if summed else grad

    diagnosis = cg.check(Affine, AFFINE)
    assert diagnosis.ok is summed, str(diagnosis)
    if not summed:
        assert [(f.argument, f.cause) for f in diagnosis.faults] == [("b", "missing_sum")]


def test_torch_functions_with_a_setup_context() -> None:
    torch = pytest.importorskip("torch")

    class Tanh(torch.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(x: Any) -> Any:
            return torch.tanh(x)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(inputs[0], output)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            x, _ = ctx.saved_tensors
            return grad * (1 - x**2)

    (fault,) = cg.check(Tanh, GALLERY["tanh"]).faults
    assert fault.cause == "preactivation"


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_jax_custom_vjps_are_called_by_their_rules(scale: float) -> None:
    jax = pytest.importorskip("jax")

    @jax.custom_vjp
    def affine(x: Any, W: Any, b: Any) -> Any:
        return x @ W + b

    def fwd(x: Any, W: Any, b: Any) -> Any:
        return affine(x, W, b), (x, W)

    def bwd(saved: Any, grad: Any) -> Any:
        x, W = saved
        return grad @ W.T, scale * (x.T @ grad), grad.sum(0)

    affine.defvjp(fwd, bwd)
    diagnosis = cg.check(affine, AFFINE)
    assert diagnosis.ok is (scale == 1.0), str(diagnosis)
    if scale != 1.0:
        assert [(f.argument, f.cause) for f in diagnosis.faults] == [("W", "constant_factor")]
