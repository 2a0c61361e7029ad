"""The estimators: scikit-learn's own checks and tests, and the same fits as scikit-learn's."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from chalkgrad import sklearn as ours
from chalkgrad.train import estimator_fit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ROWS = 120
GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((ROWS, 6))
WEIGHTS = GENERATOR.random(ROWS) + 0.2
TARGETS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "classes": ("MLPClassifier", GENERATOR.integers(0, 3, ROWS), {}),
    "two classes by name": (
        "MLPClassifier",
        np.where(X[:, 0] + GENERATOR.standard_normal(ROWS) > 0, "yes", "no"),
        {},
    ),
    "several labels": ("MLPClassifier", (GENERATOR.random((ROWS, 3)) < 0.5).astype(int), {}),
    "numbers": ("MLPRegressor", X[:, 0] ** 2 + X[:, 1], {}),
    "counts": ("MLPRegressor", GENERATOR.poisson(2.0, ROWS).astype(float), {"loss": "poisson"}),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "early stopping": {"early_stopping": True, "max_iter": 60},
    "nesterov": {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 37},
    "momentum": {
        "solver": "sgd",
        "nesterovs_momentum": False,
        "learning_rate": "adaptive",
        "activation": "tanh",
    },
    "in order": {"shuffle": False, "activation": "logistic", "alpha": 0.1},
    "identity": {"activation": "identity", "solver": "sgd", "momentum": 0.5},
    # Far out on a line search scikit-learn clips probabilities, where the loss here is exact: few steps.
    "lbfgs": {"solver": "lbfgs", "alpha": 0.1, "max_iter": 4},
}


def pair(target: str, **settings: Any) -> tuple[Any, Any, Any]:
    """scikit-learn's estimator, ours, and the target."""
    name, y, own = TARGETS[target]
    options = {"hidden_layer_sizes": (9, 5), "max_iter": 12, "random_state": 3, **own, **settings}
    return getattr(neural_network, name)(**options), getattr(ours, name)(**options), y


def assert_alike(theirs: Any, mine: Any, tolerance: float = 1e-9) -> None:
    """The same parameters and course, up to rounding."""
    for a, b in zip(theirs.coefs_ + theirs.intercepts_, mine.coefs_ + mine.intercepts_, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance)
    assert mine.n_iter_ == theirs.n_iter_
    assert mine.loss_ == pytest.approx(theirs.loss_, rel=10 * tolerance, abs=10 * tolerance)
    assert mine.t_ == theirs.t_


@parametrize_with_checks(
    [
        ours.MLPClassifier(max_iter=100),
        ours.MLPRegressor(max_iter=100),
        ours.MLPClassifier(max_iter=100, clip_norm=1.0),
        ours.MLPRegressor(max_iter=100, clip_norm=10.0, clip_value=5.0),
    ]
)
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("target", TARGETS)
def test_a_fit_takes_the_path_of_scikit_learn(target: str, weights: Any, settings: dict[str, Any]) -> None:
    theirs, mine, y = pair(target, **settings)
    if target == "counts" and settings.get("solver") == "sgd":
        theirs.set_params(learning_rate_init=1e-4)
        mine.set_params(learning_rate_init=1e-4)
    given = () if weights is None else (weights,)
    theirs.fit(X, y, *given)
    mine.fit(X, y, *given)
    assert_alike(theirs, mine, 1e-5 if settings.get("solver") == "lbfgs" else 1e-9)
    np.testing.assert_array_equal(mine.predict(X[:20]).shape, theirs.predict(X[:20]).shape)
    if "solver" not in settings:
        np.testing.assert_allclose(mine.loss_curve_, theirs.loss_curve_, rtol=1e-9)
        assert (mine.validation_scores_ is None) == (theirs.validation_scores_ is None)


def test_single_precision_is_kept() -> None:
    theirs, mine, y = pair("classes")
    theirs.fit(X.astype("f"), y)
    mine.fit(X.astype("f"), y)
    assert {c.dtype for c in mine.coefs_ + mine.intercepts_} == {np.dtype("f")}
    assert_alike(theirs, mine, 1e-5)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_goes_on_where_it_was(solver: str) -> None:
    theirs, mine, y = pair("classes", solver=solver)
    for _ in range(3):
        theirs.partial_fit(X, y, classes=[0, 1, 2])
        mine.partial_fit(X, y, classes=[0, 1, 2])
        mine = pickle.loads(pickle.dumps(mine))
    assert_alike(theirs, mine)


def test_warm_start_keeps_the_weights() -> None:
    theirs, mine, y = pair("numbers", warm_start=True)
    for _ in range(2):
        theirs.fit(X, y)
        mine.fit(X, y)
    assert_alike(theirs, mine)


def test_sparse_rows() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    _, mine, y = pair("classes")
    dense = clone(mine).fit(X, y)
    mine.fit(sparse.csr_matrix(X), y)
    assert_alike(dense, mine)


def test_the_gradient_is_derived_not_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    base = neural_network._multilayer_perceptron.BaseMultilayerPerceptron

    def refuse(*arguments: Any) -> None:
        raise AssertionError("scikit-learn's own backward was used")

    monkeypatch.setattr(base, "_backprop", refuse)
    monkeypatch.setattr(base, "_compute_loss_grad", refuse)
    for settings in SETTINGS.values():
        _, mine, y = pair("classes", **settings)
        mine.fit(X, y)


def test_stopping_is_said_and_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    _, mine, y = pair("classes", verbose=True, tol=10.0, n_iter_no_change=2)
    mine.fit(X, y)
    printed = capsys.readouterr().out
    assert "Iteration 1, loss = " in printed
    assert (
        "Training loss did not improve more than tol=10.000000 for 2 consecutive epochs. Stopping." in printed
    )
    mine.set_params(tol=0.0, max_iter=2, verbose=False)
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\)"):
        mine.fit(X, y)


def test_large_fits_are_machine_code_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(estimator_fit, "WORTH_COMPILING", 0.0)
    theirs, mine, y = pair("classes", max_iter=3)
    training = []
    original = estimator_fit.Training.epoch

    def epoch(self: Any, order: Any) -> float:
        training.append(self.engine.name)
        return original(self, order)

    monkeypatch.setattr(estimator_fit.Training, "epoch", epoch)
    theirs.fit(X, y)
    mine.fit(X, y)
    assert set(training) == {"llvm"}
    assert_alike(theirs, mine)


@pytest.mark.parametrize("settings", [{}, {"solver": "lbfgs"}], ids=["adam", "lbfgs"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_weights_without_a_sum_are_refused(settings: dict[str, Any], sparse: bool) -> None:
    """scikit-learn divides by zero there, with machine code the loss would be no number."""
    from scipy.sparse import csr_matrix

    _, mine, y = pair("classes", batch_size=8, shuffle=False, **settings)
    given = csr_matrix(X) if sparse else X
    opposite = np.where(np.arange(ROWS) % 2, 1.0, -1.0)
    lacking = opposite if settings else np.where(np.arange(ROWS) < ROWS - 8, WEIGHTS, 0.0)
    with pytest.raises(ValueError, match="rows of a batch sum to zero"):
        mine.fit(given, y, lacking)
    mine.fit(given, y, np.where(np.arange(ROWS) % 8, 0.0, WEIGHTS))
    assert np.isfinite(mine.loss_)
