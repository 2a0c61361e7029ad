"""What can watch a training run. A callback overrides the moments it wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalkgrad.train.history import Epoch, History


@dataclass(frozen=True, slots=True)
class Plan:
    """What is about to run: `epochs` in all of `steps_per_epoch` steps, of which `done` are behind us."""

    epochs: int
    steps_per_epoch: int
    done: int


class Callback:
    """Every moment of a run, doing nothing. Between calls the network and its state are consistent."""

    def on_fit_begin(self, plan: Plan) -> None:
        """Before the first step, and before anything is derived."""

    def on_epoch_begin(self, number: int) -> None:
        """Before the first step of epoch `number`, counted from 1."""

    def on_step(self, step: int, loss: float) -> None:
        """After step `step`, counted from 1 over the whole run.

        A callback that has this method is told of every step before the next one is taken, which costs
        short steps their speed; `on_steps` does not.
        """

    def on_steps(self, done: int, losses: Sequence[float]) -> None:
        """After some steps, at least five times a second: the number so far, and the latest losses."""

    def on_epoch_end(self, epoch: Epoch) -> None:
        """After the epoch was evaluated."""

    def on_fit_end(self, history: History) -> None:
        """When the run is over: finished, interrupted, or failed."""
