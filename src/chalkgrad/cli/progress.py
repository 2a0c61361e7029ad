"""Training made visible: a live bar on a terminal, a line per tenth of the run elsewhere."""

from __future__ import annotations

import sys
from typing import TextIO

from chalkgrad.train.callbacks import Callback, Plan
from chalkgrad.train.history import Epoch
from chalkgrad.train.progress import ProgressBar, figures

LINES = 10


def training_progress() -> Callback:
    """The callback that fits stderr."""
    return ProgressBar() if sys.stderr.isatty() else ProgressLines(sys.stderr)


class ProgressLines(Callback):
    """Plain lines for files, pipes and logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._epochs = stream, 1

    def on_fit_begin(self, plan: Plan) -> None:
        """Learn how many epochs there will be."""
        self._epochs = plan.epochs

    def on_epoch_end(self, epoch: Epoch) -> None:
        """Print the first, the last, and every tenth part of the run."""
        every = max(self._epochs // LINES, 1)
        if epoch.number % every == 0 or epoch.number in (1, self._epochs):
            place = f"{epoch.number:>{len(str(self._epochs))}}/{self._epochs}"
            print(f"epoch {place}  {figures(epoch)}", file=self._stream, flush=True)
