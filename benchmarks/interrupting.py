"""How late Ctrl-C is heard: `python benchmarks/interrupting.py [--sizes C,D] [--threads 1] [--times 12]`.

    --checkpoint    with a folder for checkpoints: how late the steps end, and how long saving then takes

A network of each size is trained on eight batches of random rows, and Ctrl-C is pressed at a moment drawn at
random within its first two epochs, steps and looks at the epoch alike. A figure is the time from that to when
`fit` has returned with the parameters in the network.
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
            seconds, late, saving = measured(size, options.threads, options.times, place)
        print(
            f"{size} on {options.threads} thread(s): two epochs take {seconds:.1f} s; Ctrl-C is "
            f"{_range(late)} ms late" + (f"; saving takes {_range(saving)} ms" if saving else "")
        )


def _range(times: list[float]) -> str:
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


class Saving:
    """When the last checkpoint was begun."""

    def __init__(self) -> None:
        self.began, self._save = 0.0, loop.save_checkpoint

    def __call__(self, *given: Any) -> Path:
        self.began = time.perf_counter()
        return self._save(*given)


def measured(
    size: str, threads: int, times: int, folder: str | None = None
) -> tuple[float, list[float], list[float]]:
    """The seconds of two epochs, and the milliseconds that each Ctrl-C was late and saving took after it."""
    layers, batch, _ = SIZES[size]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCHES * batch, layers[0]), np.float32)
    classes, names = tuple("abcdefghij"), tuple(f"x{n}" for n in range(layers[0]))
    data = Dataset(x, rng.integers(0, 10, len(x)), classes, names)

    def run(*watching: Callback, epochs: int = 2) -> float:
        loop.fit(
            Network(layers), data, batch_size=batch, threads=threads, epochs=epochs, callbacks=watching,
            checkpoint_path=folder,
        )  # fmt: skip
        return time.perf_counter()

    loop.save_checkpoint = saving = Saving()  # type: ignore[assignment]
    lasting, late, writing = Lasting(), list[float](), list[float]()
    run(epochs=1)  # the machine code is made here
    run(lasting)
    while len(late) < times:
        press = Press(float(rng.uniform(0.1, 0.9)) * lasting.seconds)
        try:
            ended = run(press)
        except KeyboardInterrupt:
            continue  # pressed when the run was over
        finally:
            press.timer.cancel()
        if press.pressed:
            stopped = ended if folder is None else saving.began
            late.append(1e3 * (stopped - press.pressed))
            writing.append(1e3 * (ended - stopped))
    return lasting.seconds, late, writing if folder is not None else []


if __name__ == "__main__":
    main()
