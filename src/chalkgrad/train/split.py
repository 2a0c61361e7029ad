"""Cutting rows into training, validation and test rows, each class in proportion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chalkgrad.errors import DataError
from chalkgrad.train.data import Ints


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Disjoint row numbers that together are all rows, each in ascending order."""

    train: Ints
    validation: Ints
    test: Ints


def split_rows(y: Ints, *, validation: float = 0.1, test: float = 0.2, seed: int = 0) -> Split:
    """A seeded random split in which each class has its share of every part.

    A part of N rows gets round(fraction · N) of them. The classes share it by largest remainder,
    and every class keeps at least one training row.

    Args:
        y: (N,) the labels.
        validation: The fraction of rows that watches training, 0 for none.
        test: The fraction that is held out until the end, 0 for none.
        seed: The same seed gives the same split.

    Raises:
        DataError: When the fractions leave nothing to train on, or a part that was asked for
            would be empty, or on a negative seed.

    Example:
        >>> y = np.repeat([0, 1], 50)
        >>> parts = split_rows(y, validation=0.1, test=0.2)
        >>> [len(p) for p in (parts.train, parts.validation, parts.test)]
        [70, 10, 20]
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise DataError(
            f"The fractions validation={validation} and test={test} leave no rows to train on.",
            hint="Give fractions of at least 0 that add up to less than 1, such as 0.1 and 0.2.",
        )
    if seed < 0:
        raise DataError(f"The seed is {seed}; it must be at least 0.", hint="Try 0.")
    generator = np.random.default_rng(seed)
    groups = [generator.permutation(np.flatnonzero(y == k)) for k in np.unique(y)]
    counts = {"test": round(test * len(y)), "validation": round(validation * len(y))}
    parts: dict[str, Ints] = {}
    for part, count in counts.items():
        if count == 0 and {"test": test, "validation": validation}[part] > 0:
            raise DataError(
                f"{len(y)} rows are too few for a {part} part.", hint=f"Give more rows, or {part}=0."
            )
        quotas = _quotas([len(g) for g in groups], count, part)
        taken = [g[:q] for g, q in zip(groups, quotas, strict=True)]
        groups = [g[q:] for g, q in zip(groups, quotas, strict=True)]
        parts[part] = np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64)
    return Split(np.sort(np.concatenate(groups)), parts["validation"], parts["test"])


def _quotas(sizes: list[int], count: int, part: str) -> list[int]:
    """`count` rows shared among classes in proportion, by largest remainder, one row left in each."""
    room = np.array(sizes) - 1
    if count > room.sum():
        raise DataError(
            f"Taking {count} {part} rows would leave a class without a training row.",
            hint="Give more rows of the rare classes, or smaller fractions.",
        )
    ideal = np.array(sizes) * (count / sum(sizes))
    quotas = np.minimum(np.floor(ideal).astype(int), room)
    while quotas.sum() < count:
        lacking = np.where(quotas < room, ideal - quotas, -np.inf)
        quotas[int(lacking.argmax())] += 1
    return [int(q) for q in quotas]
