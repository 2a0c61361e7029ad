"""Everything that a stopped run needs to continue as if it had never stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import DataError
from chalkgrad.train.history import Epoch, History
from chalkgrad.train.objective import Array
from chalkgrad.train.optimisers import Optimiser
from chalkgrad.train.sampler import Sampler


@dataclass(slots=True)
class RunState:
    """The state of a run between two steps, the current parameters aside.

    Attributes:
        optimiser: With its memories and step count.
        sampler: Where the epoch stands.
        history: What happened so far.
        best_parameters: (P,) those of the best epoch; the initial ones before the first.
        settings: What a resumed run must have in common with this one.
        loss_sum: Σ of loss × rows over the steps of the running epoch.
        sound: Whether all parts belong together: not in the middle of a step, nor after one that
            gave a value that is not finite. Only a sound state is saved.
    """

    optimiser: Optimiser
    sampler: Sampler
    history: History
    best_parameters: Array
    settings: dict[str, Any]
    loss_sum: float = 0.0
    sound: bool = True

    @classmethod
    def fresh(
        cls,
        flat: Array,
        optimiser: Optimiser,
        rows: int,
        batch_size: int,
        seed: int,
        settings: dict[str, Any],
    ) -> RunState:
        """The state before the first step."""
        sampler = Sampler(rows, batch_size, seed)
        history = History(steps_per_epoch=sampler.batches)
        return cls(optimiser, sampler, history, flat.copy(), settings)

    def end_epoch(self, epoch: Epoch, flat: Array) -> None:
        """Record the epoch, keep its parameters if they are the best, draw the next order."""
        self.history.epochs.append(epoch)
        best = self.history.best
        if best is None or _rank(epoch) >= _rank(best):
            self.history.best_epoch = epoch.number
            np.copyto(self.best_parameters, flat)
        self.loss_sum = 0.0
        self.sampler.start_epoch()

    def arrays(self, flat: Array) -> dict[str, NDArray[Any]]:
        """The arrays for a checkpoint, given the current parameters."""
        arrays: dict[str, NDArray[Any]] = {
            "training.parameters": flat,
            "training.losses": np.array(self.history.steps, dtype=np.float64),
        }
        for name, memory in self.optimiser.memories.items():
            arrays[f"training.memory.{name}"] = memory
        return arrays

    def record(self) -> dict[str, Any]:
        """The JSON values for a checkpoint."""
        return {
            "settings": self.settings,
            "history": self.history.record(),
            "sampler": self.sampler.state(),
            "steps": self.optimiser.steps,
            "loss_sum": self.loss_sum,
        }

    def restore(self, arrays: dict[str, NDArray[Any]], record: dict[str, Any], order: Iterable[str]) -> Array:
        """Become the state of a checkpoint; returns the current parameters.

        Args:
            arrays, record: The checkpoint.
            order: The names of the parameters as they lie in the flat vector.

        Raises:
            DataError: When the checkpoint holds no training state, or one of other settings or data.
        """
        if "training" not in record:
            raise DataError("The checkpoint holds a model but not the state of its training.")
        saved = record["training"]
        for name, value in self.settings.items():
            if saved["settings"].get(name) != value:
                raise _other_run(name, saved["settings"].get(name), value)
        prefix = "training.memory."
        memories = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
        self.optimiser.load(memories, saved["steps"])
        self.sampler.restore(saved["sampler"])
        self.history = History.from_record(saved["history"], arrays["training.losses"].tolist())
        self.loss_sum = saved["loss_sum"]
        self.best_parameters = np.concatenate([arrays[name].ravel() for name in order])
        return arrays["training.parameters"]


def _rank(epoch: Epoch) -> tuple[float, float]:
    """What makes an epoch better; equal for all epochs without validation, so that the last is kept."""
    if epoch.validation_accuracy is None or epoch.validation_loss is None:
        return (0.0, 0.0)
    return (epoch.validation_accuracy, -epoch.validation_loss)


def _other_run(name: str, saved: object, given: object) -> DataError:
    if name == "data":
        return DataError(
            "The checkpoint was made with other training or validation rows.",
            hint="Resume with the same file, split and scaling, or train into a new folder.",
        )
    return DataError(
        f"The checkpoint was made with {name} = {saved}, and now it is {given}.",
        hint="Resume with the same settings (only epochs may grow), or train into a new folder.",
    )


def fingerprint(*arrays: NDArray[Any]) -> str:
    """A digest of arrays: their types, shapes and values."""
    digest = hashlib.sha256()
    for a in arrays:
        digest.update(f"{a.dtype}{a.shape}".encode())
        digest.update(np.ascontiguousarray(a).data)
    return digest.hexdigest()
