"""What happened during training: the loss of every step, one record per epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training rows.

    Attributes:
        number: Counted from 1.
        loss: Mean over the rows of the loss at the step that saw them, regulariser included.
        train_accuracy: Fraction of training rows right, with the parameters after the epoch.
        validation_accuracy: The same of the validation rows, None without any.
        validation_loss: The loss of the validation rows, None without any.
        learning_rate: The rate of this epoch's steps.
    """

    number: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    validation_loss: float | None
    learning_rate: float


@dataclass(slots=True)
class History:
    """The course of a training run.

    Attributes:
        steps: The loss of every step.
        epochs: One record per finished epoch.
        best_epoch: The epoch whose parameters the network has now; 0 before the first. It is the
            one with the best validation accuracy (the lower validation loss decides a tie), or
            the last one without validation rows.
        interrupted: Whether the user stopped the run.
        seconds: How long it took, resumed runs added up.
        steps_per_epoch: How many of `steps` make an epoch.
    """

    steps: list[float] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    steps_per_epoch: int = 0

    @property
    def best(self) -> Epoch | None:
        """The record of `best_epoch`."""
        return self.epochs[self.best_epoch - 1] if self.best_epoch else None

    def record(self) -> dict[str, Any]:
        """Everything but `steps` as plain JSON values."""
        return {
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "best_epoch": self.best_epoch,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
            "steps_per_epoch": self.steps_per_epoch,
        }

    @classmethod
    def from_record(cls, record: dict[str, Any], steps: list[float]) -> History:
        """The inverse of `record`, given the losses of the steps."""
        epochs = [Epoch(**epoch) for epoch in record["epochs"]]
        return cls(steps, **{**record, "epochs": epochs})
