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

Beyond scikit-learn's parameters there are two, both None unless given:

    clip_norm     the gradient of all weights and biases together is scaled so that its norm is at most this,
                  as by `torch.nn.utils.clip_grad_norm_`; it is the gradient of the loss with its penalty
    clip_value    every entry of the gradient is bounded by ± this, before its norm is looked at

They belong to the steps of "adam" and "sgd"; "lbfgs", which finds its step by a line search, warns of them.
"""

from __future__ import annotations

import inspect
import math
import warnings
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import MissingExtraError
from chalkgrad.train.emitted import gradient_code
from chalkgrad.train.estimator_fit import Training, program_of, rows_of, shapes_of
from chalkgrad.train.extras import require
from chalkgrad.train.optimisers import Optimiser, UpdateRule
from chalkgrad.train.threads import limited

_network = require("sklearn.neural_network._multilayer_perceptron", "chalkgrad.sklearn")
_stochastic = require("sklearn.neural_network._stochastic_optimizers", "chalkgrad.sklearn")
_base = require("sklearn.base", "chalkgrad.sklearn")
_selection = require("sklearn.model_selection", "chalkgrad.sklearn")
_utils = require("sklearn.utils", "chalkgrad.sklearn")
_exceptions = require("sklearn.exceptions", "chalkgrad.sklearn")
_validation = require("sklearn.utils._param_validation", "chalkgrad.sklearn")

if "sample_weight" not in _network.BaseMultilayerPerceptron._backprop.__code__.co_varnames:
    raise MissingExtraError(
        "chalkgrad.sklearn needs scikit-learn 1.7 or newer, whose networks take sample weights.",
        hint="Install it with: pip install 'scikit-learn>=1.7'",
    )

Array = NDArray[Any]

AS_IT_IS = UpdateRule("as_it_is", "w2[i] = g[i]", (), (), "")
"""Gives the gradient itself, which leaves of a step what clipping does to it."""


class _DerivedNetwork(_network.BaseMultilayerPerceptron):  # type: ignore[misc, name-defined]
    """What the two estimators share: everything but the loss, its gradient and the steps is inherited."""

    _no_improvement_count: int
    clip_norm: float | None
    clip_value: float | None

    def _bounds(self) -> dict[str, float]:
        """How the gradient is clipped, by name; empty where it is not."""
        given = {"clip_norm": self.clip_norm, "clip_value": self.clip_value}
        return {name: bound for name, bound in given.items() if bound is not None}

    def _clip(self, gradients: list[Array]) -> None:
        """Clip them in place, by the formula of the rule that a step on dense rows takes."""
        flat = np.concatenate([g.reshape(-1) for g in gradients])
        clipped = Optimiser(AS_IT_IS, **self._bounds()).step(flat, flat, learning_rate=1.0)
        ends = np.cumsum([g.size for g in gradients])
        for out, part in zip(gradients, np.split(clipped, ends[:-1]), strict=True):
            out[...] = part.reshape(out.shape)

    def _fit_lbfgs(self, *arguments: Any, **settings: Any) -> None:
        if self._bounds():
            warnings.warn(
                f"solver='lbfgs' takes its step by a line search: {' and '.join(self._bounds())} "
                "clip the steps of 'adam' and 'sgd' only.",
                stacklevel=4,
            )
        super()._fit_lbfgs(*arguments, **settings)

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
        rows = rows_of(self, X, y, sample_weight)
        shapes = shapes_of([X.shape[1], *(len(b) for b in self.intercepts_)])
        code = gradient_code(program_of(self, sample_weight is not None), tuple(shapes))
        params = dict(zip(shapes, self.coefs_ + self.intercepts_, strict=True))
        l2 = self.alpha if sample_weight is not None else self.alpha / len(X)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss, gradients = code({**rows.data, **params, "l2": float(l2)})
        for name, out in zip(shapes, coef_grads + intercept_grads, strict=True):
            out[...] = gradients[name]
        if self._bounds() and self.solver != "lbfgs":
            self._clip(coef_grads + intercept_grads)
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
        training = Training(self, X, y, sample_weight, self._batch(len(X)))
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

    def _epochs(self, training: Training, held: Any, incremental: bool) -> None:
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


def _with_bounds(estimator: Any) -> Any:
    """The estimator with `clip_norm` and `clip_value` behind the parameters that scikit-learn's class has,
    whichever its version gives it: `get_params`, `clone` and the page of help read the signature."""
    theirs = estimator.__init__
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("clip_norm", "clip_value")
    ]

    def stored(self: Any, *given: Any, clip_norm: Any = None, clip_value: Any = None, **others: Any) -> None:
        theirs(self, *given, **others)
        self.clip_norm, self.clip_value = clip_norm, clip_value

    signature = inspect.signature(theirs)
    stored.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])  # type: ignore[attr-defined]
    positive = [_validation.Interval(Real, 0, math.inf, closed="neither"), None]
    estimator.__init__ = stored
    estimator._parameter_constraints = {
        **estimator._parameter_constraints,
        **{p.name: positive for p in own},
    }
    return estimator


@_with_bounds
class MLPClassifier(_DerivedNetwork, _network.MLPClassifier):  # type: ignore[misc, name-defined]
    """`sklearn.neural_network.MLPClassifier`, trained with derived gradients.

    Parameters and attributes are scikit-learn's, and `clip_norm` and `clip_value`:
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


@_with_bounds
class MLPRegressor(_DerivedNetwork, _network.MLPRegressor):  # type: ignore[misc, name-defined]
    """`sklearn.neural_network.MLPRegressor`, trained with derived gradients.

    Parameters and attributes are scikit-learn's, and `clip_norm` and `clip_value`:
    https://scikit-learn.org/stable/modules/generated/sklearn.neural_network.MLPRegressor.html

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 200)[:, None]
        >>> model = MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=2000, random_state=1)
        >>> model = model.fit(x, x[:, 0] ** 2)
        >>> model.score(x, x[:, 0] ** 2) > 0.99
        True
    """
