"""What a changed adjoint makes of the gradients, without evaluating the lines between them again.

    dx  =  dx₀ + J · (∂L/∂v − ∂L/∂v₀)

Behind an adjoint every line is linear in it. So the lines are evaluated once for all entries of the adjoint
together, as one more axis; from then on a hypothesis about that adjoint costs its own line and one product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from chalkgrad.diagnose.labelled import Evaluation, Value
from chalkgrad.diagnose.span import allowance, directions, largest, spanned
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Definition, Index, Range, Tensor
from chalkgrad.verify.environment import Array

MOST = 400
"""Of larger adjoints no table is made."""

PRECISE = 1e-11
"""How closely a table must give what the lines give at a point of its own, or it is not used."""


@dataclass(frozen=True, slots=True)
class Carried:
    """The gradients behind one adjoint.

    Attributes:
        here: The adjoint's true entries.
        base: Each gradient there.
        slopes: How each entry of a gradient follows each entry of the adjoint.
        lines: How many lines this saves each time.
    """

    here: Array
    base: Mapping[Tensor, Array]
    slopes: Mapping[Tensor, Array]
    lines: int
    _ranges: dict[tuple[Tensor, ...], Array] = field(default_factory=dict)

    def allows(self, returned: Mapping[Tensor, Array], tolerance: float) -> bool:
        """Whether one value of the adjoint may give these gradients together; True where that is not known.

        What no value gives, no changed formula of the adjoint gives.
        """
        known = [t for t, r in returned.items() if t in self.base and r.shape == self.base[t].shape]
        if not known:
            return True
        along = self._range(tuple(known))
        gap = np.concatenate([(returned[t] - self.base[t]).ravel() for t in known])
        size = largest(*(a for t in known for a in (returned[t], self.base[t])))
        return spanned(along, gap, allowance(tolerance, gap, size))

    def _range(self, known: tuple[Tensor, ...]) -> Array:
        """Columns that span what the gradients can move by."""
        if known not in self._ranges:
            self._ranges[known] = directions(np.concatenate([self.slopes[t] for t in known]))
        return self._ranges[known]

    def gradient(self, adjoint: Tensor, value: Array) -> Array | None:
        """A gradient where the adjoint is another; None where that is not known."""
        if adjoint not in self.base or value.shape != self.here.shape or not np.isfinite(value).all():
            return None
        with np.errstate(all="ignore"):  # a spoiled formula may divide by 0
            moved = self.slopes[adjoint] @ (value - self.here).ravel()
        return np.asarray(self.base[adjoint] + moved.reshape(self.base[adjoint].shape))

    def gradients(self, adjoint: Tensor, values: Array) -> Array | None:
        """A gradient for each of a stack of values of the adjoint; None where that is not known."""
        if adjoint not in self.base or values.shape[:-1] != self.here.shape:
            return None
        with np.errstate(all="ignore"):
            gaps = (values - self.here[..., None]).reshape(self.here.size, -1)
            return np.asarray(
                self.base[adjoint][..., None]
                + (self.slopes[adjoint] @ gaps).reshape(*self.base[adjoint].shape, -1)
            )


def carried(
    definitions: Sequence[Definition], target: Tensor, wanted: Sequence[Tensor], base: Evaluation
) -> Carried | None:
    """The table of one adjoint; None where it is too large, or the lines are not linear in it."""
    here = np.asarray(base.array(target), float)
    if not 0 < here.size <= MOST or not np.isfinite(here).all():
        return None
    scale = float(np.abs(here).max()) or 1.0
    odd = np.random.default_rng(0).uniform(0.5, 1.5, size=here.size)
    moves = np.concatenate([np.zeros((here.size, 1)), np.eye(here.size), odd[:, None]], axis=1)
    along = Index("°", Range("°", here.size + 2))
    stack = here[..., None] + scale * moves.reshape(*here.shape, -1)
    evaluation = Evaluation(base.env, {target: Value(stack, (along,))}, base)
    try:
        with np.errstate(all="ignore"):
            evaluation.run(definitions, {})
    except (ChalkgradError, ValueError, IndexError):
        return None
    bases, slopes = {}, {}
    for adjoint in (t.adjoint for t in wanted):
        value = evaluation.changed.get(adjoint)
        if adjoint is target or value is None or value.extra != (along,):
            continue
        columns = value.array.reshape(-1, here.size + 2)
        if not np.isfinite(columns).all():
            continue
        slope = (columns[:, 1:-1] - columns[:, :1]) / scale
        apart = np.abs(columns[:, -1] - columns[:, 0] - slope @ odd * scale)
        if not apart.max(initial=0.0) <= PRECISE * np.abs(columns).max(initial=0.0):
            continue
        bases[adjoint], slopes[adjoint] = value.array[..., 0], slope
    return Carried(here, bases, slopes, len(evaluation.changed) - 1)
