"""A progress bar in the terminal while a network trains."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from chalkgrad.train.callbacks import Callback, Plan
from chalkgrad.train.extras import require
from chalkgrad.train.history import Epoch, History

REFRESH_SECONDS = 0.05
"""The bar is drawn at most this often, so that it costs a run of short steps next to nothing."""


class ProgressBar(Callback):
    """One line: the epoch, a bar of steps, the loss, accuracies, the time left.

    Args:
        console: A `rich.console.Console`; by default one that writes to stderr. Where that is
            not a terminal nothing is drawn.
    """

    def __init__(self, console: Any = None) -> None:
        self._console = console
        self._progress: Any = None
        self._task: Any = None
        self._drawn = 0.0
        self._plan: Plan | None = None

    def on_fit_begin(self, plan: Plan) -> None:
        """Draw the empty bar at once, before the gradient is derived."""
        bar = require("rich.progress", "The progress bar")
        console = self._console or require("rich.console", "The progress bar").Console(stderr=True)
        self._plan = plan
        self._progress = bar.Progress(
            bar.TextColumn("[bold]{task.description}"),
            bar.BarColumn(bar_width=24),
            bar.TaskProgressColumn(),
            bar.TextColumn("{task.fields[figures]}"),
            bar.TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            auto_refresh=False,
        )
        self._progress.start()
        total = plan.epochs * plan.steps_per_epoch
        self._task = self._progress.add_task("deriving", total=total, completed=plan.done, figures="")
        self._progress.refresh()

    def on_epoch_begin(self, number: int) -> None:
        """Show which epoch runs."""
        if self._plan is not None:
            self._progress.update(self._task, description=f"epoch {number}/{self._plan.epochs}")

    def on_steps(self, done: int, losses: Sequence[float]) -> None:
        """Move the bar, at most every `REFRESH_SECONDS`."""
        now = time.monotonic()
        if now - self._drawn >= REFRESH_SECONDS:
            self._drawn = now
            self._progress.update(self._task, completed=done, refresh=True)

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Show the epoch's figures."""
        done = epoch.number * self._plan.steps_per_epoch if self._plan is not None else 0
        self._progress.update(self._task, completed=done, figures=figures(epoch))

    def on_fit_end(self, history: History) -> None:
        """Leave the last state of the bar on the screen."""
        if self._progress is not None:
            self._progress.refresh()
            self._progress.stop()


def figures(epoch: Epoch) -> str:
    """`"loss 0.123 · train 98.1 % · validation 97.2 %"`."""
    parts = [f"loss {epoch.loss:.4f}", f"train {100 * epoch.train_accuracy:.1f} %"]
    if epoch.validation_accuracy is not None:
        parts.append(f"validation {100 * epoch.validation_accuracy:.1f} %")
    return " · ".join(parts)
