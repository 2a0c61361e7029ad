"""Training made visible: a live bar on a terminal, a line per tenth of the run elsewhere."""

from __future__ import annotations

import math
import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chalkgrad.train.callbacks import Callback, Plan
from chalkgrad.train.history import Epoch, History

REFRESH_SECONDS = 0.05
LINES = 10


def training_progress(stream: TextIO | None = None) -> Callback:
    """The callback that fits the stream, stderr by default."""
    stream = stream or sys.stderr
    return ProgressBar(stream) if stream.isatty() else ProgressLines(stream)


class ProgressBar(Callback):
    """A bar over all steps, with the latest epoch's loss and accuracy beside it."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(compact=True),
            # The console reads NO_COLOR and the terminal's width itself.
            console=Console(file=stream),
        )
        self._task = self._progress.add_task("", total=None, state="deriving the gradients")
        self._steps_per_epoch, self._shown = 1, -math.inf

    def on_fit_begin(self, plan: Plan) -> None:
        self._steps_per_epoch = plan.steps_per_epoch
        self._progress.update(self._task, total=plan.epochs, completed=plan.done // plan.steps_per_epoch)
        self._progress.start()

    def on_step(self, step: int, loss: float) -> None:
        now = time.monotonic()
        # A step may take 100 µs, and drawing one costs more than that.
        if now - self._shown >= REFRESH_SECONDS:
            self._shown = now
            self._progress.update(self._task, completed=step // self._steps_per_epoch)

    def on_epoch_end(self, epoch: Epoch) -> None:
        self._progress.update(self._task, completed=epoch.number, state=summary(epoch))

    def on_fit_end(self, history: History) -> None:
        self._progress.stop()


class ProgressLines(Callback):
    """Plain lines for files, pipes and logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._epochs = stream, 1

    def on_fit_begin(self, plan: Plan) -> None:
        self._epochs = plan.epochs

    def on_epoch_end(self, epoch: Epoch) -> None:
        every = max(self._epochs // LINES, 1)
        if epoch.number % every == 0 or epoch.number in (1, self._epochs):
            place = f"{epoch.number:>{len(str(self._epochs))}}/{self._epochs}"
            print(f"epoch {place}  {summary(epoch)}", file=self._stream, flush=True)


def summary(epoch: Epoch) -> str:
    """The epoch's numbers in one line."""
    held = epoch.validation_accuracy
    validation = f"  validation {held:6.2%}" if held is not None else ""
    return f"loss {epoch.loss:.4f}  train {epoch.train_accuracy:6.2%}{validation}"
