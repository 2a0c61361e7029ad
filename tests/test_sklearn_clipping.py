"""Clipping in the estimators: parameters as scikit-learn has them, the formula of PyTorch."""

from __future__ import annotations

import inspect
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import neural_network
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from chalkgrad import sklearn as ours
from chalkgrad.train import estimator_fit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

GENERATOR = np.random.default_rng(1)
X = GENERATOR.standard_normal((90, 6))
Y = GENERATOR.integers(0, 3, 90)
BOUNDS: list[dict[str, float]] = [
    {"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 0.05, "clip_value": 0.01},
]  # fmt: skip
ESTIMATORS = ["MLPClassifier", "MLPRegressor"]


def model(**settings: Any) -> Any:
    return ours.MLPClassifier(**{"hidden_layer_sizes": (7,), "max_iter": 6, "random_state": 2, **settings})


def as_pytorch_does(gradients: list[np.ndarray], bounds: dict[str, float]) -> list[np.ndarray]:
    """clip_grad_value_, then clip_grad_norm_, written out."""
    bound = bounds.get("clip_value", np.inf)
    clipped = [np.clip(g, -bound, bound) for g in gradients]
    norm = np.sqrt(sum(np.square(g).sum() for g in clipped))
    return [g * min(1.0, bounds.get("clip_norm", np.inf) / (norm + 1e-6)) for g in clipped]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_parameters_stand_behind_those_of_scikit_learn(name: str) -> None:
    mine, theirs = (inspect.signature(getattr(m, name)) for m in (ours, neural_network))
    assert [*mine.parameters][:-2] == [*theirs.parameters]
    assert [*mine.parameters][-2:] == ["clip_norm", "clip_value"]
    made = getattr(ours, name)(clip_norm=0.5)
    assert made.get_params()["clip_norm"] == 0.5
    assert made.get_params()["clip_value"] is None
    assert "clip_norm=0.5" in repr(made)
    copy = clone(made.set_params(clip_value=0.25))
    assert (copy.clip_norm, copy.clip_value) == (0.5, 0.25)
    assert pickle.loads(pickle.dumps(copy)).get_params() == copy.get_params()


@pytest.mark.parametrize("engine", ["plain", "numpy", "llvm"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_a_fit_is_that_of_scikit_learn_with_clipped_gradients(
    bounds: dict[str, float], solver: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "llvm":
        pytest.importorskip("llvmlite")
    make = estimator_fit.make_engine
    monkeypatch.setattr(estimator_fit, "make_engine", lambda name, *given: make(engine, *given))
    mine = model(solver=solver, batch_size=20, **bounds).fit(X, Y)

    base = neural_network._multilayer_perceptron.BaseMultilayerPerceptron
    backward, longest = base._backprop, []

    def clipped(self: Any, *given: Any) -> Any:
        loss, coefs, intercepts = backward(self, *given)
        longest.append(np.sqrt(sum(np.square(g).sum() for g in coefs + intercepts)))
        for g, bounded in zip(coefs + intercepts, as_pytorch_does(coefs + intercepts, bounds), strict=True):
            g[...] = bounded
        return loss, coefs, intercepts

    monkeypatch.setattr(base, "_backprop", clipped)
    settings = {k: v for k, v in mine.get_params().items() if k not in ("clip_norm", "clip_value")}
    theirs = neural_network.MLPClassifier(**settings).fit(X, Y)
    assert max(longest) > 0.05
    for a, b in zip(theirs.coefs_ + theirs.intercepts_, mine.coefs_ + mine.intercepts_, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-9)
    assert mine.loss_ == pytest.approx(theirs.loss_, rel=1e-9)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_sparse_rows_are_clipped_too(bounds: dict[str, float], solver: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = model(solver=solver, **bounds).fit(X, Y)
    other = model(solver=solver, **bounds).fit(sparse.csr_matrix(X), Y)
    for a, b in zip(dense.coefs_, other.coefs_, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-12)


def test_partial_fit_clips_and_a_changed_bound_holds_from_then_on() -> None:
    mine = model(
        solver="sgd", momentum=0.0, learning_rate_init=1.0, alpha=0.0, batch_size=90, clip_value=1e-3
    )
    mine.partial_fit(X, Y, classes=[0, 1, 2])
    for bound in (1e-3, 1e-5):
        before = [c.copy() for c in mine.coefs_]
        mine.set_params(clip_value=bound).partial_fit(X, Y)
        moved = max(abs(a - b).max() for a, b in zip(before, mine.coefs_, strict=True))
        assert moved == pytest.approx(bound, rel=1e-9)


def test_bounds_are_searched_over_as_any_parameter() -> None:
    search = GridSearchCV(model(), {"clip_norm": [None, 0.1, 1.0]}, cv=2).fit(X, Y)
    assert len(search.cv_results_["params"]) == 3


@pytest.mark.parametrize("bound", [0, -1.0, float("nan"), float("inf"), "1", True], ids=str)
@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
def test_a_bound_is_a_positive_number(name: str, bound: Any) -> None:
    with pytest.raises(ValueError, match=name):
        model(**{name: bound}).fit(X, Y)


def test_a_line_search_warns_that_nothing_is_clipped() -> None:
    with pytest.warns(UserWarning, match="clip_norm"):
        clipped = model(solver="lbfgs", clip_norm=1e-6).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", category=neural_network._multilayer_perceptron.ConvergenceWarning)
        plain = model(solver="lbfgs").fit(X, Y)
    np.testing.assert_array_equal(clipped.coefs_[0], plain.coefs_[0])
