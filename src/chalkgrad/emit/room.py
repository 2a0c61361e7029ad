"""Whether arrays are as long as what is read of them: y[i] = x[i+1] w[i] needs one more of x than of w.

Sizes that a program derives fit by themselves. What is left are arrays that come from outside with an axis of
their own. A read that a condition looks at says itself where it counts, and asks for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from chalkgrad.errors import ShapeError
from chalkgrad.expr.guarded import end, must_be_there
from chalkgrad.expr.linear import as_index, derived_sizes, inside
from chalkgrad.expr.nodes import Access, Expr, Program, Range
from chalkgrad.expr.ops import free_indices
from chalkgrad.verify.environment import whole_size


@dataclass(frozen=True, slots=True)
class Read:
    """A read along one axis of an array, with the first and the last place that it goes to, as sizes say."""

    access: Access
    axis: Range
    first: Expr
    last: Expr


def check_room(program: Program, sizes: Mapping[Range, int]) -> None:
    """Every read stays inside of its array.

    Args:
        sizes: Of every range, derived ones too.

    Raises:
        ShapeError: At the first one that does not.
    """
    for read in reads(program):
        if any(sizes.get(i.range) == 0 for i in free_indices(read.access)):
            continue  # nothing is read at all
        first, last = whole_size(read.first, sizes), whole_size(read.last, sizes)
        size, axis = read.axis.size or sizes[read.axis], read.axis.name
        if first >= 0 and last < size:
            continue
        what = f"{read.access} goes to place {last if last >= size else first} of {axis}"
        raise ShapeError(
            f"{program.name} reads outside of {read.access.tensor.name}: {what}, "
            f"but {axis} = {size} has 0 to {size - 1}",
            hint="Pass arrays that fit, or multiply the read by an indicator of its bounds, as in "
            "1(i + 1 < size(j)) * x[i+1], where zeros are meant.",
        )


@lru_cache(256)
def reads(program: Program) -> tuple[Read, ...]:
    """The reads of which the program alone does not tell that they stay inside.

    Example:
        >>> from chalkgrad.frontend.text_formula import read_formula
        >>> [read] = reads(read_formula("y[i] = x[i+1] * w[i]", "f"))
        >>> print(read.access, read.first, read.last)
        x[i+1] 1 size(N)
    """
    with derived_sizes(program.sizes):
        return tuple(
            Read(access, axis, as_index(end(form, -1)), as_index(end(form, 1)))
            for access, axis, form in must_be_there(program)
            if not inside(form, axis)
        )
