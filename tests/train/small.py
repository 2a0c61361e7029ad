"""A small, quick problem that several tests train on."""

from __future__ import annotations

import numpy as np

from chalkgrad.train.data import Dataset
from chalkgrad.train.network import Network


def blobs(rows: int = 90, seed: int = 0) -> Dataset:
    """Three overlapping clouds in four dimensions."""
    generator = np.random.default_rng(seed)
    y = np.arange(rows) % 3
    centres = np.array([[1.5, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 1.5, 0]])
    x = centres[y] + generator.standard_normal((rows, 4))
    return Dataset(x, y, ("a", "b", "c"), ("p", "q", "r", "s"), "blobs")


def network(seed: int = 0, **options: object) -> Network:
    """A network of the right sizes for `blobs`."""
    return Network((4, 7, 3), **{"l2": 1e-3, "seed": seed, **options})  # type: ignore[arg-type]
