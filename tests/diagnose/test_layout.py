"""Weights with one row per output, as PyTorch keeps them, against layers that have one per input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY


def weights(name: str) -> list[int]:
    """Places of a layer's matrices that are no data: they have no axis of the observations."""
    inputs = GALLERY[name].program.inputs
    observed = inputs[0].axes[:1]
    return [
        n for n, t in enumerate(inputs)
        if t.dtype == "float" and len(t.axes) == 2 and not set(t.axes) & set(observed)
    ]  # fmt: skip


NAMES = [n for n, layer in GALLERY.items() if weights(n) and len(layer.program.inputs) <= 6]


def flipped(name: str, spoilt: int = -1) -> tuple[Any, Any]:
    """A right forward and backward whose weights lie the other way round; one gradient may be doubled."""
    ops, places = GALLERY[name].compile("numpy"), weights(name)
    count = len(GALLERY[name].program.outputs)

    def turned(values: Any) -> list[Any]:
        return [v.T if n in places else v for n, v in enumerate(values)]

    def forward(*inputs: Any) -> Any:
        out, _ = ops.raw_forward(*turned(inputs))
        return (*out, inputs) if count > 1 else (out, inputs)

    def backward(*given: Any) -> Any:
        found = turned(ops.raw_backward(*given[:count], ops.raw_forward(*turned(given[count]))[1]))
        return [2 * g if n == spoilt else g for n, g in enumerate(found)]

    return forward, backward


def test_there_are_layers_to_try() -> None:
    assert {"affine", "two_layer_net", "rnn_cell"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_weights_may_lie_the_other_way_round(name: str) -> None:
    forward, backward = flipped(name)
    diagnosis = cg.check(backward, GALLERY[name], forward=forward)
    assert diagnosis.ok, str(diagnosis)
    assert "the other way round" in " ".join(diagnosis.notes)


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_found_in_the_users_own_layout(name: str) -> None:
    place = weights(name)[0]
    forward, backward = flipped(name, place)
    faults = cg.check(backward, GALLERY[name], forward=forward).faults
    own = GALLERY[name].program.inputs[place].name
    assert [(f.argument, f.cause) for f in faults] == [(own, "constant_factor")]


class Linear:
    def __init__(self, n_in: int, n_out: int) -> None:
        self.weight, self.bias = np.zeros((n_out, n_in)), np.zeros(n_out)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, grad: Any) -> Any:
        self.grad_weight = grad.T @ self.x
        self.grad_bias = grad.sum(axis=0)
        return grad @ self.weight


class Mean(Linear):
    def backward(self, grad: Any) -> Any:
        self.grad_weight = grad.T @ self.x / len(self.x)
        self.grad_bias = grad.sum(axis=0)
        return grad @ self.weight


def test_a_class_may_keep_its_weights_by_output() -> None:
    assert cg.check(Linear, GALLERY["affine"]).ok
    (fault,) = cg.check(Mean, GALLERY["affine"]).faults
    assert (fault.argument, fault.cause) == ("W", "mean_for_sum")
    assert fault.fix == "self.grad_weight = grad.T @ self.x"


def test_the_linear_function_of_pytorchs_manual() -> None:
    torch = pytest.importorskip("torch")

    class LinearFunction(torch.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any) -> Any:
            ctx.save_for_backward(x, weight, bias)
            return x.mm(weight.t()) + bias

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            x, weight, _ = ctx.saved_tensors
            return grad_output.mm(weight), grad_output.t().mm(x), grad_output.sum(0)

    diagnosis = cg.check(LinearFunction, GALLERY["affine"])
    assert diagnosis.ok, str(diagnosis)
    assert "W as (K, D)" in diagnosis.notes[0]


def test_a_transpose_that_the_backward_alone_forgets_is_a_fault() -> None:
    faults = cg.check(
        lambda dout, cache: (dout @ cache[1], dout.T @ cache[0], dout.sum(0)),
        GALLERY["affine"],
        forward=lambda x, W, b: (x @ W + b, (x, W)),
    ).faults
    assert "transpose" in {f.cause for f in faults}


def test_a_forward_that_runs_on_square_arrays_alone_is_compared_there() -> None:
    (fault,) = cg.check(
        lambda dout, cache: (dout @ cache[1].T, cache[0].T @ dout, dout.sum(0)),
        GALLERY["affine"],
        forward=lambda x, W, b: (2 * x @ W.T + b, (x, W)),
    ).faults
    assert fault.argument is None
    assert "with equal sizes: your forward differs" in fault.evidence
