"""The training loop: minibatches, steps, evaluation, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import DataError, TrainingError
from chalkgrad.train.atomic import prepare_folder
from chalkgrad.train.callbacks import Callback, Plan
from chalkgrad.train.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint, save_record
from chalkgrad.train.data import Dataset, check_alike
from chalkgrad.train.engines import Engine, make_engine
from chalkgrad.train.extras import require
from chalkgrad.train.history import Epoch, History
from chalkgrad.train.interrupt import DeferredInterrupt, promptly
from chalkgrad.train.model import Model
from chalkgrad.train.network import Network
from chalkgrad.train.optimisers import Optimiser, chosen_optimiser
from chalkgrad.train.run_state import RunState, fingerprint
from chalkgrad.train.settings import is_number, optional_precision, optional_threads, positive, whole
from chalkgrad.train.threads import limited, threads_for

CALL_SECONDS = 0.05
"""How long one call of the engine runs, about: nobody waits longer for progress or Ctrl-C than a few times
this."""

REST = 20
"""So many times as long as a checkpoint took to write, no other is written of its own accord."""


def fit(
    network: Network,
    data: Dataset,
    *,
    validation: Dataset | None = None,
    optimiser: str | Optimiser = "adam",
    epochs: int = 40,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    lr_decay: float = 1.0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    checkpoint_path: str | PathLike[str] | None = None,
    checkpoint_seconds: float = 1.0,
    resume: bool = False,
    engine: str = "auto",
    threads: int | None = None,
    device: str = "cpu",
    matmul_precision: str | None = None,
) -> History:
    """Train the network in place; it ends with the parameters of the best epoch.

    Args:
        network: Changed in place.
        data: The training rows.
        validation: Rows that choose the best epoch; without them the last epoch is kept.
        optimiser: The name of an update rule, or an `Optimiser` of your own.
        epochs: Passes over the rows, in all: a resumed run does what is missing.
        batch_size: Rows per step; the last batch of an epoch may be smaller.
        learning_rate: The step size of the first epoch.
        lr_decay: What the step size is multiplied by after each epoch.
        clip_norm: The gradient of all parameters together is scaled so that its norm is at most this, as
            `torch.nn.utils.clip_grad_norm_` does; None clips nothing.
        clip_value: Every entry of the gradient is bounded by ± this, before its norm is looked at.
        seed: Decides the order of the rows. Equal seeds give equal bits.
        callbacks: Told of every step and epoch.
        checkpoint_path: A folder in which the run is saved: after an epoch when the last save is
            `checkpoint_seconds` old (and 20 times as old as it took), at Ctrl-C, and at the end.
        resume: Continue from the checkpoint in that folder, bit for bit as if never stopped (by the
            same engine, with as many threads).
        engine: What takes the steps: "plain" (readable code), "numpy" (code that writes into memory
            made once), "llvm" (machine code, the extra `fast`), "torch" (emitted PyTorch code), or "auto",
            the fastest that there is for the device.
        threads: Of the matrix products; None chooses by size, and takes one in a worker of a pool.
        device: "cpu", or "cuda" for an NVIDIA GPU ("cuda:1" for the second one).
        matmul_precision: "bfloat16" rounds what matrix products multiply to eight binary digits, and adds
            in float32, in half the time of a large step; parameters and everything else stay as they are. It
            needs machine code and a processor with AVX-512 BF16. None multiplies in the network's own type.

    Returns:
        The history. After Ctrl-C it has `interrupted` set, and the run is saved where it stood.

    Raises:
        DataError: For settings, labels or features that cannot be used, an output folder that
            cannot be written (before anything is computed), a device that is not there, or a
            checkpoint of another run.
        TrainingError: When the loss is not finite any more.
    """
    # A run starts from empty memories, whatever the optimiser was used for before.
    rule = chosen_optimiser(optimiser, clip_norm, clip_value)
    if device != "cpu":  # before anything is read or written
        require("chalkgrad.train.torch_engine", f'device="{device}"').checked_device(device)
    epochs, batch_size = whole("epochs", epochs, 1, 40), whole("The batch size", batch_size, 1, 32)
    learning_rate, seed = positive("The learning rate", learning_rate, 1e-3), whole("The seed", seed, 0, 0)
    if not (is_number(lr_decay) and 0 < lr_decay <= 1):
        raise DataError(f"lr_decay is {lr_decay!r}; it must be in (0, 1].", hint="Try 0.95, or 1 for none.")
    lr_decay = float(lr_decay)
    threads, precision = optional_threads(threads), optional_precision(matmul_precision)
    run = _Run(network, data, validation, rule, epochs, batch_size, learning_rate, lr_decay, seed, callbacks)
    run.engine_name, run.threads, run.device = engine, threads, device
    run.state.settings["matmul_precision"] = run.matmul_precision = precision
    run.saver = _Saver(checkpoint_path, checkpoint_seconds) if checkpoint_path is not None else None
    rule.read = run.saver is not None
    if resume:
        run.resume()
    return run.go()


class _Saver:
    """Where and how often checkpoints are written. Arrays that lie there already are not written again."""

    def __init__(self, folder: str | PathLike[str], seconds: float) -> None:
        require("safetensors.numpy", "Writing checkpoints")
        self.folder, self.seconds, self.last = Path(folder), seconds, -math.inf
        self._taken = 0.0
        self._place: tuple[int, int] | None = None
        prepare_folder(self.folder)

    @property
    def due(self) -> bool:
        return time.monotonic() - self.last >= max(self.seconds, REST * self._taken)

    def save(self, model: Model, state: RunState) -> None:
        """The best parameters as the model, the run's own state beside it."""
        began, place = time.monotonic(), (len(state.history.steps), len(state.history.epochs))
        record = {**model.record(), "training": state.record()}
        if place == self._place:
            with suppress(DataError):  # somebody took the folder away
                save_record(self.folder, record)
                return
        arrays = {**model.arrays(state.best_parameters), **state.arrays(model.network.flat)}
        save_checkpoint(self.folder, arrays, record)
        self.last, self._place = time.monotonic(), place
        self._taken = self.last - began


class _Run:
    """One call of `fit`."""

    def __init__(
        self,
        network: Network,
        data: Dataset,
        validation: Dataset | None,
        rule: Optimiser,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        lr_decay: float,
        seed: int,
        callbacks: Sequence[Callback],
    ) -> None:
        self.network, self.epochs, self.callbacks = network, epochs, callbacks
        self.learning_rate, self.lr_decay = learning_rate, lr_decay
        self.model = Model.of(network, data)
        self.x, self.y = network.check(data.x, data.y)
        self.held_out = None
        if validation is not None:
            check_alike(data, validation)
            if not len(validation):
                raise DataError("The validation data have no rows.", hint="Leave validation out.")
            self.held_out = network.check(validation.x, validation.y)
        settings = {
            "network": network.settings(),
            "optimiser": rule.settings(),
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "lr_decay": lr_decay,
            "seed": seed,
            "data": fingerprint(self.x, self.y, *(self.held_out or ())),
        }
        self.state = RunState.fresh(network.flat, rule, len(self.y), batch_size, seed, settings)
        self.batch_size = min(batch_size, len(self.y))
        self.saver: _Saver | None = None
        self.engine_name, self.device = "auto", "cpu"
        self.matmul_precision: str | None = None
        self.threads: int | None = None
        self.engine: Engine | None = None
        for callback in callbacks:
            if not hasattr(type(callback), "on_step"):
                raise DataError(
                    f"{callback!r} is no callback.",
                    hint="Derive a class from chalkgrad.train.callbacks.Callback.",
                )
        # Whoever wants to hear of each step gets steps one by one.
        self._singly = any(type(c).on_step is not Callback.on_step for c in callbacks)
        self._count = 1

    def resume(self) -> None:
        """Take the state of the checkpoint in place of the fresh one."""
        if self.saver is None or not has_checkpoint(self.saver.folder):
            where = (
                "checkpoint_path is not given" if self.saver is None else f"{self.saver.folder} holds none"
            )
            raise DataError(f"There is no checkpoint to resume from: {where}.", hint="Train without resume.")
        arrays, record = load_checkpoint(self.saver.folder)
        self.network.flat[:] = self.state.restore(arrays, record, self.network.params)

    def go(self) -> History:
        """All epochs that are missing, however the run ends."""
        history, began = self.state.history, time.monotonic()
        before = history.seconds
        history.interrupted = False
        sampler = self.state.sampler
        self._tell("on_fit_begin", Plan(self.epochs, sampler.batches, len(history.steps)))
        try:
            threads = self.threads or threads_for(self.network.flat.size, self.batch_size)
            with DeferredInterrupt(kept=self.saver is not None) as interrupt, limited(threads) as allowed:
                # What a pool, a launcher or the user left to the BLAS is all that there is for us.
                threads = self.threads or min(threads, allowed or threads)
                self.engine = make_engine(
                    self.engine_name,
                    self.network,
                    self.state.optimiser,
                    {"x": self.x, "y": self.y},
                    self.batch_size,
                    threads,
                    self.device,
                    self.matmul_precision,
                )
                self._epochs(interrupt)
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            history.seconds = before + time.monotonic() - began
            self._finish(history)
        return history

    def _finish(self, history: History) -> None:
        """Save where the run stands, if that is worth it, and leave the best parameters behind."""
        try:
            if self.saver is not None and self.state.sound:
                if self.engine is not None:
                    self.engine.sync()
                self.saver.save(self.model, self.state)
        finally:
            self.network.flat[:] = self.state.best_parameters
            self._tell("on_fit_end", history)

    def _epochs(self, interrupt: DeferredInterrupt) -> None:
        history, sampler = self.state.history, self.state.sampler
        while len(history.epochs) < self.epochs:
            if sampler.position == 0:
                self._tell("on_epoch_begin", len(history.epochs) + 1)
            self._steps(interrupt)
            if sampler.epoch_done:
                self._end_epoch()
            if interrupt.requested:
                raise KeyboardInterrupt

    def _rate(self) -> float:
        return self.learning_rate * self.lr_decay ** len(self.state.history.epochs)

    def _steps(self, interrupt: DeferredInterrupt) -> None:
        """The steps that the epoch still lacks, many at a call."""
        state, rate, engine = self.state, self._rate(), self.engine
        assert engine is not None
        # A diverging run overflows on its way to infinity; the losses are tested instead of warning.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            while not state.sampler.epoch_done and not interrupt.requested:
                state.sound = False
                order = state.sampler.next_batches(1 if self._singly else self._count)
                losses = np.empty(len(order), np.float64)
                began = time.perf_counter()
                taken = engine.run(order, losses, rate)
                state.sampler.put_back(order[taken:])
                losses = losses[:taken]
                self._pace(len(order), time.perf_counter() - began)
                self._record(losses, order.shape[1])
                state.sound = True
                if not taken:
                    break
                done = len(state.history.steps)
                if self._singly:
                    engine.sync()
                    self._tell("on_step", done, float(losses[0]))
                self._tell("on_steps", done, losses)

    def _pace(self, steps: int, seconds: float) -> None:
        """How many steps the next call takes, so that callbacks and Ctrl-C wait for `CALL_SECONDS`."""
        wanted = steps * CALL_SECONDS / max(seconds, 1e-9)
        self._count = max(1, min(int(wanted), 4 * self._count))

    def _record(self, losses: NDArray[np.float64], rows: int) -> None:
        """Keep the losses of the steps just taken."""
        history = self.state.history
        wrong = np.flatnonzero(~np.isfinite(losses))
        if len(wrong):
            history.steps.extend(losses[: wrong[0]].tolist())
            raise self._divergence(f"the loss of step {len(history.steps) + 1} is {losses[wrong[0]]}")
        for loss in losses.tolist():
            self.state.loss_sum += loss * rows
            history.steps.append(loss)

    def _end_epoch(self) -> None:
        state, network = self.state, self.network
        state.sound = False
        assert self.engine is not None
        self.engine.sync()
        if not np.isfinite(network.flat).all():
            raise self._divergence("a parameter is no longer finite")
        # Looking at the network changes nothing: Ctrl-C ends it, and a resumed run looks again.
        state.sound = True
        with promptly(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            train = network.score(self.x, self.y)
            held = self.held_out
            accuracy = network.score(*held) if held is not None else None
            loss = network.loss(*held) if held is not None else None
        if loss is not None and not math.isfinite(loss):
            state.sound = False
            raise self._divergence(f"the validation loss is {loss}")
        mean = state.loss_sum / len(self.y)
        epoch = Epoch(len(state.history.epochs) + 1, mean, train, accuracy, loss, self._rate())
        state.sound = False
        state.end_epoch(epoch, network.flat)
        state.sound = True
        if self.saver is not None and self.saver.due:
            self.saver.save(self.model, state)
        self._tell("on_epoch_end", epoch)

    def _divergence(self, what: str) -> TrainingError:
        history = self.state.history
        kept = f"those of epoch {history.best_epoch}" if history.best_epoch else "those before training"
        scaled = "" if self.model.standardiser is not None else ", or standardise the features"
        return TrainingError(
            f"Training diverged in epoch {len(history.epochs) + 1}: {what}. "
            f"The network's parameters are now {kept}.",
            hint=f"Try a smaller learning rate, such as {self.learning_rate / 10:g}{scaled}.",
        )

    def _tell(self, moment: str, *about: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(*about)
