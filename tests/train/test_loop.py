"""The training loop: it learns, repeats itself bit for bit, resumes, stops with words."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chalkgrad.errors import DataError, TrainingError
from chalkgrad.train import loop
from chalkgrad.train.callbacks import Callback, Plan
from chalkgrad.train.checkpoint import has_checkpoint, load_checkpoint
from chalkgrad.train.data import Dataset, Standardiser
from chalkgrad.train.history import Epoch, History
from chalkgrad.train.loop import fit
from chalkgrad.train.model import Model
from chalkgrad.train.network import Network
from chalkgrad.train.optimisers import RULES, Optimiser
from chalkgrad.train.sampler import Sampler
from tests.train.small import blobs, network


class Watch(Callback):
    """Writes down everything; optionally does something at a step."""

    def __init__(self, at: int = -1, action: Any = None) -> None:
        self.seen: list[Any] = []
        self.at, self.action = at, action

    def on_fit_begin(self, plan: Plan) -> None:
        self.seen.append(plan)

    def on_epoch_begin(self, number: int) -> None:
        self.seen.append(f"epoch {number}")

    def on_step(self, step: int, loss: float) -> None:
        self.seen.append(step)
        if step == self.at:
            self.action()

    def on_epoch_end(self, epoch: Epoch) -> None:
        self.seen.append(epoch)

    def on_fit_end(self, history: History) -> None:
        self.seen.append("end")


def interrupt() -> None:
    raise KeyboardInterrupt


def train(net: Network, epochs: int = 4, **options: Any) -> History:
    settings = {"validation": blobs(30, seed=9), "batch_size": 16, "learning_rate": 0.01, "seed": 5}
    return fit(net, blobs(), epochs=epochs, **{**settings, **options})


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_learns(rule: str) -> None:
    net = network()
    history = train(net, 15, optimiser=rule, learning_rate={"sgd": 0.3}.get(rule, 0.03))
    assert history.epochs[-1].loss < 0.8 * history.epochs[0].loss
    assert history.best is not None
    assert history.best.validation_accuracy is not None
    assert history.best.validation_accuracy > 0.6


def test_equal_seeds_give_equal_bits() -> None:
    first, second, other = network(), network(), network()
    a, b, c = train(first), train(second), train(other, seed=6)
    assert first.flat.tobytes() == second.flat.tobytes()
    assert a.steps == b.steps
    assert a.epochs == b.epochs
    assert first.flat.tobytes() != other.flat.tobytes()
    assert a.steps != c.steps


def test_an_optimiser_can_be_used_again() -> None:
    rule = Optimiser("momentum", mu=0.8)
    first, second = network(), network()
    train(first, optimiser=rule)
    train(second, optimiser=rule)
    assert first.flat.tobytes() == second.flat.tobytes()


def test_one_full_batch_step_is_one_gradient_step() -> None:
    net, twin = network(dtype=np.float64), network(dtype=np.float64)
    data = blobs()
    history = fit(net, data, epochs=1, batch_size=90, learning_rate=0.1, optimiser="sgd")
    loss, gradient = twin.loss_and_gradient(*twin.check(data.x, data.y))
    np.testing.assert_allclose(net.flat, twin.flat - 0.1 * gradient, rtol=1e-12, atol=1e-15)
    assert history.steps == pytest.approx([loss], rel=1e-12)


def test_the_epoch_loss_weighs_every_row_alike() -> None:
    # A rate that changes nothing: the epoch's loss must be the loss of all rows, 90 = 5 * 16 + 10.
    net = network(dtype=np.float64)
    data = blobs()
    whole = net.loss(*net.check(data.x, data.y))
    history = fit(net, data, epochs=1, batch_size=16, learning_rate=1e-300, optimiser="sgd")
    assert history.steps_per_epoch == len(history.steps) == 6
    assert history.epochs[0].loss == pytest.approx(whole, rel=1e-12)
    assert abs(np.mean(history.steps) - whole) > 1e-6


def test_sampling_visits_every_row_once_per_epoch_in_new_orders() -> None:
    sampler = Sampler(rows=10, batch_size=4, seed=1)
    epochs = []
    for _ in range(2):
        batches = [sampler.next_batch() for _ in range(sampler.batches)]
        assert sampler.epoch_done
        assert [len(b) for b in batches] == [4, 4, 2]
        epochs.append(np.concatenate(batches))
        sampler.start_epoch()
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))
    assert (epochs[0] != epochs[1]).any()


def test_callbacks_are_told_in_order() -> None:
    watch = Watch()
    history = train(network(), 2, callbacks=[watch])
    first, *rest = watch.seen
    assert first == Plan(epochs=2, steps_per_epoch=6, done=0)
    expected = [
        "epoch 1",
        *range(1, 7),
        history.epochs[0],
        "epoch 2",
        *range(7, 13),
        history.epochs[1],
        "end",
    ]
    assert rest == expected


def test_the_learning_rate_decays() -> None:
    history = train(network(), 3, learning_rate=0.04, lr_decay=0.5)
    assert [e.learning_rate for e in history.epochs] == [0.04, 0.02, 0.01]


def test_the_best_epoch_is_kept() -> None:
    net, snapshots = network(), []

    class Keep(Callback):
        def on_epoch_end(self, epoch: Epoch) -> None:
            snapshots.append(net.flat.copy())

    history = train(net, 12, learning_rate=0.1, callbacks=[Keep()])
    ranks = [(e.validation_accuracy, -(e.validation_loss or 0)) for e in history.epochs]
    assert history.best_epoch == 1 + max(range(12), key=lambda n: ranks[n])
    assert history.best_epoch < 12, "the test needs a run whose last epoch is not the best"
    np.testing.assert_array_equal(net.flat, snapshots[history.best_epoch - 1])


def test_without_validation_the_last_epoch_is_kept() -> None:
    history = train(network(), 3, validation=None)
    assert history.best_epoch == 3
    assert history.epochs[0].validation_accuracy is None
    assert history.epochs[0].validation_loss is None


def test_what_cannot_be_told_or_judged_is_refused_before_the_first_step() -> None:
    with pytest.raises(DataError, match=r"print.* is no callback"):
        train(network(), 1, callbacks=[print])
    with pytest.raises(DataError, match="validation data have no rows"):
        train(network(), 1, validation=blobs().rows(np.arange(0)))


# --- divergence --------------------------------------------------------------------------------------


def test_divergence_is_one_clear_error_and_keeps_the_good_parameters(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    net = network(l2=10.0)
    start = net.flat.copy()
    with pytest.raises(TrainingError) as caught:
        train(net, 30, learning_rate=1e6, optimiser="sgd", checkpoint_path=tmp_path)
    message = str(caught.value)
    assert "Training diverged in epoch 1" in message
    assert "smaller learning rate, such as 100000" in message
    assert "standardise" in message
    np.testing.assert_array_equal(net.flat, start)
    assert not has_checkpoint(tmp_path)


# --- checkpoints -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("stop", [3, 6, 9], ids=["in the first epoch", "at its end", "in the second"])
def test_a_run_resumes_bit_for_bit(tmp_path: Path, rule: str, stop: int) -> None:
    pytest.importorskip("safetensors")
    whole = network()
    expected = train(whole, optimiser=rule, lr_decay=0.9)
    first = train(
        network(), optimiser=rule, lr_decay=0.9, checkpoint_path=tmp_path, callbacks=[Watch(stop, interrupt)]
    )
    assert first.interrupted
    assert len(first.steps) == stop
    resumed = network()
    history = train(resumed, optimiser=rule, lr_decay=0.9, checkpoint_path=tmp_path, resume=True)
    assert resumed.flat.tobytes() == whole.flat.tobytes()
    assert history.steps == expected.steps
    assert history.epochs == expected.epochs
    assert history.best_epoch == expected.best_epoch
    assert not history.interrupted


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    whole, short, longer = network(), network(), network()
    train(whole, 6)
    train(short, 3, checkpoint_path=tmp_path)
    watch = Watch()
    train(longer, 6, checkpoint_path=tmp_path, resume=True, callbacks=[watch])
    assert longer.flat.tobytes() == whole.flat.tobytes()
    assert watch.seen[0] == Plan(epochs=6, steps_per_epoch=6, done=18)


def test_ctrl_c_stops_after_the_step_and_saves(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    watch = Watch(8, lambda: os.kill(os.getpid(), signal.SIGINT))
    history = train(network(), checkpoint_path=tmp_path, callbacks=[watch])
    assert history.interrupted
    assert len(history.steps) == 8
    assert len(history.epochs) == 1
    assert watch.seen[-1] == "end"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    _, record = load_checkpoint(tmp_path)
    assert record["training"]["sampler"]["position"] == 32


def test_a_step_that_breaks_off_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    original, count = Optimiser.step, 0

    def step(self: Optimiser, *args: Any) -> Any:
        nonlocal count
        count += 1
        after = original(self, *args)
        if count == 9:  # memories are new, parameters still old
            raise KeyboardInterrupt
        return after

    monkeypatch.setattr(Optimiser, "step", step)
    history = train(network(), checkpoint_path=tmp_path, checkpoint_seconds=0, engine="plain")
    assert history.interrupted
    _, record = load_checkpoint(tmp_path)
    assert record["training"]["steps"] == 6, "the checkpoint of the first epoch must stay"


def test_checkpoints_hold_the_best_parameters_as_the_model(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    data, held = blobs(), blobs(30, seed=9)
    scaling = Standardiser.fit(data.x)
    net = network()
    fit(net, data.standardised(scaling), validation=held.standardised(scaling), epochs=5, learning_rate=0.1,
        checkpoint_path=tmp_path)  # fmt: skip
    model = Model.load(tmp_path)
    assert model.network.flat.tobytes() == net.flat.tobytes()
    assert (model.classes, model.features) == (data.classes, data.features)
    np.testing.assert_array_equal(model.predict_proba(held.x), net.predict_proba(scaling.apply(held.x)))
    assert model.predict(held.x) == [data.classes[k] for k in model.predict_proba(held.x).argmax(axis=1)]
    assert model.score(held) == net.score(scaling.apply(held.x), held.y)


def test_a_model_refuses_other_data() -> None:
    data = blobs()
    model = Model.of(network(), data)
    other = Dataset(data.x, data.y, data.classes, ("p", "q", "r", "t"))
    with pytest.raises(DataError, match="features of data are not those"):
        model.score(other)
    with pytest.raises(DataError, match="standardised already"):
        model.score(data.standardised(Standardiser.fit(data.x)))
    with pytest.raises(DataError, match="2 outputs, and blobs has 3 classes"):
        Model.of(Network((4, 2)), data)


def test_resuming_another_run_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    train(network(), 1, checkpoint_path=tmp_path)
    for options, says in (
        ({"batch_size": 8}, "batch_size = 16, and now it is 8"),
        ({"optimiser": "sgd"}, "optimiser"),
        ({"seed": 1}, "seed"),
        ({"validation": None}, "other training or validation rows"),
    ):
        with pytest.raises(DataError, match=says):
            train(network(), 2, checkpoint_path=tmp_path, resume=True, **options)
    with pytest.raises(DataError, match="network"):
        train(network(l2=0.5), 2, checkpoint_path=tmp_path, resume=True)


def test_resuming_needs_a_checkpoint_with_its_state(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    with pytest.raises(DataError, match="checkpoint_path is not given"):
        train(network(), resume=True)
    with pytest.raises(DataError, match="holds none"):
        train(network(), checkpoint_path=tmp_path, resume=True)
    Model.of(network(), blobs()).save(tmp_path)
    with pytest.raises(DataError, match="not the state of its training"):
        train(network(), checkpoint_path=tmp_path, resume=True)


def test_an_unwritable_folder_stops_before_anything_is_computed(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "file").write_text("in the way")
    watch = Watch()
    with pytest.raises(DataError, match="cannot be written"):
        train(network(), checkpoint_path=tmp_path / "file" / "model", callbacks=[watch])
    assert watch.seen == []


def test_missing_safetensors_stops_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    watch = Watch()
    with pytest.raises(ImportError, match="safetensors"):
        train(network(), checkpoint_path=tmp_path, callbacks=[watch])
    assert watch.seen == []


# --- settings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"learning_rate": 0}, "learning rate is 0"),
        ({"learning_rate": float("inf")}, "learning rate is inf"),
        ({"lr_decay": 1.5}, "lr_decay is 1.5"),
        ({"optimiser": "adm"}, "Did you mean 'adam'"),
        ({"validation": blobs().standardised(Standardiser.fit(blobs().x))}, "not scaled in the same way"),
    ],
)
def test_unusable_settings_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        train(network(), **options)


@pytest.mark.parametrize(("seconds", "steps"), [(0.2, 1), (0.06, 1), (0.01, 5), (0.0001, 500)])
def test_a_call_of_the_engine_never_takes_long(seconds: float, steps: int, monkeypatch: Any) -> None:
    """By a clock of our own: after the first calls, as many steps as fit, and never fewer than one."""
    clock, calls = [0.0], []

    class Slow:
        def run(self, order: Any, losses: Any, rate: float) -> int:
            clock[0] += seconds * len(order)
            calls.append((len(order), seconds * len(order)))
            losses[:] = 1.0
            return len(order)

        def sync(self) -> None:
            """Nothing moves."""

    monkeypatch.setattr(loop, "make_engine", lambda *_: Slow())
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    loop.fit(network(), blobs(3000), epochs=1, batch_size=1)
    assert sum(n for n, _ in calls) == 3000
    assert max(n for n, _ in calls) <= steps
    assert max(spent for _, spent in calls) <= 0.2


def test_threads_that_others_took_are_not_taken_again(monkeypatch: Any) -> None:
    control = pytest.importorskip("threadpoolctl")
    asked: list[int] = []
    make = loop.make_engine

    def watched(*arguments: Any) -> Any:
        asked.append(arguments[5])
        return make(*arguments)

    monkeypatch.setattr(loop, "make_engine", watched)
    monkeypatch.setattr(loop, "threads_for", lambda *_: 2)
    with control.threadpool_limits(1, user_api="blas"):
        loop.fit(network(), blobs(), epochs=1)
        loop.fit(network(), blobs(), epochs=1, threads=2)
    assert asked == [1, 2]
