"""Whether a difference of gradients is one that some change gives, where they follow the change linearly."""

from __future__ import annotations

import numpy as np

from chalkgrad.verify.environment import Array


def largest(*arrays: Array) -> float:
    """The largest size of an entry."""
    return max(float(np.abs(a).max(initial=0.0)) for a in arrays)


def directions(slopes: Array) -> Array:
    """Orthonormal columns that span J · δ.

    A direction that hardly matters is left in: too much is allowed rather than too little.
    """
    left, weights, _ = np.linalg.svd(slopes, full_matrices=False)
    return np.asarray(left[:, weights > 1e-15 * weights.max(initial=0.0)])


def allowance(tolerance: float, gap: Array, size: float) -> float:
    """What a difference may be off by that comes of entries of this size, each right to a tolerance."""
    return 10 * tolerance * float(np.sqrt(gap.size)) * size


def spanned(along: Array, gap: Array, least: float) -> bool:
    """Whether a difference lies along some directions, but for what counts as none."""
    return largest(gap - along @ (along.T @ gap)) <= least
