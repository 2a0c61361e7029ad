"""Initial weights: normal numbers, the same ones on any number of threads."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from chalkgrad.train import network as network_module
from chalkgrad.train.initial import QUANTILES, STRETCH, fill_normal, quantiles
from chalkgrad.train.network import Network

SHAPES = [(3, 5), (300, 500), (1, 1), (STRETCH // 64, 64), (7,)]


def drawn(seed: int, threads: int, dtype: type = np.float32) -> list[np.ndarray]:
    arrays = [np.zeros(shape, dtype) for shape in SHAPES]
    fill_normal(seed, [(a, 0.1 * n) for n, a in enumerate(arrays, 1)], threads)
    return arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_number_is_the_quantile_that_sixteen_bits_choose(dtype: type) -> None:
    generator, z = np.random.PCG64(5), quantiles()
    for n, array in enumerate(drawn(5, 1, dtype), 1):
        for first in range(0, array.size, STRETCH):
            part = array.reshape(-1)[first : first + STRETCH]
            words = [int(generator.random_raw()) for _ in range(-(-part.size // 4))]
            chosen = [word >> shift & 0xFFFF for word in words for shift in (0, 16, 32, 48)][: part.size]
            np.testing.assert_array_equal(part, (z[chosen] * (0.1 * n)).astype(dtype))


@pytest.mark.parametrize("threads", [2, 3, 7, 50])
def test_any_number_of_threads_draws_the_same_numbers(threads: int) -> None:
    for one, several in zip(drawn(3, 1), drawn(3, threads), strict=True):
        assert several.any()
        np.testing.assert_array_equal(one, several)


def test_another_seed_draws_other_numbers() -> None:
    for one, other in zip(drawn(1, 1), drawn(2, 1), strict=True):
        assert not np.array_equal(one, other)


def test_the_table_is_the_normal_distribution() -> None:
    z, normal = quantiles(), NormalDist()
    assert len(z) == QUANTILES
    assert (np.diff(z) > 0).all()
    np.testing.assert_array_equal(z, -z[::-1])
    assert z.mean() == pytest.approx(0, abs=1e-12)
    assert z.var() == pytest.approx(1, abs=1e-12)
    known = [normal.inv_cdf((k + 0.5) / QUANTILES) for k in range(0, QUANTILES, 7)]
    np.testing.assert_allclose(z[::7], known, rtol=3e-4, atol=1e-6)


def test_weights_of_a_network_are_normal_and_independent() -> None:
    network = Network((400, 1000, 500, 10), seed=4)
    for w in (network.params["W1"], network.params["W2"]):
        z = np.sort(w.reshape(-1).astype(np.float64)) / np.sqrt(2 / w.shape[0])
        expected = [NormalDist().cdf(v) for v in z[::1000]]
        assert abs(np.arange(0, z.size, 1000) / z.size - expected).max() < 2 / np.sqrt(z.size)
        for axis in (0, 1):  # neighbours, in a row and in a column
            a, b = np.delete(w, -1, axis).reshape(-1), np.delete(w, 0, axis).reshape(-1)
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(a.size)
    assert not network.params["b1"].any()


def test_large_networks_are_drawn_on_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(network_module, "available", lambda: 8)
    monkeypatch.setattr(network_module, "fill_normal", lambda seed, arrays, threads: asked.append(threads))
    Network((64, 100, 10))
    Network((1024, 1024, 10))
    assert asked == [1, 8]
