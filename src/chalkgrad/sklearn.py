"""scikit-learn's `MLPClassifier` and `MLPRegressor`, trained with derived gradients by emitted code.

Same parameters, attributes and behaviour, so that a changed import is the whole migration:

    from chalkgrad.sklearn import MLPClassifier

Initial weights, the order of the rows, stopping, schedules and messages are scikit-learn's own, from the
same random numbers; the loss, its gradient and the update are formulas here, and a whole epoch of steps is
one call of an engine. So a fit takes the same path, up to rounding, in less time.

Two differences. Where a probability is 0 in float64, scikit-learn clips it and the loss here is exact, so a
line search of L-BFGS that goes that far may take another step. And the loss of several regression targets is
Σ over the targets, of which the gradient is taken, where scikit-learn reports the mean over the targets and
descends along the gradient of the sum.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import MissingExtraError, UnsupportedError
from chalkgrad.train.architecture import objective_program
from chalkgrad.train.emitted import gradient_code
from chalkgrad.train.engines import Engine, make_engine
from chalkgrad.train.extras import optional, require
from chalkgrad.train.objective import Objective
from chalkgrad.train.optimisers import RULES, Optimiser, UpdateRule
from chalkgrad.train.threads import limited, operations, threads_for

_network = require("sklearn.neural_network._multilayer_perceptron", "chalkgrad.sklearn")
_stochastic = require("sklearn.neural_network._stochastic_optimizers", "chalkgrad.sklearn")
_base = require("sklearn.base", "chalkgrad.sklearn")
_selection = require("sklearn.model_selection", "chalkgrad.sklearn")
_utils = require("sklearn.utils", "chalkgrad.sklearn")
_exceptions = require("sklearn.exceptions", "chalkgrad.sklearn")

if "sample_weight" not in _network.BaseMultilayerPerceptron._backprop.__code__.co_varnames:
    raise MissingExtraError(
        "chalkgrad.sklearn needs scikit-learn 1.7 or newer, whose networks take sample weights.",
        hint="Install it with: pip install 'scikit-learn>=1.7'",
    )

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
class _Rows:
    """What a loss reads in rows, and for each row what its formula leaves out (None for nothing)."""

    data: dict[str, Array]
    constant: Array | None


def _rows(model: Any, X: Array, y: Array, sample_weight: Array | None) -> _Rows:
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
        data["s"] = np.ascontiguousarray(sample_weight, X.dtype)
    return _Rows(data, constant)


def _shapes(layer_units: Any) -> dict[str, tuple[int, ...]]:
    """W1, W2, …, b1, b2, …: the order of coefs_ + intercepts_."""
    pairs = list(pairwise(layer_units))
    shapes: dict[str, tuple[int, ...]] = {f"W{n}": pair for n, pair in enumerate(pairs, 1)}
    return shapes | {f"b{n}": (units,) for n, (_, units) in enumerate(pairs, 1)}


class _Training:
    """One fit: the objective, an engine that trains it, and scikit-learn's optimiser kept in step."""

    def __init__(self, model: Any, X: Array, y: Array, sample_weight: Array | None, batch: int) -> None:
        self.model, self.batch = model, batch
        self.weighted = sample_weight is not None
        rows = _rows(model, X, y, sample_weight)
        self.constant, self.count, self.weights = rows.constant, len(X), sample_weight
        units = [X.shape[1], *(len(b) for b in model.intercepts_)]
        self.objective = Objective(_program(model, self.weighted), _shapes(units), X.dtype, {"l2": 0.0})
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
        own = self.model._optimizer
        if self.model.solver == "adam":
            made = Optimiser(ADAM, beta1=own.beta_1, beta2=own.beta_2, eps=own.epsilon)
            memories, steps = {"m": own.ms, "v": own.vs}, own.t
        else:
            rule = "nesterov" if own.nesterov else "momentum"
            made, memories, steps = Optimiser(RULES[rule], mu=own.momentum), {"v": own.velocities}, 0
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
        self.objective.set_scalar("l2", alpha if self.weighted else alpha / rows)
        total, at = 0.0, 0
        while at < len(order):  # a call at a time, so that Ctrl-C is heard
            part = np.ascontiguousarray(order[at : at + self._pace])
            losses, began = np.empty(len(part)), time.perf_counter()
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                self.engine.run(part, losses, rate)
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


def _program(model: Any, weighted: bool) -> Any:
    """The formula of the model's loss."""
    layers, activation = len(model.coefs_), ACTIVATIONS[model.activation]
    return objective_program(layers, activation, LOSSES[model.out_activation_], weighted=weighted)


class _DerivedNetwork(_network.BaseMultilayerPerceptron):  # type: ignore[misc, name-defined]
    """What the two estimators share: everything but the loss, its gradient and the steps is inherited."""

    _no_improvement_count: int

    def _backprop(
        self,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        activations: Any,
        deltas: Any,
        coef_grads: list[Array],
        intercept_grads: list[Array],
    ) -> tuple[float, list[Array], list[Array]]:
        """The loss and its derived gradient, for L-BFGS, and for the steps on sparse rows."""
        X = X.toarray() if hasattr(X, "toarray") else X
        rows = _rows(self, X, y, sample_weight)
        shapes = _shapes([X.shape[1], *(len(b) for b in self.intercepts_)])
        code = gradient_code(_program(self, sample_weight is not None), tuple(shapes))
        params = dict(zip(shapes, self.coefs_ + self.intercepts_, strict=True))
        l2 = self.alpha if sample_weight is not None else self.alpha / len(X)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss, gradients = code({**rows.data, **params, "l2": float(l2)})
        for name, out in zip(shapes, coef_grads + intercept_grads, strict=True):
            out[...] = gradients[name]
        if rows.constant is not None:
            loss += float(np.average(rows.constant, weights=sample_weight))
        return loss, coef_grads, intercept_grads

    def _fit_stochastic(
        self,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        activations: Any,
        deltas: Any,
        coef_grads: Any,
        intercept_grads: Any,
        layer_units: Any,
        incremental: bool,
    ) -> None:
        """Train with Adam or SGD, an epoch of steps at a call."""
        if hasattr(X, "toarray"):  # sparse rows become dense a batch at a time
            super()._fit_stochastic(
                X, y, sample_weight, activations, deltas, coef_grads, intercept_grads, layer_units,
                incremental,
            )  # fmt: skip
            return
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimiser()
        train, held = self._held_out(X, y, sample_weight)
        X, y, sample_weight = train
        training = _Training(self, X, y, sample_weight, self._batch(len(X)))
        self._epochs(training, held, incremental)
        training.keep()
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _new_optimiser(self) -> Any:
        params = self.coefs_ + self.intercepts_
        if self.solver == "adam":
            return _stochastic.AdamOptimizer(
                params, self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon
            )
        return _stochastic.SGDOptimizer(
            params, self.learning_rate_init, self.learning_rate, self.momentum, self.nesterovs_momentum,
            self.power_t,
        )  # fmt: skip

    def _batch(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows)
        if self.batch_size > rows:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=4,
            )
        return int(np.clip(self.batch_size, 1, rows))

    def _held_out(self, X: Array, y: Array, sample_weight: Array | None) -> tuple[Any, Any]:
        """Training rows, and validation rows where early stopping wants some."""
        if not self.early_stopping:
            return (X, y, sample_weight), (None, None, None)
        one_class_each = _base.is_classifier(self) and self.n_outputs_ == 1
        arrays = [X, y] if sample_weight is None else [X, y, sample_weight]
        parts = _selection.train_test_split(
            *arrays,
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=y if one_class_each else None,
        )
        train, held = parts[::2], parts[1::2]
        if len(held[0]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if sample_weight is None:
            train, held = [*train, None], [*held, None]
        if _base.is_classifier(self):
            held[1] = self._label_binarizer.inverse_transform(held[1])
        return train, held

    def _epochs(self, training: _Training, held: Any, incremental: bool) -> None:
        rows = training.count
        order = np.arange(rows, dtype=int)
        self.n_iter_ = 0
        try:
            with limited(training.threads):
                for _ in range(self.max_iter):
                    if self.shuffle:
                        order = _utils.shuffle(order, random_state=self._random_state)
                    self.loss_ = training.epoch(order)
                    self.n_iter_ += 1
                    self.t_ += rows
                    self.loss_curve_.append(self.loss_)
                    if self.verbose:
                        print("Iteration %d, loss = %.8f" % (self.n_iter_, self.loss_))  # noqa: T201, UP031
                    self._update_no_improvement_count(self.early_stopping, *held)
                    self._optimizer.iteration_ends(self.t_)
                    if self._stops() or incremental:
                        break
                    if self.n_iter_ == self.max_iter:
                        warnings.warn(
                            f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) "
                            "reached and the optimization hasn't converged yet.",
                            _exceptions.ConvergenceWarning,
                            stacklevel=5,
                        )
        except KeyboardInterrupt:
            training.engine.sync()
            warnings.warn("Training interrupted by user.", stacklevel=4)
        except BaseException:
            training.engine.sync()
            raise

    def _stops(self) -> bool:
        """Whether too many epochs brought nothing, and the schedule has no smaller rate to try."""
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        watched = "Validation score" if self.early_stopping else "Training loss"
        message = (
            f"{watched} did not improve more than tol={self.tol:f} "
            f"for {self.n_iter_no_change:d} consecutive epochs."
        )
        if self._optimizer.trigger_stopping(message, self.verbose):
            return True
        self._no_improvement_count = 0
        return False


class MLPClassifier(_DerivedNetwork, _network.MLPClassifier):  # type: ignore[misc, name-defined]
    """`sklearn.neural_network.MLPClassifier`, trained with derived gradients.

    Parameters and attributes are scikit-learn's:
    https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPClassifier.html

    Example:
        >>> import numpy as np
        >>> x = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]] * 20)
        >>> y = np.array(["same", "same", "other", "other"] * 20)
        >>> model = MLPClassifier((16,), learning_rate_init=0.05, max_iter=300, random_state=1)
        >>> model = model.fit(x, y)
        >>> model.score(x, y)
        1.0
    """


class MLPRegressor(_DerivedNetwork, _network.MLPRegressor):  # type: ignore[misc, name-defined]
    """`sklearn.neural_network.MLPRegressor`, trained with derived gradients.

    Parameters and attributes are scikit-learn's:
    https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPRegressor.html

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 200)[:, None]
        >>> model = MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=2000, random_state=1)
        >>> model = model.fit(x, x[:, 0] ** 2)
        >>> model.score(x, x[:, 0] ** 2) > 0.99
        True
    """
