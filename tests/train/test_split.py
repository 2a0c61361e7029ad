"""Splitting rows: parts that are disjoint, complete, in proportion, and the same for a seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalkgrad.errors import DataError
from chalkgrad.train.split import split_rows


@given(
    counts=st.lists(st.integers(10, 60), min_size=2, max_size=5),
    validation=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
    seed=st.integers(0, 99),
)
def test_parts_partition_the_rows_in_proportion(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = split_rows(y, validation=validation, test=test, seed=seed)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(len(y)))
    assert len(parts.test) == round(test * len(y))
    assert len(parts.validation) == round(validation * len(y))
    for k, count in enumerate(counts):
        assert abs((y[parts.test] == k).sum() - test * count) < 2
        assert abs((y[parts.validation] == k).sum() - validation * count) < 2


def test_the_seed_decides() -> None:
    y = np.repeat([0, 1, 2], 40)
    first, again, other = (split_rows(y, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.test, again.test)
    np.testing.assert_array_equal(first.validation, again.validation)
    assert (first.test != other.test).any()


def test_a_class_keeps_a_training_row() -> None:
    y = np.array([0] * 97 + [1] * 2 + [2])
    parts = split_rows(y, validation=0.3, test=0.5, seed=3)
    assert set(y[parts.train]) == {0, 1, 2}


def test_no_part_is_wanted() -> None:
    parts = split_rows(np.array([0, 1, 1]), validation=0, test=0)
    assert parts.train.tolist() == [0, 1, 2]
    assert len(parts.validation) == len(parts.test) == 0


@pytest.mark.parametrize(
    ("validation", "test", "says"),
    [
        (0.5, 0.5, "no rows"),
        (-0.1, 0.2, "at least 0"),
        (0.0, 0.01, "too few"),
        (0.45, 0.45, "without a training"),
    ],
)
def test_impossible_splits(validation: float, test: float, says: str) -> None:
    with pytest.raises(DataError, match=says):
        split_rows(np.array([0, 0, 1, 1, 1, 2]), validation=validation, test=test)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(DataError, match="seed is -1"):
        split_rows(np.array([0, 1] * 20), seed=-1)
