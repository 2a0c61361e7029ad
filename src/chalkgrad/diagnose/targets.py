"""What a gradient, or a variable that is called like one, is in the user's text, and what it should be."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.anchored import adjoint_names, called_after, names_of
from chalkgrad.diagnose.capture import as_array
from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.rerun import Rerun
from chalkgrad.diagnose.trial import Trial
from chalkgrad.expr.nodes import Definition, Tensor
from chalkgrad.verify.environment import Array


class Targets:
    """Gradients ("=x") and variables ("dx") of one function at the points of one trial, under changes.

    Args:
        derived: The derivation.
        trial: What the function returned.
        rerun: Runs it with changes; None where its source does not allow that.
        tolerance: Relative difference that counts as equal.
    """

    def __init__(self, derived: Derived, trial: Trial, rerun: Rerun | None, tolerance: float) -> None:
        self.derived = derived
        self.trial = trial
        self.rerun = rerun
        self.tolerance = tolerance
        self._variables: list[str] | None = None

    def holds(self, name: str, wanted: Tensor) -> bool:
        """Whether a variable is called like an input's gradient itself."""
        return self._adjoints[name] is wanted.adjoint

    def line_of(self, name: str) -> Definition:
        """The derivation's line for the adjoint that a variable is called like."""
        return next(d for d in self.derived.staged.definitions if d.target is self._adjoints[name])

    def value(self, target: str, at: int, active: dict[int, Repair]) -> Array | None:
        assert self.rerun is not None
        value = self.rerun.value(target, at, {n: r.change for n, r in active.items()})
        return None if value is None or value.dtype.kind not in "fiu" else np.asarray(value, float)

    def right(self, target: str, active: dict[int, Repair]) -> bool:
        """Whether a target is what it should be at every point."""
        for at in range(len(self.trial.points)):
            value, true = self.value(target, at, active), self.true(target, at)
            if value is None or value.shape != true.shape:
                return False
            scale = float(np.abs(true).max(initial=0.0))
            if not np.abs(value - true).max(initial=0.0) <= self.tolerance * scale:
                return False
        return True

    def true(self, target: str, at: int) -> Array:
        env = self.trial.points[at].env
        if target.startswith("="):
            tensor = next(t for t in self.derived.wrt if t.name == target[1:])
            return np.asarray(self.trial.points[at].true[tensor], float)
        return np.asarray(env.array(self._adjoints[target]), float)

    @cached_property
    def _adjoints(self) -> dict[str, Tensor]:
        """The derivation's adjoints, by what emitted code or the user calls them."""
        targets = [d.target for d in self.derived.staged.definitions]
        own = self.rerun.left if self.rerun is not None else {}
        names = adjoint_names(self.derived)
        called = called_after(self.derived, self.trial.points[0], own)
        return {name: t for t in targets for name in names_of(t, own, names, called)}

    def variables(self) -> list[str]:
        """The user's variables that are called like an adjoint of the derivation."""
        assert self.rerun is not None
        if self._variables is None:
            left = self.rerun.left
            self._variables = [n for n in self._adjoints if as_array(left.get(n)) is not None]
        return self._variables
