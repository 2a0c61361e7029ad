"""How late Ctrl-C is heard: `python benchmarks/interrupting.py [--sizes C,D] [--threads 1] [--times 12]`.

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
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contenders import SIZES
from machine import machine_line

from chalkgrad.train.callbacks import Callback, Plan
from chalkgrad.train.data import Dataset
from chalkgrad.train.history import History
from chalkgrad.train.loop import fit
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
    options = parser.parse_args()
    print(machine_line())
    for size in options.sizes.split(","):
        seconds, late = measured(size, options.threads, options.times)
        print(
            f"{size} on {options.threads} thread(s): two epochs take {seconds:.1f} s; Ctrl-C is "
            f"{statistics.median(late):.0f} ms late in the middle, {min(late):.0f} to {max(late):.0f}"
        )


def measured(size: str, threads: int, times: int) -> tuple[float, list[float]]:
    """The seconds of two epochs, and by how many milliseconds each Ctrl-C was late."""
    layers, batch, _ = SIZES[size]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCHES * batch, layers[0]), np.float32)
    classes, names = tuple("abcdefghij"), tuple(f"x{n}" for n in range(layers[0]))
    data = Dataset(x, rng.integers(0, 10, len(x)), classes, names)

    def run(*watching: Callback, epochs: int = 2) -> float:
        fit(Network(layers), data, batch_size=batch, threads=threads, epochs=epochs, callbacks=watching)
        return time.perf_counter()

    lasting, late = Lasting(), []
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
            late.append(1e3 * (ended - press.pressed))
    return lasting.seconds, late


if __name__ == "__main__":
    main()
