"""End to end: digits, 64-100-10, trained with derived gradients and emitted update rules alone.

Over the splits of seeds 0 to 19 this recipe has 97.8 % on held-out rows, with a standard deviation of
0.9 %; most of that is luck of the 359 rows, as it stays when only the initial weights change.
"""

from __future__ import annotations

import pytest

from chalkgrad.train.data import Dataset, load_digits
from chalkgrad.train.loop import fit
from chalkgrad.train.network import Network
from chalkgrad.train.split import split_rows


@pytest.fixture(scope="module")
def digits() -> Dataset:
    pytest.importorskip("sklearn")
    return load_digits()


def accuracy(digits: Dataset, seed: int) -> float:
    """Held-out accuracy; split, initial weights and row order change with the seed."""
    parts = split_rows(digits.y, validation=0.1, test=0.2, seed=seed)
    network = Network((64, 100, 10), l2=1e-3, seed=seed)
    history = fit(
        network,
        digits.rows(parts.train),
        validation=digits.rows(parts.validation),
        optimiser="nesterov",
        learning_rate=0.2,
        lr_decay=0.95,
        seed=seed,
    )
    test = digits.rows(parts.test)
    assert len(test) == 359
    assert history.epochs[-1].train_accuracy > 0.99
    return network.score(test.x, test.y)


def test_digits_reach_97_percent_on_held_out_rows(digits: Dataset) -> None:
    scores = [accuracy(digits, seed) for seed in range(10)]
    assert sum(scores) / len(scores) >= 0.97, scores
    assert min(scores) >= 0.95, scores
