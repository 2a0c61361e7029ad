"""Names for what a long line repeats: write A_d for Σ_n x̂_nd ∂L/∂out_nd, and use A_d.

This is a matter of reading only: the lines that were verified are the full ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chalkgrad.expr.nodes import Access, Add, Apply, Expr, Index, Partial, Reduce, Sum, Tensor
from chalkgrad.expr.ops import children, free_indices, map_children, walk
from chalkgrad.render.math_text import math_piece

LONG = 100
"""Lines wider than this many characters are made shorter."""

WORTH = 14
"""What is narrower than this stays as it is."""

MOST = 3
"""More names than this are harder to keep in mind than a long line."""

LETTERS = "ABCQRUVZHM"


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """A name that stands for an expression within a chain of lines."""

    name: Access
    value: Expr


def abbreviate(lines: Sequence[Expr], taken: set[str]) -> tuple[list[Expr], list[Abbreviation]]:
    """The lines with what they share under short names, where one of them is long.

    Args:
        lines: The right-hand sides of one chain.
        taken: Names that mean something already.

    Returns:
        The lines, and what each new name stands for, in the order in which they can be read.
    """
    lines = list(lines)
    made: list[Abbreviation] = []
    letters = [letter for letter in LETTERS if letter not in taken]
    while letters and len(made) < MOST and any(_width(line) > LONG for line in lines):
        shared = _shared([line for line in lines if _width(line) > LONG])
        if shared is None:
            break
        name = _name(letters.pop(0), shared)
        made = [Abbreviation(a.name, _replaced(a.value, shared, name)) for a in made]
        made.append(Abbreviation(name, shared))
        lines = [_replaced(line, shared, name) for line in lines]
    made.reverse()
    return lines, _in_reading_order(made)


def _width(e: Expr) -> int:
    return math_piece(e).width


def _shared(lines: list[Expr]) -> Expr | None:
    """What the lines repeat, the one that saves most."""
    counts: Counter[Expr] = Counter()
    for line in lines:
        for node in _visible(line):
            if node is not line and isinstance(node, Sum | Reduce | Add | Apply):
                counts[node] += 1
    best, saved = None, 0
    for node, count in counts.items():
        width = _width(node)
        if count > 1 and width >= WORTH and (count - 1) * width > saved:
            best, saved = node, (count - 1) * width
    return best


def _visible(e: Expr) -> Iterator[Expr]:
    """Every node but those that wait to be differentiated: a name would hide what they depend on."""
    if any(isinstance(node, Partial) for node in walk(e)):
        for child in () if isinstance(e, Partial) else children(e):
            yield from _visible(child)
        return
    yield from walk(e)


def _replaced(e: Expr, shared: Expr, name: Access) -> Expr:
    if e is shared:
        return name
    return e if isinstance(e, Partial) else map_children(e, lambda child: _replaced(child, shared, name))


def _name(letter: str, value: Expr) -> Access:
    """A name with the indices that the value has, in the order in which they are read."""
    free = free_indices(value)
    order = dict.fromkeys(n for n in walk(value) if isinstance(n, Index) and n in free)
    return Access(Tensor(letter, tuple(i.range for i in order), "float", "value"), tuple(order))


def _in_reading_order(made: list[Abbreviation]) -> list[Abbreviation]:
    """What stands inside another name's value comes before it."""
    ready: list[Abbreviation] = []
    waiting = list(made)
    while waiting:
        names = {a.name for a in waiting}
        now = [a for a in waiting if not names & set(walk(a.value))]
        ready += now or waiting
        waiting = [a for a in waiting if a not in ready]
    return ready
