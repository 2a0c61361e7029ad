"""Which values an integer input may take, read off where it is used."""

from __future__ import annotations

from chalkgrad.expr.nodes import Access, Index, Indicator, Program, Range, Tensor
from chalkgrad.expr.ops import walk


def label_ranges(program: Program) -> dict[Tensor, tuple[Range, ...]]:
    """For each integer input, the ranges that its values index or are compared with.

    y of p[i, y[i]] and of 1(k == y[i]) holds values of p's second range and of k's range.
    """
    found: dict[Tensor, dict[Range, None]] = {}

    def note(label: object, of: Range) -> None:
        if isinstance(label, Access) and label.tensor.dtype == "int":
            found.setdefault(label.tensor, {})[of] = None

    for d in program.definitions:
        for e in walk(d.body):
            if isinstance(e, Access):
                for r, index in zip(e.tensor.axes, e.indices, strict=True):
                    note(index, r)
            elif isinstance(e, Indicator) and e.op in ("==", "!="):
                for index, label in ((e.left, e.right), (e.right, e.left)):
                    if isinstance(index, Index):
                        note(label, index.range)
    return {t: tuple(ranges) for t, ranges in found.items()}
