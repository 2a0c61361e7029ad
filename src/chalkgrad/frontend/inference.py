"""Which range an index runs over, found by unification.

Every axis of a tensor and every bound index has a `Slot`. Using an index on an axis merges their slots;
a slot becomes fixed by a declaration, and two fixed slots of different ranges do not merge.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chalkgrad.errors import FormulaError, caret
from chalkgrad.expr.nodes import Range
from chalkgrad.expr.syntax import Syntax


@dataclass(eq=False, slots=True)
class Slot:
    """An unknown range; after merging, the properties live in `root()`.

    Attributes:
        fixed: The range, once a declaration has said it.
        letters: Names of indices that run over it, in order of appearance.
        hint: The letter that names the range when no index runs over it, as with a gather's axis.
        sized: Whether an input has an axis over it, so that its size is known when the layer runs.
        affine: Whether an index over it stands in an affine index such as x[2*h + p].
        declared: Whether a line `range h: ...` gives its size.
        size: That size, where it is a number.
    """

    number: int
    fixed: Range | None = None
    letters: list[str] = field(default_factory=list)
    hint: str = "k"
    sized: bool = False
    affine: bool = False
    declared: bool = False
    size: int | None = None
    parent: Slot | None = None

    def root(self) -> Slot:
        slot = self
        while slot.parent is not None:
            if slot.parent.parent is not None:
                slot.parent = slot.parent.parent
            slot = slot.parent
        return slot

    @property
    def placeholder(self) -> Range:
        """The range that stands for this slot until all are known."""
        return Range(f"?{self.number}")


@dataclass(eq=False, slots=True)
class Variable:
    """A bound index: its name, its slot, where it was bound and the first axis that it was used on."""

    name: str
    slot: Slot
    bound: Syntax
    used: Syntax | None = None


class RangeConflictError(FormulaError):
    """An index of one range on an axis of another.

    Attributes:
        index: The index's name.
        has: The range that it runs over.
        wants: The range of the axis.
        first: The use that said `has`; None when a declaration did.
        second: The use on the axis of `wants`.
    """

    def __init__(
        self,
        index: str,
        has: Range,
        wants: Range,
        first: Syntax | None,
        second: Syntax,
        source: str,
        axis: str,
    ) -> None:
        self.index, self.has, self.wants, self.first, self.second = index, has, wants, first, second
        self.axis = axis
        message = f"The index {index} runs over {has.name}, but {axis} runs over {wants.name}."
        hint = ""
        if first is not None:
            place = caret(source, first.start, first.end - first.start)
            hint = f"It runs over {has.name} because of this use:\n{place}"
        super().__init__(
            message, hint=hint, source=source, position=second.start, length=second.end - second.start
        )


class Slots:
    """All slots of one text."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.all: list[Slot] = []

    def new(self, letter: str | None = None, fixed: Range | None = None) -> Slot:
        slot = Slot(len(self.all), fixed)
        if letter is not None:
            slot.letters.append(letter)
        self.all.append(slot)
        return slot

    def unify(self, index: Variable, axis: Slot, use: Syntax, described: str) -> None:
        """Says that `index` runs over `axis`, because of `use`; `described` names the axis in an error.

        Raises:
            RangeConflictError: If both are fixed and differ.
        """
        mine, theirs = index.slot.root(), axis.root()
        if mine.fixed is not None and theirs.fixed is not None and mine.fixed is not theirs.fixed:
            raise RangeConflictError(
                index.name, mine.fixed, theirs.fixed, index.used, use, self.source, described
            )
        index.used = index.used or use
        self.merge(theirs, mine)

    def merge(self, kept: Slot, joined: Slot) -> None:
        """Makes one slot of two that do not contradict each other."""
        kept, joined = kept.root(), joined.root()
        if kept is joined:
            return
        if joined.number < kept.number:
            kept, joined = joined, kept
        joined.parent = kept
        kept.letters += [letter for letter in joined.letters if letter not in kept.letters]
        if kept.fixed is None and joined.fixed is not None:
            kept.fixed = joined.fixed
        kept.sized |= joined.sized
        kept.affine |= joined.affine
