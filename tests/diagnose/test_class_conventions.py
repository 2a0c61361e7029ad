"""Layers as classes: where parameters and gradients are kept, and what the constructor takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY

Array = np.ndarray


class Affine:
    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b

    def forward(self, x: Array) -> Array:
        self.x = x
        return x @ self.W + self.b


class Listed:
    """Keeps parameters and gradients in lists."""

    def __init__(self, W: Array, b: Array) -> None:
        self.params = [W, b]
        self.grads = [np.zeros_like(W), np.zeros_like(b)]

    def forward(self, x: Array) -> Array:
        W, b = self.params
        self.x = x
        return x @ W + b

    def backward(self, dout: Array) -> Array:
        W, _ = self.params
        dW = self.x.T @ dout
        self.grads[0][...] = dW
        self.grads[1][...] = dout.sum(axis=0)
        return dout @ W.T


class ListedMean(Listed):
    def backward(self, dout: Array) -> Array:
        W, _ = self.params
        self.grads[0][...] = self.x.T @ dout / len(dout)
        self.grads[1][...] = dout.sum(axis=0)
        return dout @ W.T


class ListedAnew(Listed):
    def backward(self, dout: Array) -> Array:
        self.grads = [self.x.T @ dout, dout.sum(axis=0)]
        return dout @ self.params[0].T


class ListedByMethod(Listed):
    def backward(self, dout: Array) -> Array:
        self.keep(self.x.T @ dout, dout.sum(axis=0))
        return dout @ self.params[0].T

    def keep(self, *grads: Array) -> None:
        self.grads = list(grads)


class ListedSizes(Listed):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(np.zeros((n_in, n_out)), np.zeros(n_out))


class Lecture(Affine):
    """Names its gradients as Carnegie Mellon's course does."""

    def backward(self, dLdZ: Array) -> Array:
        self.dLdW = self.x.T @ dLdZ
        self.dLdb = dLdZ.sum(axis=0)
        return dLdZ @ self.W.T


class Underscored(Affine):
    def backward(self, dL_df: Array) -> Array:
        self.dL_dW = self.x.T @ dL_df
        self.b_grad = dL_df.sum(axis=0)
        return dL_df @ self.W.T


class Lower(Affine):
    def backward(self, dout: Array) -> Array:
        self.dldw = self.x.T @ dout
        self.dldb = dout.sum(axis=0)
        return dout @ self.W.T


class AllReturned(Affine):
    def backward(self, dout: Array) -> Any:
        return dout @ self.W.T, self.x.T @ dout, dout.sum(axis=0)


class AllReturnedByMethod(AllReturned):
    def backward(self, dout: Array) -> Any:
        return self.kept(dout @ self.W.T, self.x.T @ dout, dout.sum(axis=0))

    def kept(self, *grads: Array) -> Any:
        return grads


@pytest.mark.parametrize(
    "layer",
    [Listed, ListedAnew, ListedByMethod, ListedSizes, Lecture, Underscored, Lower, AllReturned,
     AllReturnedByMethod],
)  # fmt: skip
def test_gradients_are_kept_under_many_names(layer: Any) -> None:
    diagnosis = cg.check(layer, GALLERY["affine"])
    assert diagnosis.ok, str(diagnosis)


def test_a_fault_in_a_list_of_gradients() -> None:
    (fault,) = cg.check(ListedMean, GALLERY["affine"]).faults
    assert (fault.argument, fault.cause) == ("W", "mean_for_sum")
    assert "self.grads[0]" in fault.yours


class Embedding:
    def __init__(self, W: Array) -> None:
        self.W = W

    def forward(self, idx: Array) -> Array:
        self.idx = idx
        return self.W[idx]

    def backward(self, dout: Array) -> None:
        self.dW = np.zeros_like(self.W)
        np.add.at(self.dW, self.idx, dout)


class OtherWords(Embedding):
    def __init__(self, weights: Array) -> None:
        self.W = weights

    def forward(self, which: Array) -> Array:
        return super().forward(which)


class InAList(Embedding):
    def __init__(self, W: Array) -> None:
        self.params, self.grads = [W], [np.zeros_like(W)]

    def forward(self, idx: Array) -> Array:
        self.idx = idx
        return self.params[0][idx]

    def backward(self, dout: Array) -> None:
        (dW,) = self.grads
        dW[...] = 0
        np.add.at(dW, self.idx, dout)


class Overwritten(Embedding):
    def backward(self, dout: Array) -> None:
        self.dW = np.zeros_like(self.W)
        self.dW[self.idx] += dout


@pytest.mark.parametrize("layer", [Embedding, OtherWords, InAList])
def test_what_the_constructor_takes_is_no_argument_of_the_forward(layer: Any) -> None:
    diagnosis = cg.check(layer, GALLERY["embedding"])
    assert diagnosis.ok, str(diagnosis)
    (fault,) = cg.check(Overwritten, GALLERY["embedding"]).faults
    assert (fault.argument, fault.cause) == ("W", "missing_sum")


class Recurrent:
    """Takes weights under names of its own."""

    def __init__(self, Wx: Array, Wh: Array, b: Array) -> None:
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)]

    def forward(self, x: Array, h_prev: Array) -> Array:
        Wx, Wh, b = self.params
        h: Array = np.tanh(h_prev @ Wh + x @ Wx + b)
        self.cache = (x, h_prev, h)
        return h

    def backward(self, dh: Array) -> Any:
        Wx, Wh, _ = self.params
        x, h_prev, h = self.cache
        dt = dh * (1 - h**2)
        self.grads[0][...] = x.T @ dt
        self.grads[1][...] = h_prev.T @ dt
        self.grads[2][...] = dt.sum(axis=0)
        return dt @ Wx.T, dt @ Wh.T


class RecurrentMean(Recurrent):
    def backward(self, dh: Array) -> Any:
        found = super().backward(dh)
        self.grads[1] /= len(dh)
        return found


def test_where_some_arguments_of_a_constructor_are_inputs_all_are() -> None:
    diagnosis = cg.check(Recurrent, GALLERY["rnn_cell"])
    assert diagnosis.ok, str(diagnosis)
    assert [(f.argument, f.cause) for f in cg.check(RecurrentMean, GALLERY["rnn_cell"]).faults] == [
        ("W", "mean_for_sum")
    ]
