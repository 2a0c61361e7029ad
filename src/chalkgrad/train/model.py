"""A trained network with everything that prediction needs: how to scale the features, what the
classes are called."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import DataError
from chalkgrad.train.checkpoint import load_checkpoint, save_checkpoint
from chalkgrad.train.data import Dataset, Standardiser
from chalkgrad.train.network import Network, parameter_shapes
from chalkgrad.train.objective import Array


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network, the scaling of its features, and the names of features, classes and target column.

    Example:
        model = Model.of(network, data)
        model.save("model/")
        Model.load("model/").predict(x)
    """

    network: Network
    classes: tuple[str, ...]
    features: tuple[str, ...]
    standardiser: Standardiser | None = None
    target: str = ""

    @classmethod
    def of(cls, network: Network, data: Dataset) -> Model:
        """The model of a network that is trained on these (perhaps standardised) data.

        Raises:
            DataError: When the network has not one output per class.
        """
        if network.sizes[-1] != len(data.classes):
            outputs, classes = network.sizes[-1], len(data.classes)
            raise DataError(
                f"The network has {outputs} outputs, and {data.name} has {classes} classes.",
                hint=f"Make the last size {classes}.",
            )
        return cls(network, data.classes, data.features, data.standardiser, data.target)

    def predict_proba(self, x: NDArray[Any]) -> Array:
        """(N, K) the probability of every class, for raw features (N, D)."""
        x = np.asarray(x, np.float64)
        return self.network.predict_proba(x if self.standardiser is None else self.standardiser.apply(x))

    def predict(self, x: NDArray[Any]) -> list[str]:
        """The name of the most probable class of every row."""
        return [self.classes[k] for k in self.predict_proba(x).argmax(axis=1)]

    def score(self, data: Dataset) -> float:
        """The fraction of rows of raw data that are classified right.

        Raises:
            DataError: When the data's features or classes are not the model's.
        """
        for kind, own, other in (
            ("features", self.features, data.features),
            ("classes", self.classes, data.classes),
        ):
            if own != other:
                raise DataError(f"The {kind} of {data.name} are not those that the model was trained on.")
        if data.standardiser is not None:
            raise DataError("The data are standardised already; the model does that itself.")
        return float((self.predict_proba(data.x).argmax(axis=1) == data.y).mean())

    def arrays(self, parameters: Array | None = None) -> dict[str, NDArray[Any]]:
        """Everything that a checkpoint keeps as arrays: views, which change when the network does.

        Args:
            parameters: (P,) taken for those of the network.
        """
        network = self.network
        arrays: dict[str, NDArray[Any]] = {
            **(network.params if parameters is None else network.views(parameters))
        }
        if self.standardiser is not None:
            arrays["standardiser.mean"] = self.standardiser.mean
            arrays["standardiser.scale"] = self.standardiser.scale
        return arrays

    def record(self) -> dict[str, Any]:
        """Everything else, as plain JSON values."""
        return {
            "network": self.network.settings(),
            "classes": list(self.classes),
            "features": list(self.features),
            "target": self.target,
        }

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the model, without the state of its training; see `save_checkpoint`."""
        return save_checkpoint(folder, self.arrays(), self.record())

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> Model:
        """The model in a folder that training or `save` wrote; see `load_checkpoint`."""
        return cls.from_parts(*load_checkpoint(folder))

    @classmethod
    def from_parts(cls, arrays: dict[str, NDArray[Any]], record: dict[str, Any]) -> Model:
        """The inverse of `arrays` and `record`."""
        settings = record["network"]
        weights = {name: arrays[name] for name in parameter_shapes(settings["sizes"])}
        network = Network(**settings, params=weights)
        scaled = "standardiser.mean" in arrays
        standardiser = (
            Standardiser(arrays["standardiser.mean"], arrays["standardiser.scale"]) if scaled else None
        )
        names = tuple(record["classes"]), tuple(record["features"])
        return cls(network, *names, standardiser, record.get("target", ""))
