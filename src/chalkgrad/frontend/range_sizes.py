"""The sizes of ranges that no input has: declared by a line `range h: ...`, or read off affine indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chalkgrad.errors import FormulaError
from chalkgrad.expr.guarded import unguarded
from chalkgrad.expr.nodes import ONE, ZERO, Access, Const, Definition, Expr, Index, Range
from chalkgrad.expr.ops import free_indices
from chalkgrad.expr.syntax import RangeSize
from chalkgrad.frontend.inference import Slot, Variable
from chalkgrad.frontend.known import Retyping
from chalkgrad.frontend.reader import Reader
from chalkgrad.frontend.sizes import (
    NoSizeError,
    coefficients,
    in_order,
    largest_size,
    size_form,
    sizes_in,
)

HOW = "range {0}: (size(u) - size(r)) // 2 + 1"


@dataclass(slots=True)
class RangeSizes:
    """The lines `range name: size` of a text, and what follows from them.

    Attributes:
        reader: Reads the sizes, and knows the letters.
        named: Ranges named in declarations such as x: N D.
        lines: As written.
    """

    reader: Reader
    named: Mapping[str, Slot]
    lines: list[RangeSize] = field(default_factory=list)
    found: list[tuple[Slot, RangeSize, Expr]] = field(default_factory=list)

    def read(self) -> None:
        """Reads the lines, before ranges get their names: a number is the range's size for good."""
        for line in self.lines:
            slot = self._slot(line)
            if slot.declared:
                raise self.reader.error(line, f"The size of {line.name.name} is declared twice.")
            slot.declared = True
            self.reader.in_size = True
            size = self.reader.read(line.size, {})
            self.reader.in_size = False
            try:
                normal = size_form(size)
            except NoSizeError:
                raise self._not_a_size(line) from None
            if isinstance(normal, Const):
                if isinstance(normal.value, float) or normal.value < 1 or normal.value.denominator != 1:
                    raise self.reader.error(line.size, f"A size is 1 or more, and this is {normal}.")
                slot.size = int(normal.value)
            else:
                self.found.append((slot, line, size))

    def _slot(self, line: RangeSize) -> Slot:
        """The range that a line means: of an index, or by its name."""
        name = line.name.name
        meant = {v.slot.root() for v in self.reader.letters.get(name, [])}
        if not meant and name in self.named:
            meant = {self.named[name].root()}
        if len(meant) != 1:
            problem = f"{name} runs over several ranges." if meant else f"There is no index or range {name}."
            raise self.reader.error(line.name, problem)
        return meant.pop()

    def _not_a_size(self, line: RangeSize) -> FormulaError:
        return self.reader.error(
            line.size, "A size is made of sizes, whole numbers, + - * // and %.", HOW.format(line.name.name)
        )

    def resolve(
        self, ranges: Mapping[Range, Range], retype: Retyping, definitions: Sequence[Definition]
    ) -> tuple[tuple[Range, Expr], ...]:
        """Every size that follows from others, each after the sizes that it needs.

        Raises:
            FormulaError: A size that needs itself, or a range whose size nothing says.
        """
        self._refuse_outside(ranges, definitions)
        found = [(ranges[s.placeholder], line, size_form(retype(size))) for s, line, size in self.found]
        try:
            sizes = in_order([(of, size) for of, _, size in found])
        except ValueError:
            raise self.reader.error(found[0][1], "This size follows from itself.") from None
        return (*sizes, *self._inferred(ranges, definitions, {of for of, _ in sizes}))

    def _refuse_outside(self, ranges: Mapping[Range, Range], definitions: Sequence[Definition]) -> None:
        """x[i] + x[i+1]: where i runs over all of the axis, i + 1 leaves it."""
        for definition in definitions:
            for access, guarded in unguarded(definition.body):
                for axis, index in zip(access.tensor.axes, access.indices, strict=True):
                    parts, constant = coefficients(index) or ({}, ZERO)
                    only = next(iter(parts), None)
                    if len(parts) != 1 or only is None or only in guarded or only.range is not axis:
                        continue
                    if parts[only] == ONE and isinstance(constant, Const) and constant.value:
                        self._outside(only, access, index, ranges, constant.value > 0)

    def _outside(
        self, index: Index, access: Access, place: Expr, ranges: Mapping[Range, Range], beyond: bool
    ) -> None:
        variables = self.reader.letters.get(index.name, [])
        here = next((v for v in variables if ranges[v.slot.placeholder] is index.range), None)
        if here is None:
            return
        name, tensor = index.name, access.tensor.name
        guard = f"1({place} < size({name}))" if beyond else f"1({place} >= 0)"
        hint = f"Guard the read: {guard} * {access}"
        if beyond:
            hint += f"; or write {tensor}[{name}+0] for {tensor}[{name}], and {name} stays short of the end"
        raise self.reader.error(
            here.bound,
            f"{name} runs over the whole axis {index.range.name}, so {access} reads outside of {tensor}.",
            f"{hint}.",
        )

    def _inferred(
        self, ranges: Mapping[Range, Range], definitions: Sequence[Definition], known: set[Range]
    ) -> list[tuple[Range, Expr]]:
        sizes: list[tuple[Range, Expr]] = []
        missing: dict[Range, Variable] = {}
        for variables in self.reader.letters.values():
            for variable in variables:
                root = variable.slot.root()
                of = ranges[root.placeholder]
                if not (root.sized or root.declared or of in known):
                    missing.setdefault(of, variable)
        for of, variable in missing.items():
            size = largest(of, definitions, set(missing)) if variable.slot.root().affine else None
            if size is None:
                raise self._unknown(variable)
            sizes.append((of, size))
        return sizes

    def _unknown(self, variable: Variable) -> FormulaError:
        name = variable.name
        if variable.slot.root().affine:
            return self.reader.error(
                variable.bound,
                f"How many values the index {name} takes does not follow from its use.",
                f"Declare it on a line of its own: {HOW.format(name)}. A window of fixed size is declared as "
                "range r: 2, a stride that is a letter as parameter s: 2.",
            )
        return self.reader.error(
            variable.bound,
            f"No input has an axis over the index {name}, so its range is unknown.",
            f"Use it on an axis of an input: x[{name}, ...], or declare one: x: N D.",
        )


def largest(of: Range, definitions: Sequence[Definition], missing: set[Range]) -> Expr | None:
    """The one size at which all affine indices over `of` just stay inside; None if they do not agree."""
    found: set[Expr] = set()
    for definition in definitions:
        for access, guarded in unguarded(definition.body):
            for axis, index in zip(access.tensor.axes, access.indices, strict=True):
                free = free_indices(index)
                if isinstance(index, Index) or not any(i.range is of for i in free):
                    continue
                if free & guarded or any(i.range in missing - {of} for i in free):
                    return None
                size = largest_size(of, axis, index)
                if size is None or of in sizes_in(size):
                    return None
                found.add(size)
    return smallest(found)


def smallest(sizes: set[Expr]) -> Expr | None:
    """The one that is at most all others, where they differ by constants."""
    for size in sizes:
        gaps = [size_form(other - size) for other in sizes]
        if all(isinstance(gap, Const) and gap.value >= 0 for gap in gaps):
            return size
    return None
