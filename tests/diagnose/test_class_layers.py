"""Layers written as classes, with forward(self, x) and backward(self, dout)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import chalkgrad as cg
from chalkgrad.cli import main
from chalkgrad.diagnose.class_layers import class_layer
from chalkgrad.layers import GALLERY

Array = np.ndarray


class Affine:
    """Takes its parameters."""

    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b
        self.x: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.dot(x, self.W) + self.b

    def backward(self, dout: Array) -> Array:
        dx = np.dot(dout, self.W.T)
        self.dW = np.dot(self.x.T, dout)
        self.db = np.sum(dout, axis=0)
        return dx


class MeanAffine(Affine):
    def backward(self, dout: Array) -> Array:
        dx = np.dot(dout, self.W.T)
        self.dW = np.dot(self.x.T, dout) / len(self.x)
        self.db = np.sum(dout, axis=0)
        return dx


class Linear:
    """Makes parameters of its own, in dictionaries."""

    def __init__(self, n_in: int, n_out: int) -> None:
        self.params = {"W": np.ones((n_in, n_out)), "b": np.zeros(n_out)}
        self.grads: dict[str, Array] = {}

    def forward(self, inputs: Array) -> Array:
        self.inputs = inputs
        return inputs @ self.params["W"] + self.params["b"]

    def backward(self, grad: Array) -> Array:
        self.grads["b"] = -np.sum(grad, axis=0)
        self.grads["W"] = self.inputs.T @ grad
        return grad @ self.params["W"].T


class Accumulating:
    """Adds to gradients that it holds, by a method of its own."""

    def __init__(self, n_in: int, n_out: int) -> None:
        self.weight, self.bias = np.zeros((n_in, n_out)), np.zeros(n_out)
        self.grad_weight, self.grad_bias = np.zeros((n_in, n_out)), np.zeros(n_out)

    def forward(self, x: Array) -> Array:
        self.kept = x
        return x @ self.weight + self.bias

    def backward(self, grad_out: Array) -> Array:
        self.grad_weight += self.kept.T @ grad_out
        self.grad_bias += grad_out.sum(axis=0)
        return self.back(grad_out)

    def back(self, grad_out: Array) -> Array:
        return 2 * grad_out @ self.weight.T


class Accumulated(Accumulating):
    def backward(self, grad_out: Array) -> Array:
        self.grad_weight += self.kept.T @ grad_out
        self.grad_bias += grad_out.sum(axis=0)
        return grad_out @ self.weight.T


class ReLU:
    def forward(self, x: Array) -> Array:
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout: Array) -> Array:
        dx = dout.copy()
        dx[self.mask] = 0
        return dx


class Sigmoid:
    def forward(self, x: Array) -> Array:
        self.out = 1 / (1 + np.exp(-x))
        return self.out

    def backward(self, dout: Array) -> Array:
        return dout * (1 - self.out)


class SoftmaxWithLoss:
    def forward(self, x: Array, t: Array) -> float:
        self.t = t
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self.y = e / e.sum(axis=1, keepdims=True)
        return float(-np.log(self.y[np.arange(len(t)), t]).mean())

    def backward(self, dout: float = 1) -> Array:
        dx = self.y.copy()
        dx[np.arange(len(self.t)), self.t] -= 1
        return dx / len(self.t)


class LossWithoutUpstream(SoftmaxWithLoss):
    def backward(self) -> Array:  # type: ignore[override]
        dx = self.y.copy()
        dx[np.arange(len(self.t)), self.t] -= 1
        return dx


class Dropout:
    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, x: Array) -> Array:
        self.mask = (np.random.rand(*x.shape) > self.p) / (1 - self.p)
        return x * self.mask

    def backward(self, dout: Array) -> Array:
        return dout * self.mask


class BatchNorm:
    def __init__(self, gamma: Array, beta: Array, momentum: float = 0.9, eps: float = 1e-7) -> None:
        self.gamma, self.beta, self.momentum, self.eps = gamma, beta, momentum, eps

    def forward(self, x: Array, train: bool = True) -> Array:
        self.xc = x - x.mean(axis=0)
        self.std = np.sqrt(np.mean(self.xc**2, axis=0) + self.eps)
        self.xn = self.xc / self.std
        return self.gamma * self.xn + self.beta

    def backward(self, dout: Array) -> Array:
        n = len(dout)
        self.dbeta = dout.sum(axis=0)
        self.dgamma = (self.xn * dout).sum(axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum(dxn * self.xc / self.std**2, axis=0)
        dvar = 0.5 * dstd / self.std
        dxc += 2.0 / n * self.xc * dvar
        return dxc - np.sum(dxc, axis=0) / n


class TwoOutputsOfAMultiplication:
    def forward(self, A: Array, x: Array) -> Array:
        self.A, self.x = A, x
        return A @ x

    def backward(self, dy: Array) -> tuple[Array, Array]:
        return np.outer(dy, self.x), self.A @ dy


class InPlace(Accumulating):
    """Fills the arrays that it holds, in the way that updates by reference need."""

    def backward(self, grad_out: Array) -> Array:
        self.grad_weight[...] = self.kept.T @ grad_out
        self.grad_bias[...] = grad_out.sum(axis=0)
        return grad_out @ self.weight.T


RIGHT = [
    (InPlace, "affine"),
    (Affine, "affine"), (Accumulated, "affine"), (ReLU, "relu"), (SoftmaxWithLoss, "softmax_loss"),
    (Dropout, "dropout"), (BatchNorm, "batch_norm"),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "layer"), RIGHT)
def test_a_right_class_is_right(cls: Any, layer: str) -> None:
    report = cg.check(cls, GALLERY[layer])
    assert report.ok, str(report)
    assert report.name == cls.__name__


def test_the_fault_is_told_in_the_words_of_the_class() -> None:
    (fault,) = cg.check(MeanAffine, GALLERY["affine"]).faults
    assert (fault.argument, fault.cause) == ("W", "mean_for_sum")
    assert fault.yours == "self.dW = np.dot(self.x.T, dout) / len(self.x)"
    assert fault.fix == "self.dW = np.dot(self.x.T, dout)"


def test_parameters_and_gradients_in_dictionaries() -> None:
    (fault,) = cg.check(Linear, GALLERY["affine"]).faults
    assert (fault.argument, fault.cause) == ("b", "sign")
    assert fault.yours == "self.grads['b'] = -np.sum(grad, axis=0)"
    assert fault.fix == "self.grads['b'] = np.sum(grad, axis=0)"


def test_an_object_and_a_method_stand_for_the_class() -> None:
    made = Linear(2, 3)
    before = made.params["W"].copy()
    for given in (made, made.backward):
        (fault,) = cg.check(given, GALLERY["affine"]).faults
        assert (fault.argument, fault.cause) == ("b", "sign")
    assert (made.params["W"] == before).all()
    assert not hasattr(made, "inputs")  # a copy was used


def test_a_method_that_calls_others_is_judged_by_its_numbers() -> None:
    (fault,) = cg.check(Accumulating, GALLERY["affine"]).faults
    assert (fault.argument, fault.cause) == ("x", "constant_factor")
    assert not fault.yours


def test_a_factor_that_an_attribute_holds() -> None:
    (fault,) = cg.check(Sigmoid, GALLERY["sigmoid"]).faults
    assert fault.cause == "missing_factor"
    assert fault.yours == "return dout * (1 - self.out)"
    assert fault.fix == "return self.out * (dout * (1 - self.out))"


def test_a_loss_may_take_no_gradient_from_above() -> None:
    (fault,) = cg.check(LossWithoutUpstream, GALLERY["softmax_loss"]).faults
    assert (fault.argument, fault.cause) == ("f", "sum_for_mean")


class LossByAMethod(SoftmaxWithLoss):
    def backward(self, dout: float = 1) -> Array:
        return self.scores() / len(self.t)

    def scores(self) -> Array:
        dx = self.y.copy()
        dx[np.arange(len(self.t)), self.t] -= 1
        return dx


def test_a_loss_that_calls_a_method_may_leave_the_gradient_from_above_alone() -> None:
    assert cg.check(LossByAMethod, GALLERY["softmax_loss"]).ok


def test_several_arguments_of_a_forward_have_their_gradients_returned() -> None:
    layer = cg.formula("y[m] = sum(n, A[m,n] * x[n])")
    (fault,) = cg.check(TwoOutputsOfAMultiplication, layer).faults
    assert (fault.argument, fault.cause) == ("x", "transpose")
    assert "self.A" in fault.yours


class Nothing:
    def forward(self, x: Array) -> Array:
        return x

    def backward(self, dout: Array) -> Array:
        return dout


def test_an_input_without_a_place_is_said() -> None:
    report = cg.check(Nothing, GALLERY["affine"])
    assert "Nothing has no place for the input W" in str(report).replace("\n      ", " ")


class Forgetful(Affine):
    def backward(self, dout: Array) -> Array:
        self.scaled = dout * 1.0
        self.dW = self.x.T @ self.scaled
        return dout @ self.W.T


class Mistyped(ReLU):
    def backward(self, dout: Array) -> Array:
        return dout * (self.msk > 0)  # type: ignore[attr-defined]


def test_a_gradient_that_is_not_kept_and_an_attribute_that_is_not_there() -> None:
    (fault,) = cg.check(Forgetful, GALLERY["affine"]).faults
    assert fault.argument == "b"
    assert "backward keeps none, as in self.db" in fault.evidence
    (fault,) = cg.check(Mistyped, GALLERY["relu"]).faults
    assert "backward reads self.msk, which Mistyped lacks after forward" in fault.evidence


def test_what_is_no_such_class() -> None:
    assert class_layer(ReLU) is ReLU
    assert class_layer(np.sum) is None
    assert class_layer(GALLERY["relu"]) is None
    torch = pytest.importorskip("torch")

    class Own(torch.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, dout: Any) -> Any:
            return dout

    assert class_layer(Own) is None


def test_the_classes_of_a_file_are_found_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(
        "import numpy as np\n"
        "class ReLU:\n"
        "    def forward(self, x):\n"
        "        self.x = x\n"
        "        return np.maximum(x, 0)\n"
        "    def backward(self, dout):\n"
        "        return dout\n"
        "class TanhLayer:\n"
        "    def forward(self, x):\n"
        "        self.out = np.tanh(x)\n"
        "        return self.out\n"
        "    def backward(self, dout):\n"
        "        return dout * (1 - self.out ** 2)\n"
        "class Mystery(TanhLayer):\n"
        "    pass\n"
    )
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == 1
    assert "✗ ReLU       dx missing_mask" in result.output
    assert "✓ TanhLayer  right" in result.output
    assert "Mystery is not checked" in result.output
    named = CliRunner().invoke(main, ["check", f"{path}:Mystery", "--of", "tanh"])
    assert named.exit_code == 0
    unknown = CliRunner().invoke(main, ["check", f"{path}:Mystery"])
    assert unknown.exit_code == 2
    assert "--of LAYER" in unknown.output
