"""Ctrl-C is prompt where a step or a look at an epoch takes long, and leaves a run that can be resumed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import chalkgrad as cg
from chalkgrad.emit import together
from chalkgrad.train import engines
from chalkgrad.train.callbacks import Callback
from chalkgrad.train.checkpoint import has_checkpoint
from chalkgrad.train.data import Dataset
from chalkgrad.train.formula import minimise
from chalkgrad.train.history import History
from chalkgrad.train.interrupt import asked
from chalkgrad.train.loop import fit
from chalkgrad.train.network import Network
from chalkgrad.train.objective import Objective
from chalkgrad.train.sampler import Sampler
from tests.train.small import blobs, network

ROWS = 60_000


def train(net: Network, data: Dataset, **options: Any) -> History:
    return fit(net, data, **{"epochs": 2, "batch_size": 100, "seed": 5, "engine": "llvm", **options})


def wide() -> Network:
    """Steps long enough that an epoch of some hundred is not over before anybody looks."""
    return Network((4, 700, 3), seed=0)


@pytest.fixture
def long_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step counts as long, and a call takes all of an epoch, so that only giving up ends it before."""
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(engines, "LONG_STEP", 1)
    monkeypatch.setattr(together, "LOOK_SECONDS", 0.001)
    some = Sampler.next_batches
    monkeypatch.setattr(Sampler, "next_batches", lambda self, most: some(self, ROWS))


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch, long_calls: None) -> Callable[[], None]:
    """From when it is called: Ctrl-C is pressed, once, at the first look that finds three steps taken."""
    compiled = pytest.importorskip("chalkgrad.emit.kernels.compiled").CompiledStep
    taken: list[NDArray[np.float64]] = []
    call = compiled._call

    def watched(self: Any, *given: Any) -> Any:
        losses = given[5]
        losses[:] = np.nan  # until the machine code has written there
        taken.append(losses)
        return call(self, *given)

    def replaced() -> Callable[[], bool] | None:
        tell = asked()

        def look() -> bool:
            assert tell is not None
            if not np.isnan(taken[-1][2]) and not pressed:
                pressed.append(1)
                os.kill(os.getpid(), signal.SIGINT)
            return tell()

        return None if tell is None else look

    pressed: list[int] = []

    def begin() -> None:
        monkeypatch.setattr(compiled, "_call", watched)
        monkeypatch.setattr(engines, "asked", replaced)

    return begin


@pytest.mark.parametrize("threads", [1, 2])
def test_steps_are_given_up_and_the_run_resumes(
    threads: int, press: Callable[[], None], tmp_path: Path
) -> None:
    """What was given up is as if never begun: a resumed run is bit for bit the same."""
    pytest.importorskip("safetensors")
    data, whole = blobs(ROWS), wide()
    expected = train(whole, data, threads=threads)
    press()
    first = train(wide(), data, threads=threads, checkpoint_path=tmp_path)
    assert first.interrupted
    assert 0 < len(first.steps) < ROWS // 100
    resumed = wide()
    history = train(resumed, data, threads=threads, checkpoint_path=tmp_path, resume=True)
    assert resumed.flat.tobytes() == whole.flat.tobytes()
    assert history.steps == expected.steps
    assert history.epochs == expected.epochs


@pytest.mark.parametrize("threads", [1, 2])
def test_without_a_checkpoint_a_step_is_broken_off_and_the_best_epoch_stays(
    threads: int, press: Callable[[], None]
) -> None:
    """Nobody reads the parameters of the moment then: they are not even copied back."""
    data, first, net = blobs(ROWS), wide(), wide()
    train(first, data, threads=threads, epochs=1)
    expected = train(wide(), data, threads=threads)

    class InTheSecondEpoch(Callback):
        def on_epoch_begin(self, number: int) -> None:
            if number == 2:
                press()

    history = train(net, data, threads=threads, callbacks=[InTheSecondEpoch()])
    assert history.interrupted
    assert history.epochs == expected.epochs[:1]
    assert len(expected.steps) > len(history.steps) > len(expected.steps) // 2
    assert history.steps == expected.steps[: len(history.steps)]
    assert net.flat.tobytes() == first.flat.tobytes()


def test_a_formula_of_ones_own_is_given_up_as_well(press: Callable[[], None]) -> None:
    line = cg.formula("L = mean(i, (sum(d, x[i,d] * w[d]) - t[i])^2)")
    x = np.random.default_rng(0).standard_normal((ROWS, 3))
    problem = (line, {"w": np.zeros(3)}, {"x": x, "t": x @ np.arange(3.0)})
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 1, "seed": 5, "engine": "llvm"}
    expected = minimise(*problem, **settings)
    press()
    found = minimise(*problem, **settings)
    assert found.interrupted
    assert 0 < len(found.losses) < ROWS
    np.testing.assert_array_equal(found.losses, expected.losses[: len(found.losses)])
    assert np.abs(found.params["w"] - expected.params["w"]).max() > 0


def test_the_look_at_an_epoch_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are judged anew by a resumed run, and nothing else differs."""
    pytest.importorskip("safetensors")
    settings = {"epochs": 4, "batch_size": 16, "validation": blobs(30, seed=9), "engine": "auto"}
    whole = network()
    expected = train(whole, blobs(), **settings)
    score, calls = Network.score, 0

    def interrupted(self: Network, x: Any, y: Any) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:  # the training rows of the second epoch
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("Ctrl-C was put off")
        return score(self, x, y)

    with monkeypatch.context() as patch:
        patch.setattr(Network, "score", interrupted)
        first = train(network(), blobs(), checkpoint_path=tmp_path, **settings)
    assert first.interrupted
    assert (len(first.epochs), len(first.steps)) == (1, 12)
    resumed = network()
    history = train(resumed, blobs(), checkpoint_path=tmp_path, resume=True, **settings)
    assert resumed.flat.tobytes() == whole.flat.tobytes()
    assert history.epochs == expected.epochs
    assert history.steps == expected.steps


@pytest.mark.parametrize("engine", ["numpy", "llvm"])
def test_ctrl_c_while_code_is_made_ends_that_at_once(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("safetensors")
    if engine == "llvm":
        pytest.importorskip("llvmlite")
    monkeypatch.setenv("CHALKGRAD_CACHE", str(tmp_path / "cache"))

    def derived(what: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("deriving went on after Ctrl-C")

    monkeypatch.setattr(Objective, "derived", property(derived))
    monkeypatch.setattr("chalkgrad.train.steps.derived", lambda program, wrt: derived(program))
    net = Network((4, 11, 3), seed=5)
    before = net.flat.copy()
    history = fit(net, blobs(), engine=engine, checkpoint_path=tmp_path / "run")
    assert history.interrupted
    assert not history.steps
    np.testing.assert_array_equal(net.flat, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert has_checkpoint(tmp_path / "run")
    assert not list((tmp_path / "cache").glob("tmp*"))
