"""Networks: the derived gradient against PyTorch, initial weights, predictions, refusals."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from chalkgrad.errors import DataError, ShapeError
from chalkgrad.train.architecture import ACTIVATIONS
from chalkgrad.train.network import Network

ONE_HIDDEN = (5, 7, 3)
CASES = [
    ((5, 3), "relu", 0.0),
    ((5, 3), "relu", 0.1),
    (ONE_HIDDEN, "relu", 0.0),
    *((ONE_HIDDEN, activation, 0.1) for activation in ACTIVATIONS),
    ((4, 6, 6, 2), "relu", 0.1),
    ((4, 6, 5, 4, 2), "tanh", 0.0),
]


@pytest.mark.parametrize(("sizes", "activation", "l2"), CASES)
def test_loss_and_gradient_are_those_of_autograd(sizes: tuple[int, ...], activation: str, l2: float) -> None:
    torch = pytest.importorskip("torch")
    network = Network(sizes, activation=activation, l2=l2, seed=3, dtype=np.float64)
    generator = np.random.default_rng(5)
    x = generator.standard_normal((6, sizes[0]))
    y = generator.integers(0, sizes[-1], 6)
    network.flat += 0.1 * generator.standard_normal(network.flat.shape)

    params = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in network.params.items()}
    h = torch.tensor(x)
    functional = torch.nn.functional
    spelling = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}
    act = spelling.get(activation) or getattr(functional, activation)
    for layer in range(1, len(sizes)):
        h = h @ params[f"W{layer}"] + params[f"b{layer}"]
        h = act(h) if layer < len(sizes) - 1 else h
    expected = functional.cross_entropy(h, torch.tensor(y))
    expected = expected + l2 / 2 * sum((p**2).sum() for n, p in params.items() if n.startswith("W"))
    expected.backward()

    loss, gradient = network.loss_and_gradient(x, y)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    assert network.loss(x, y) == pytest.approx(loss, rel=1e-15)
    for name, view in network.views(gradient).items():
        np.testing.assert_allclose(view, params[name].grad.numpy(), rtol=1e-10, atol=1e-13, err_msg=name)
    np.testing.assert_allclose(network.predict_proba(x), torch.softmax(h, dim=1).detach().numpy(), rtol=1e-12)


def test_parameters_are_views_of_one_vector() -> None:
    network = Network((4, 6, 3))
    assert network.flat.size == 4 * 6 + 6 + 6 * 3 + 3
    assert list(network.params) == ["W1", "b1", "W2", "b2"]
    network.flat[:] = np.arange(network.flat.size)
    assert network.params["W1"][0, 0] == 0
    assert network.params["b2"][-1] == network.flat.size - 1
    assert all(np.shares_memory(view, network.flat) for view in network.params.values())


def test_given_parameters_are_those_it_starts_with() -> None:
    drawn = Network((4, 6, 3), seed=2)
    given = Network((4, 6, 3), params=drawn.params)
    assert (given.flat == drawn.flat).all()
    assert not np.shares_memory(given.flat, drawn.flat)
    # In double precision too, and never broadcast.
    assert Network((4, 6, 3), params=drawn.params, dtype=np.float64).flat.dtype == np.float64
    with pytest.raises(ShapeError, match=r"b1 has the shape \(1,\); it must be \(6,\)"):
        Network((4, 6, 3), params={**drawn.params, "b1": np.zeros(1)})
    with pytest.raises(DataError, match=r"no parameter 'w1'\. Did you mean 'W1'"):
        Network((4, 6, 3), params={"w1": 0.0, **drawn.params})
    with pytest.raises(DataError, match="'b2' is missing"):
        Network((4, 6, 3), params={n: a for n, a in drawn.params.items() if n != "b2"})


def test_initial_weights() -> None:
    for activation, variance in (("relu", 2 / 500), ("tanh", 1 / 500)):
        network = Network((500, 400, 10), activation=activation, seed=1)
        assert network.params["W1"].var() == pytest.approx(variance, rel=0.05)
        assert not network.params["b1"].any()
    same, other = Network((5, 4, 3), seed=1), Network((5, 4, 3), seed=2)
    np.testing.assert_array_equal(same.flat, Network((5, 4, 3), seed=1).flat)
    assert (same.params["W1"] != other.params["W1"]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_is_kept(dtype: type) -> None:
    network = Network((5, 7, 3), l2=0.1, dtype=dtype)
    x, y = network.check(np.random.default_rng(0).standard_normal((4, 5)), np.array([0, 1, 2, 0]))
    loss_code, probabilities = network.loss_code, network.predict_proba(x)
    _, gradients = loss_code({"x": x, "y": y, **network.params, "l2": 0.1})
    assert {g.dtype for g in gradients.values()} == {np.dtype(dtype)}
    assert probabilities.dtype == dtype


def test_no_gradient_of_the_data_is_computed() -> None:
    source = Network((5, 7, 3)).loss_code.source
    assert "dW1" in source
    assert "dx" not in source


def test_large_scores_are_no_trouble() -> None:
    network = Network((2, 2), dtype=np.float32)
    network.params["W1"][...] = [[1e4, -1e4], [-1e4, 1e4]]
    x, y = network.check(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    loss, gradient = network.loss_and_gradient(x, y)
    assert loss == pytest.approx(1e4)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(network.predict_proba(x), [[1, 0], [0, 1]])


def test_deriving_happens_once_per_architecture() -> None:
    first, second = Network((5, 7, 3), seed=1), Network((8, 4, 2), seed=2)
    assert first.loss_code is second.loss_code
    assert first.loss_code is not Network((5, 7, 3), l2=0.1).loss_code


def test_score_counts_the_right_rows() -> None:
    network = Network((2, 2))
    network.params["W1"][...] = np.eye(2)
    x = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 3.0]])
    assert network.score(x, np.array([0, 1, 1, 1])) == 0.75


def test_unusable_settings_are_refused() -> None:
    for sizes in ([5], [5, 0, 3], [5, 2.5, 3], []):
        with pytest.raises(DataError, match="do not make a network"):
            Network(sizes)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="number of classes"):
        Network([5, 1])
    with pytest.raises(DataError, match=r"no activation 'rellu'. Did you mean 'relu'"):
        Network([5, 3], activation="rellu")
    with pytest.raises(DataError, match="no loss 'hinge'"):
        Network([5, 3], loss="hinge")
    with pytest.raises(DataError, match="l2 is -1"):
        Network([5, 3], l2=-1)
    with pytest.raises(DataError, match="seed is -1"):
        Network([5, 3], seed=-1)
    with pytest.raises(DataError, match=r"6,000,000,000,002 parameters.* GB"):
        Network([3, 10**12, 2])
    with pytest.raises(DataError, match="l2 is nan"):
        Network([5, 3], l2=float("nan"))
    with pytest.raises(DataError, match="must be float32 or float64"):
        Network([5, 3], dtype=int)


def test_unusable_data_are_refused() -> None:
    network = Network((2, 3))
    x, y = np.zeros((2, 2)), np.array([0, 2])
    with pytest.raises(ShapeError, match="rows of 2 features"):
        network.predict(np.zeros((4, 3)))
    with pytest.raises(ShapeError, match=r"x\[None, :\]"):
        network.predict(np.zeros(2))
    with pytest.raises(DataError, match="Feature 1 of row 0 is nan"):
        network.predict(np.array([[0, np.nan]]))
    with pytest.raises(DataError, match="not a finite float32 number"):
        network.predict(np.array([[0, 1e300]]))  # more than float32 holds
    assert network.predict(np.array([[0, 1e30]], np.float32)).shape == (1,)  # whose square is more
    with pytest.raises(DataError, match="label 3 in row 1 is out of range"):
        network.check(x, np.array([0, 3]))
    with pytest.raises(ShapeError, match="2 rows"):
        network.check(x, np.array([0]))
    assert network.check(x, y)[0].dtype == np.float32


def test_many_rows_are_predicted_in_a_bounded_working_set() -> None:
    network = Network((20, 512, 3), seed=1)
    x = np.random.default_rng(0).standard_normal((20_000, 20)).astype(np.float32)
    one = np.concatenate([network.predict_proba(x[n : n + 1]) for n in range(0, 20_000, 1999)])
    tracemalloc.start()
    p = network.predict_proba(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(p[::1999], one, rtol=1e-5)
    whole = 20_000 * 512 * 4
    assert peak - p.nbytes < whole / 4
    y = np.arange(20_000) % 3
    assert network.loss(x, y) == pytest.approx(float(-np.log(p[np.arange(20_000), y]).mean()), rel=1e-5)
    x[12_345, 7] = np.nan
    with pytest.raises(DataError, match="Feature 7 of row 12345 is nan"):
        network.predict_proba(x)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "close"), [(np.float32, 1e-6), (np.float64, 1e-12)])
def test_predictions_are_those_of_the_readable_code(activation: str, dtype: type, close: float) -> None:
    network = Network((5, 9, 7, 3), activation=activation, seed=2, dtype=dtype)
    x = np.random.default_rng(1).standard_normal((2 * network._stretch + 3, 5)).astype(dtype)
    for rows in (0, 1, 2, network._stretch, network._stretch + 1, len(x), 1):
        (expected,) = network.probabilities_code({"x": x[:rows], **network.params})
        found = network.predict_proba(x[:rows])
        assert found.shape == (rows, 3)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=close, atol=close)


def test_predictions_follow_the_parameters_and_stay_what_they_were() -> None:
    network = Network((4, 6, 3), dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((8, 4))
    before = network.predict_proba(x)
    kept = before.copy()
    network.flat += 1.0
    (expected,) = network.probabilities_code({"x": x, **network.params})
    np.testing.assert_allclose(network.predict_proba(x), expected, rtol=1e-12)
    np.testing.assert_array_equal(before, kept)
    wide = np.zeros((8, 8))
    wide[:, ::2] = x  # every other column: not contiguous
    np.testing.assert_array_equal(network.predict_proba(wide[:, ::2]), network.predict_proba(x))


def test_a_network_that_has_predicted_can_be_copied() -> None:
    network = Network((4, 6, 3), dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((8, 4))
    expected = network.predict_proba(x)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        np.testing.assert_array_equal(other.predict_proba(x), expected)


def test_threads_predict_at_the_same_time() -> None:
    network = Network((20, 50, 4))
    x = np.random.default_rng(1).standard_normal((40, 30, 20)).astype(np.float32)
    expected = [network.predict_proba(part) for part in x]
    with ThreadPoolExecutor(4) as pool:
        for found, known in zip(pool.map(network.predict_proba, x), expected, strict=True):
            np.testing.assert_array_equal(found, known)
