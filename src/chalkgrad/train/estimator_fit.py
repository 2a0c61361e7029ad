"""One fit of a scikit-learn estimator by an engine: the loss's formula, data under its names, epochs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import UnsupportedError
from chalkgrad.train.architecture import objective_program
from chalkgrad.train.engines import Engine, make_engine
from chalkgrad.train.extras import optional
from chalkgrad.train.interrupt import DeferredInterrupt
from chalkgrad.train.objective import Objective
from chalkgrad.train.optimisers import RULES, Optimiser, UpdateRule
from chalkgrad.train.threads import operations, threads_for

Array = NDArray[Any]

ADAM = UpdateRule(
    "adam_with_scaled_rate",
    """
    m2[i] = beta1 * m[i] + (1 - beta1) * g[i]
    v2[i] = beta2 * v[i] + (1 - beta2) * g[i]^2
    w2[i] = w[i] - lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m2[i] / (sqrt(v2[i]) + eps)
    """,
    ("m", "v"),
    (("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8)),
    "https://arxiv.org/abs/1412.6980",
)
"""Adam as at the end of the article's section 2, where ε is not scaled: scikit-learn's form."""

ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
LOSSES = {"softmax": "softmax", "logistic": "sigmoid", "identity": "squares", "exp": "poisson"}
"""The loss that belongs to each activation of the output."""

WORTH_COMPILING = 2e10
"""Floating-point operations of a fit from which on machine code saves more time than making it takes."""

CALL_SECONDS = 0.1
"""How long one call of an engine runs, about."""


@dataclass(slots=True)
class Rows:
    """What a loss reads in rows, and for each row what its formula leaves out (None for nothing)."""

    data: dict[str, Array]
    constant: Array | None


def rows_of(model: Any, X: Array, y: Array, sample_weight: Array | None) -> Rows:
    """The data under the names of the formula."""
    data: dict[str, Array] = {"x": np.ascontiguousarray(X)}
    constant = None
    if model.out_activation_ == "softmax":
        data["y"] = np.asarray(y).argmax(axis=1).astype(np.int64)
    else:
        data["t"] = np.ascontiguousarray(y, X.dtype)
    if model.out_activation_ == "exp":  # t log t − t, with 0 log 0 = 0
        t = np.asarray(y, np.float64)
        constant = (np.where(t > 0, t * np.log(np.where(t > 0, t, 1.0)), 0.0) - t).sum(axis=1)
    if sample_weight is not None:
        check_weights(sample_weight)
        data["s"] = np.ascontiguousarray(sample_weight, X.dtype)
    return Rows(data, constant)


def check_weights(batches: Array) -> None:
    """The rows of every batch, (S, N) or one batch (N,), have a mean.

    Raises:
        ValueError: At the first one whose weights sum to zero.
    """
    totals = np.atleast_1d(batches.sum(axis=-1))
    if (totals == 0).any():
        raise ValueError(
            f"The sample weights of all {batches.shape[-1]} rows of a batch sum to zero, so their loss has "
            "no mean. Leave out the rows of weight 0, or take a larger batch_size."
        )


def shapes_of(layer_units: Any) -> dict[str, tuple[int, ...]]:
    """W1, W2, …, b1, b2, …: the order of coefs_ + intercepts_."""
    pairs = list(pairwise(layer_units))
    shapes: dict[str, tuple[int, ...]] = {f"W{n}": pair for n, pair in enumerate(pairs, 1)}
    return shapes | {f"b{n}": (units,) for n, (_, units) in enumerate(pairs, 1)}


class Training:
    """One fit: the objective, an engine that trains it, and scikit-learn's optimiser kept in step."""

    def __init__(self, model: Any, X: Array, y: Array, sample_weight: Array | None, batch: int) -> None:
        self.model, self.batch = model, batch
        self.weighted = sample_weight is not None
        rows = rows_of(model, X, y, sample_weight)
        self.constant, self.count, self.weights = rows.constant, len(X), sample_weight
        units = [X.shape[1], *(len(b) for b in model.intercepts_)]
        self.objective = Objective(program_of(model, self.weighted), shapes_of(units), X.dtype, {"l2": 0.0})
        self.optimiser = self._optimiser()
        # The estimator's arrays become views of the vector that is trained.
        for view, own in zip(self.objective.params.values(), model.coefs_ + model.intercepts_, strict=True):
            view[...] = own
        layers = len(model.coefs_)
        views = list(self.objective.params.values())
        model.coefs_, model.intercepts_ = views[:layers], views[layers:]
        size, steps = self.objective.flat.size, -(-self.count // batch)
        self.threads = threads_for(size, batch)
        self.engine = self._engine(operations(size, batch) * steps * model.max_iter, rows.data)
        self._pace = 1

    def _optimiser(self) -> Optimiser:
        own, bounds = self.model._optimizer, self.model._bounds()
        if self.model.solver == "adam":
            made = Optimiser(ADAM, **bounds, beta1=own.beta_1, beta2=own.beta_2, eps=own.epsilon)
            memories, steps = {"m": own.ms, "v": own.vs}, own.t
        else:
            rule = "nesterov" if own.nesterov else "momentum"
            made = Optimiser(RULES[rule], **bounds, mu=own.momentum)
            memories, steps = {"v": own.velocities}, 0
        flat = {name: np.concatenate([np.ravel(p) for p in parts]) for name, parts in memories.items()}
        made.load({n: a.astype(self.objective.dtype, copy=False) for n, a in flat.items()}, steps)
        return made

    def _engine(self, work: float, data: dict[str, Array]) -> Engine:
        worth = work >= WORTH_COMPILING and optional("llvmlite") is not None
        for name in (["llvm"] if worth else []) + ["numpy"]:
            try:
                return make_engine(name, self.objective, self.optimiser, data, self.batch, self.threads)
            except UnsupportedError:
                continue
        return make_engine("plain", self.objective, self.optimiser, data, self.batch)

    def epoch(self, order: NDArray[np.int64]) -> float:
        """Train on every row once, in this order; the mean loss of the steps, weighed by their rows."""
        whole = self.count // self.batch * self.batch
        total = self._steps(order[:whole].reshape(-1, self.batch))
        if whole < self.count:
            total += self._steps(order[None, whole:])
        self.engine.sync()
        return total / self.count

    def _steps(self, order: NDArray[np.int64]) -> float:
        alpha, rate = self.model.alpha, self.model._optimizer.learning_rate
        rows = order.shape[1]
        if self.weights is not None:
            check_weights(self.weights[order])
        self.objective.set_scalar("l2", alpha if self.weighted else alpha / rows)
        total, at = 0.0, 0
        while at < len(order):  # a call at a time, so that Ctrl-C is heard
            part = np.ascontiguousarray(order[at : at + self._pace])
            losses, began = np.empty(len(part)), time.perf_counter()
            quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
            with quiet, DeferredInterrupt() as interrupt:
                self.engine.run(part, losses, rate)
            if interrupt.requested:
                raise KeyboardInterrupt
            spent = max(time.perf_counter() - began, 1e-9)
            self._pace = max(1, min(4 * self._pace, int(len(part) * CALL_SECONDS / spent)))
            total += rows * (float(losses.sum()) + self._constant(part))
            at += len(part)
        return total

    def _constant(self, order: NDArray[np.int64]) -> float:
        """What the formula leaves out of the losses of these batches."""
        if self.constant is None:
            return 0.0
        weights = None if self.weights is None else self.weights[order]
        return float(np.average(self.constant[order], axis=1, weights=weights).sum())

    def keep(self) -> None:
        """Hand the optimiser's memories back to scikit-learn's object, for `partial_fit` and pickling."""
        own, memories = self.model._optimizer, self.optimiser.memories
        views = {name: list(self.objective.views(flat).values()) for name, flat in memories.items()}
        if self.model.solver == "adam":
            own.ms, own.vs, own.t = views["m"], views["v"], self.optimiser.steps
        else:
            own.velocities = views["v"]


def program_of(model: Any, weighted: bool) -> Any:
    """The formula of the model's loss."""
    layers, activation = len(model.coefs_), ACTIVATIONS[model.activation]
    return objective_program(layers, activation, LOSSES[model.out_activation_], weighted=weighted)
