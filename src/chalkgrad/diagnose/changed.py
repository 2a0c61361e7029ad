"""What follows from a changed formula: its own line, and the gradients read off a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chalkgrad.diagnose.labelled import Value
from chalkgrad.expr.nodes import Expr, Tensor

if TYPE_CHECKING:
    from chalkgrad.diagnose.search import Search


class Changed:
    """The adjoints that follow from changed formulas at a point; those alone that change.

    Where one formula is changed its own line is evaluated, and the gradients are read off a table.
    """

    __slots__ = ("_alone", "_at", "_bodies", "_form", "_read", "_search", "_whole")

    def __init__(self, search: Search, form: str, bodies: Mapping[Tensor, Expr], at: int) -> None:
        self._search, self._form, self._bodies, self._at = search, form, bodies, at
        self._alone: Value | None = None
        self._read: dict[Tensor, Value] = {}
        self._whole: dict[Tensor, Value] | None = None

    def get(self, adjoint: Tensor) -> Value | None:
        """An adjoint's entries; None if they do not change."""
        if self._whole is None and adjoint not in self._read and len(self._bodies) == 1:
            found = self._from_table(adjoint)
            if found is not None:
                self._read[adjoint] = found
        if adjoint in self._read:
            return self._read[adjoint]
        if self._whole is None:
            self._whole = self._search.predict(self._form, self._bodies, self._at)
        return self._whole.get(adjoint)

    def __contains__(self, adjoint: Tensor) -> bool:
        return self.get(adjoint) is not None

    def __getitem__(self, adjoint: Tensor) -> Value:
        found = self.get(adjoint)
        if found is None:
            raise KeyError(adjoint)
        return found

    def _from_table(self, adjoint: Tensor) -> Value | None:
        ((target, body),) = self._bodies.items()
        table = self._search.table(self._form, target, self._at) if adjoint is not target else None
        if adjoint is not target and (table is None or adjoint not in table.base):
            return None
        if self._alone is None:
            self._alone = self._search.line_alone(self._form, target, body, self._at)
        if table is None or self._alone is None:
            return self._alone
        self._search.worked(table.lines)
        array = None if self._alone.extra else table.gradient(adjoint, self._alone.array)
        return None if array is None else Value(array)
