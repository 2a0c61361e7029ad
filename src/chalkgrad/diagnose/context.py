"""What stands around a place of the user's text, and which changes do not go with it."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.watched import Place, Watched

ODD = 0.8
"""What a change costs more after which the text would compute what it never reads, or take a value from
itself: nobody wrote the right text so."""


class Context:
    """Where one function reads its variables.

    Args:
        watched: The function.
    """

    def __init__(self, watched: Watched) -> None:
        self.places = watched.places
        statements = [statement for statement, _ in watched.body]
        self.reads = Counter(n for s in statements for n in _reads(s))
        self.made = {
            t.id: ast.unparse(s.value)
            for s in statements
            if isinstance(s, ast.Assign) and not isinstance(s.value, ast.Name)
            for t in s.targets
            if isinstance(t, ast.Name)
        }

    def weighed(self, place: Place, repairs: Sequence[Repair]) -> list[Repair]:
        """The changes of a place, those costlier that do not go with the rest of the text."""
        alone = self._alone(place)
        beside = self._beside(place)
        if not alone and not beside:
            return list(repairs)
        text = ast.unparse(place.node)
        found = []
        for r in repairs:
            new = r.written(text)
            line = place.augments and new.isdecimal()  # left out as a whole, with what was computed for it
            odd = new in beside or not (line or all(n in new for n in alone)) or self._undone(text, r)
            found.append(r._replace(cost=r.cost + ODD) if odd else r)
        return found

    def _undone(self, text: str, repair: Repair) -> bool:
        """Whether a change takes away a part that the text puts in."""
        own = repair.own if repair.new.endswith("- {own}") else ""
        return bool(own) and not own.isidentifier() and own.strip("()") in self.made.get(text, text)

    def _alone(self, place: Place) -> frozenset[str]:
        """Variables that the text computes and reads at this place only."""
        here = Counter(_reads(place.node))
        return frozenset(n for n, count in here.items() if n in self.made and self.reads[n] == count)

    def _beside(self, place: Place) -> frozenset[str]:
        """The other terms of the sum in which a place stands."""
        above, node = place.above, None
        while above >= 0 and self.places[above].kind in ("Add", "Sub"):
            node = self.places[above].node
            above = self.places[above].above
        return frozenset(_terms(node)) - {ast.unparse(place.node)} if node is not None else frozenset()


def _reads(tree: ast.AST) -> Iterator[str]:
    return (n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))


def _terms(node: ast.expr) -> Iterator[str]:
    """The terms of sums within sums."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield from _terms(node.left)
        yield from _terms(node.right)
    else:
        yield ast.unparse(node)


def emptied(place: Place, new: object) -> bool:
    """Whether a change makes 0 of what stands at a place: it hides that rather than mends it."""
    try:
        largest = np.abs(np.asarray(new)).max(initial=0.0)
        return bool(largest <= 1e-9 * np.abs(place.value).max(initial=0.0))
    except (TypeError, ValueError, AttributeError):
        return False


def flattened(before: Sequence[object], after: Sequence[object]) -> bool:
    """Whether a condition has become the same everywhere, which is none."""
    return any(not _flat(b) and _flat(a) for b, a in zip(before, after, strict=True))


def _flat(condition: object) -> bool:
    array = np.asarray(condition)
    return array.dtype.kind == "b" and array.ndim > 0 and bool(array.all() or not array.any())
