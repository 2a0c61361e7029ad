"""Random masks: every engine draws the same ones, anew in each step."""

from __future__ import annotations

import numpy as np
import pytest

from chalkgrad.emit.draws import Draws, uniform
from chalkgrad.errors import DataError
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.train.engines import make_engine
from chalkgrad.train.objective import Objective
from chalkgrad.train.optimisers import Optimiser

FORMULA = """y: N int
parameter p: 1/2
parameter q: 1/2
f1[i,h] = sum(d, x[i,d] * W1[d,h]) + b1[h]
a1[i,h] = relu(f1[i,h]) * mask1[i,h] / (1 - p)
f2[i,j] = sum(h, a1[i,h] * W2[h,j]) + b2[j]
a2[i,j] = tanh(f2[i,j]) * mask2[i,j] / (1 - q)
f3[i,k] = sum(j, a2[i,j] * W3[j,k]) + b3[k]
r[i,k] = exp(f3[i,k]) / sum(c, exp(f3[i,c]))
L = -mean(i, log(r[i,y[i]]))"""

SIZES = {"W1": (7, 37), "b1": (37,), "W2": (37, 19), "b2": (19,), "W3": (19, 4), "b3": (4,)}


def objective(dtype=np.float32, drop=(0.5, 0.2), seed=3):
    scalars = dict(zip(("p", "q"), drop, strict=True))
    made = Objective(
        read_formula(FORMULA), SIZES, dtype, scalars, {"mask1": 1 - drop[0], "mask2": 1 - drop[1]}, seed
    )
    rng = np.random.default_rng(0)
    for view in made.params.values():
        view[...] = 0.3 * rng.standard_normal(view.shape)
    return made


def trained(name, made, threads=1, calls=(1, 3)):
    """Losses of the steps, some per call, and the parameters afterwards."""
    rng = np.random.default_rng(1)
    data = {"x": rng.standard_normal((90, 7)).astype(made.dtype), "y": rng.integers(0, 4, 90)}
    engine = make_engine(name, made, Optimiser("momentum"), data, 40, threads)
    assert engine.name == name
    losses = []
    for steps in calls:
        order = rng.permutation(90)[: 33 * (90 // 33)].reshape(-1, 33)
        order = np.resize(order, (steps, 33))
        found = np.empty(steps)
        engine.run(order, found, 0.1)
        losses += list(found)
    engine.sync()
    return np.array(losses), made.flat.copy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["numpy", "llvm", "torch"])
def test_every_engine_draws_the_same_masks(name, dtype):
    if name == "llvm":
        pytest.importorskip("llvmlite")
    if name == "torch":
        pytest.importorskip("torch")
    wanted, parameters = trained("plain", objective(dtype))
    losses, after = trained(name, objective(dtype))
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(losses, wanted, rtol=tolerance)
    np.testing.assert_allclose(after, parameters, rtol=0, atol=100 * tolerance)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_masks_of_any_shape(name):
    """A whole observation dropped, or every entry of a tensor of rank three."""
    if name == "torch":
        pytest.importorskip("torch")
    text = """z[i,c,h] = sum(d, x[i,d] * W[d,c,h]) * cube[i,c,h] * row[i]
L = mean(i, sum(c, h, (z[i,c,h] - 1)^2))"""
    rng = np.random.default_rng(0)
    x, start, order = rng.standard_normal((20, 3)), rng.standard_normal((3, 4, 5)), rng.permutation(20)
    losses = {}
    for engine in ("plain", name):
        masks = {"cube": 0.7, "row": 0.5}
        made = Objective(read_formula(text), {"W": (3, 4, 5)}, np.float64, masks=masks, seed=2)
        made.params["W"][...] = start
        losses[engine] = np.empty(2)
        make_engine(engine, made, Optimiser("sgd"), {"x": x}, 10).run(
            order.reshape(2, 10), losses[engine], 0.01
        )
    np.testing.assert_allclose(losses[name], losses["plain"], rtol=1e-12)


def test_threads_draw_what_one_thread_draws():
    pytest.importorskip("llvmlite")
    one, _ = trained("llvm", objective())
    two, _ = trained("llvm", objective(), threads=2)
    assert list(one) == list(two)


def test_the_seed_and_the_probability_matter():
    losses = {(seed, drop): trained("plain", objective(seed=seed, drop=(drop, 0.2)))[0][0]
              for seed in (1, 2) for drop in (0.1, 0.6)}  # fmt: skip
    assert len(set(losses.values())) == 4


def test_nothing_is_dropped_with_probability_zero():
    losses, _ = trained("plain", objective(drop=(0.0, 0.0), seed=1))
    other, _ = trained("plain", objective(drop=(0.0, 0.0), seed=2))
    assert list(losses) == list(other)


def test_numbers_are_uniform_and_unrelated():
    """Frequencies within five standard deviations; no correlation along rows, columns, steps, streams."""
    numbers = uniform(5, 17, 1, 512, 512).ravel().astype(float)
    counts = np.histogram(numbers, 64, (0, 1))[0]
    expected = numbers.size / 64
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    square = numbers.reshape(512, 512) - 0.5
    others = [
        np.roll(square, 1, 0), np.roll(square, 1, 1), np.roll(square, 8, 0), square.T,
        uniform(5, 18, 1, 512, 512) - 0.5, uniform(5, 17, 2, 512, 512) - 0.5,
        uniform(6, 17, 1, 512, 512) - 0.5,
    ]  # fmt: skip
    for other in others:
        assert abs((square * other).mean() * 12) < 5 / 512


def test_draws_come_in_the_order_of_streams_and_steps():
    draws, out = Draws(3, 2), np.empty((4, 5), np.float32)
    draws.begin(7)
    for step, stream in ((7, 0), (7, 1), (8, 0)):
        draws.random(out.dtype, out)
        assert (out == uniform(3, step, stream, 4, 5)).all()


def test_a_mask_that_the_loss_does_not_read_is_refused():
    program = read_formula(FORMULA)
    with pytest.raises(DataError, match="'mask3' is no array"):
        Objective(program, SIZES, masks={"mask3": 0.5})
    with pytest.raises(DataError, match=r"'mask1' is 0\.0"):
        Objective(program, SIZES, masks={"mask1": 0.0})
