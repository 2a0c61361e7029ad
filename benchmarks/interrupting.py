"""How late Ctrl-C is heard: `python benchmarks/interrupting.py [--sizes C,D] [--threads 1] [--times 12]`.

    --checkpoint    with a folder for checkpoints

A network of each size is trained on eight batches of random rows, and Ctrl-C is pressed at a moment drawn at
random within its first two epochs, steps and looks at the epoch alike. Told are the time from that to when no
step is taken any more, and with checkpoints the time to when `fit` has returned, the run on the disk. One
that comes while a checkpoint is written waits for it, and counts in the second time alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contenders import SIZES
from machine import machine_line

from chalkgrad.train import loop
from chalkgrad.train.callbacks import Callback, Plan
from chalkgrad.train.data import Dataset
from chalkgrad.train.history import History
from chalkgrad.train.network import Network

BATCHES = 8


class Press(Callback):
    """Presses Ctrl-C some seconds after the first epoch begins; when it did, and when the run ended."""

    def __init__(self, after: float) -> None:
        self.after, self.pressed = after, 0.0
        self.timer = threading.Timer(after, self._press)

    def _press(self) -> None:
        self.pressed = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    def on_epoch_begin(self, number: int) -> None:
        if number == 1:
            self.timer.start()


class Lasting(Callback):
    """How long two epochs take."""

    def on_fit_begin(self, plan: Plan) -> None:
        self.began = time.perf_counter()

    def on_fit_end(self, history: History) -> None:
        self.seconds = time.perf_counter() - self.began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="C,D")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--checkpoint", action="store_true")
    options = parser.parse_args()
    print(machine_line())
    for size in options.sizes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            place = folder if options.checkpoint else None
            seconds, found = measured(size, options.threads, options.times, place)
        between = [one for one in found if not one.saving]
        text = f"the steps end {_range([one.steps for one in between])} ms late"
        if options.checkpoint:
            text += f" and the checkpoint is written after {_range([one.whole for one in found])} ms"
            text += f" ({len(found) - len(between)} came while one was being written)"
        print(f"{size} on {options.threads} thread(s): two epochs take {seconds:.1f} s; {text}", flush=True)


def _range(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


@dataclass(frozen=True)
class Late:
    """Milliseconds from a Ctrl-C until no step is taken any more, and until `fit` has returned."""

    steps: float
    whole: float
    saving: bool
    """Whether it came while a checkpoint was being written."""


class Watched:
    """When the last run of `fit` had ended its steps, and between which times it wrote checkpoints."""

    def __init__(self) -> None:
        self.ended, self.saves = 0.0, list[tuple[float, float]]()
        finish, save = loop._Run._finish, loop._Saver.save

        def finishing(*given: Any) -> None:
            self.ended = time.perf_counter()
            finish(*given)

        def saving(*given: Any) -> None:
            began = time.perf_counter()
            save(*given)
            self.saves.append((began, time.perf_counter()))

        loop._Run._finish, loop._Saver.save = finishing, saving  # type: ignore[assignment,method-assign]

    def saved_at(self, moment: float) -> bool:
        return any(began <= moment <= ended for began, ended in self.saves)


def measured(size: str, threads: int, times: int, folder: str | None = None) -> tuple[float, list[Late]]:
    """The seconds of two epochs, and how late each Ctrl-C was heard."""
    layers, batch, _ = SIZES[size]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCHES * batch, layers[0]), np.float32)
    classes, names = tuple("abcdefghij"), tuple(f"x{n}" for n in range(layers[0]))
    data = Dataset(x, rng.integers(0, 10, len(x)), classes, names)

    def run(*watching: Callback, epochs: int = 2) -> History:
        return loop.fit(
            Network(layers), data, batch_size=batch, threads=threads, epochs=epochs, callbacks=watching,
            checkpoint_path=folder,
        )  # fmt: skip

    watched, lasting, found = Watched(), Lasting(), list[Late]()
    run(epochs=1)  # the machine code is made here
    run(lasting)
    while len(found) < times:
        press = Press(float(rng.uniform(0.1, 0.9)) * lasting.seconds)
        try:
            interrupted = run(press).interrupted
        except KeyboardInterrupt:
            continue  # pressed when the run was over
        finally:
            press.timer.cancel()
        if interrupted and press.pressed <= watched.ended:
            times_late = (1e3 * (moment - press.pressed) for moment in (watched.ended, time.perf_counter()))
            found.append(Late(*times_late, watched.saved_at(press.pressed)))
    return lasting.seconds, found


if __name__ == "__main__":
    main()
