"""Minibatches in a seeded random order that can be saved and continued anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import DataError
from chalkgrad.train.data import Ints


class Sampler:
    """Every row once per epoch, in a new random order; the last batch may be smaller.

    Args:
        rows: How many rows there are.
        batch_size: Rows per batch.
        seed: The same seed gives the same batches.

    Raises:
        DataError: When there are no rows, or the batch size is not positive.

    Example:
        >>> sampler = Sampler(rows=5, batch_size=2, seed=0)
        >>> [len(sampler.next_batch()) for _ in range(3)], sampler.epoch_done
        ([2, 2, 1], True)
    """

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        if rows < 1:
            raise DataError("There are no rows to train on.")
        if batch_size < 1:
            raise DataError(f"The batch size is {batch_size}; it must be at least 1.", hint="Try 32.")
        self.rows, self.batch_size = rows, batch_size
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self.start_epoch()

    def start_epoch(self) -> None:
        """Draw the next order of the rows."""
        # The state before the draw, with the position, is all that a resumed run needs.
        self._before: dict[str, Any] = dict(self._generator.bit_generator.state)
        self._order: Ints = self._generator.permutation(self.rows)
        self.position = 0

    @property
    def epoch_done(self) -> bool:
        """Whether every row of this epoch was given."""
        return self.position >= self.rows

    @property
    def batches(self) -> int:
        """How many batches an epoch has."""
        return -(-self.rows // self.batch_size)

    def next_batch(self) -> Ints:
        """The numbers of the next rows."""
        batch = self._order[self.position : self.position + self.batch_size]
        self.position += len(batch)
        return batch

    def next_batches(self, most: int) -> NDArray[np.int64]:
        """The next whole batches, at most so many, one a row; or the smaller last batch alone."""
        left = self.rows - self.position
        count = min(most, left // self.batch_size)
        if count == 0:
            return self.next_batch()[None, :]
        stop = self.position + count * self.batch_size
        batches = self._order[self.position : stop].reshape(count, self.batch_size)
        self.position = stop
        return batches

    def put_back(self, batches: NDArray[np.int64]) -> None:
        """The last batches that were given come again."""
        self.position -= batches.size

    def state(self) -> dict[str, Any]:
        """Where the sampler stands, as plain JSON values."""
        return {"generator": self._before, "position": self.position}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()` of a sampler with the same rows and batch size."""
        self._generator.bit_generator.state = state["generator"]
        self.start_epoch()
        self.position = int(state["position"])
