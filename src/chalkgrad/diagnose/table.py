"""How a target follows what stands at one place of a text, and which changes there may make it right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalkgrad.diagnose.at_hand import Part
from chalkgrad.diagnose.blocks import Slopes
from chalkgrad.diagnose.repair import Beside
from chalkgrad.diagnose.span import allowance, directions, largest, spanned
from chalkgrad.diagnose.watched import Change, Scope
from chalkgrad.verify.environment import Array


@dataclass(frozen=True, slots=True)
class Known:
    """What tables of one text have read of the parts that may be put in.

    Attributes:
        steady: Variables that hold at the place what they hold at the end of the text.
        rows: Entries of parts of such variables, by part, shape and block.
    """

    steady: frozenset[str]
    rows: dict[tuple[int, tuple[Any, ...]], Array | None]


@dataclass(frozen=True, slots=True)
class Table:
    """How a target follows what stands at a place, beside changes that are made already.

    A change is dismissed by a random projection of one block of the target:

        d · (right − now)   has to be   (Jᵀ d) · (changed − now)

    Attributes:
        operands: What the place works with.
        scope: The variables there.
        here: What it gives.
        base: The target as it is.
        slopes: How the target follows that.
        block: Where the entries are that the projection reads.
        weights: What it weighs them by.
        goal: What it has to come to.
        slack: By how much it may miss that.
        solvable: Whether some value of the place makes that block of the target right.
        spread: Whether a smaller value has the effect of the same value all over the place.
    """

    operands: list[Any]
    scope: Scope
    here: Array
    base: Array
    slopes: Slopes
    block: tuple[Any, ...]
    weights: Array
    goal: float
    slack: float
    solvable: bool
    spread: bool

    @staticmethod
    def of(
        operands: list[Any], scope: Scope, here: Array, base: Array, true: Array, slopes: Slopes,
        tolerance: float, spread: bool,
    ) -> Table:  # fmt: skip
        """The table of a place.

        Args:
            operands: What the place works with.
            scope: The variables there.
            here: What it gives.
            base: The target as it is.
            true: The target as it should be.
            slopes: How the target follows the place.
            tolerance: Relative difference that counts as equal.
            spread: Whether a smaller value has the effect of the same value all over the place.
        """
        gap = slopes.blocks.followed(true - base)
        least = allowance(tolerance, gap, max(largest(base, true), slopes.size))
        number = int(np.abs(gap).max(axis=1, initial=0.0).argmax())
        direction = np.random.default_rng(0).normal(size=gap.shape[1])
        return Table(
            operands, scope, here, base, slopes,
            slopes.blocks.place(number, here.shape),
            direction @ slopes.each[number],
            float(direction @ gap[number]),
            least * float(np.abs(direction).sum()),
            spanned(directions(slopes.each[number]), gap[number], least),
            spread,
        )  # fmt: skip

    def may(self, change: Change) -> bool:
        """Whether a change may make the target right; True where the table does not tell."""
        new = self._changed(change)
        if new is None:
            return False
        array = self._told(new)
        if array is None:
            return True
        if not self.solvable:
            return False
        with np.errstate(all="ignore"):
            moved = (array - self.here)[self.block].ravel() @ self.weights
        return not abs(self.goal - moved) > self.slack

    def value(self, change: Change) -> Array | None:
        """The target after a change; None where the table does not tell."""
        moved = self.moved(change)
        if moved is None:
            return None
        with np.errstate(all="ignore"):
            return np.asarray(self.base + self.slopes.moves(moved.reshape(self.here.shape)))

    def dismissed(self, changes: Iterable[Beside], known: Known) -> frozenset[int]:
        """Those of many changes, by id, that cannot make the target right."""
        out: set[int] = set()
        for some, moved in self._together(changes, self.block, known):
            far = np.ones(len(some), bool)
            if self.solvable:
                with np.errstate(all="ignore"):
                    far = np.abs(self.goal - moved @ self.weights) > self.slack
            out.update(id(c) for c, is_far in zip(some, far, strict=True) if is_far)
        return frozenset(out)

    def projected(self, changes: Iterable[Beside], directions: Array, known: Known) -> dict[int, Array]:
        """By how much the target moves along some directions, for each of many changes, by id.

        Args:
            changes: What is put in.
            directions: The target's entries, and one more axis for each direction.
            known: What other tables read.
        """
        weights = self.against(directions)
        found: dict[int, Array] = {}
        for some, moved in self._together(changes, (), known):
            with np.errstate(all="ignore"):
                found.update(zip(map(id, some), moved @ weights, strict=True))
        return found

    def against(self, directions: Array) -> Array:
        """By how much the target moves along some directions with each entry of the place."""
        return np.stack([self.slopes.back(d).ravel() for d in np.moveaxis(directions, -1, 0)], axis=-1)

    def moved(self, change: Change) -> Array | None:
        """By how much each entry of the place moves by a change; None where the table does not tell."""
        array = self._told(self._changed(change))
        with np.errstate(all="ignore"):
            return None if array is None else np.asarray(array - self.here).ravel()

    def _together(
        self, changes: Iterable[Beside], block: tuple[Any, ...], known: Known
    ) -> Iterator[tuple[list[Beside], Array]]:
        """By how much a block moves by each change that leaves the place its shape.

        All parts are put in at once, in each of the ways to put one in.
        """
        where = (self.here.shape, *(n if isinstance(n, int) else -1 for n in block))
        ways: dict[Callable[[Any, Any], Any], list[Beside]] = {}
        rows: dict[int, Array | None] = {}
        for change in changes:
            part, key = change.part, id(change.part)
            if key not in rows:
                if part.names <= known.steady:
                    if (key, where) not in known.rows:
                        known.rows[key, where] = self._row(part.value, block)
                    rows[key] = known.rows[key, where]
                else:
                    rows[key] = self._row(self._read(part), block)
            if rows[key] is not None:
                ways.setdefault(change.by, []).append(change)
        here = self.here[block].ravel()
        for by, some in ways.items():
            with np.errstate(all="ignore"):
                yield some, by(here, np.array([rows[id(c.part)] for c in some])) - here

    def _row(self, value: Any, block: tuple[Any, ...]) -> Array | None:
        """A block's entries of a value that leaves the place its shape; None for any other."""
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            return None
        if array.shape != self.here.shape:
            try:
                array = np.broadcast_to(array, self.here.shape)
            except ValueError:
                return None
        return np.asarray(array[block], float).ravel()

    def _read(self, part: Part) -> Any:
        """A part where the place is; None where that raises."""
        try:
            with np.errstate(all="ignore"):
                return part.read(self.scope)
        except Exception:  # noqa: BLE001 (a part of a changed text may raise anything)
            return None

    def _changed(self, change: Change) -> Any:
        """What the place gives after a change; None where that raises."""
        try:
            with np.errstate(all="ignore"):
                return change(self.operands, self.scope)
        except Exception:  # noqa: BLE001 (a changed text may raise anything)
            return None

    def _told(self, new: Any) -> Array | None:
        """What the place gives, as the table reads it; None where the table does not hold for it."""
        if not is_float(new):
            return None
        array = np.asarray(new, float)
        if array.shape == self.here.shape:
            return array
        try:
            return np.broadcast_to(array, self.here.shape) if self.spread else None
        except ValueError:
            return None


def is_float(value: Any) -> bool:
    """Whether a value is a number, or an array of numbers, that is not whole."""
    return isinstance(value, float | np.floating | np.ndarray) and np.asarray(value).dtype.kind == "f"
