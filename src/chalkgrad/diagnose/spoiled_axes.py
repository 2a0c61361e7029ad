"""Sums spoiled in the ways that people do it with arrays: over another axis, or stored where they add."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalkgrad.diagnose.words import Words, words
from chalkgrad.expr.arithmetic import multiply
from chalkgrad.expr.nodes import (
    MINUS_ONE,
    ONE,
    Access,
    Add,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import children, free_indices, rebuild, substitute, walk

Path = tuple[int, ...]
"""The way to a part of an expression from its top, by places among the children."""


@dataclass(frozen=True, slots=True)
class Change:
    """A node changed: the cause, its words, its cost, the new node, and where it stands."""

    code: str
    text: Words
    cost: float
    node: Expr
    path: Path = ()


def overwritten(target: Tensor, indices: tuple[Index, ...], body: Expr) -> Iterator[Change]:
    """Entries that are stored where they have to be added: of those at one place the last stays."""
    for at in dict.fromkeys(n for n in walk(body) if isinstance(n, Indicator) and n.op == "=="):
        for place in (at.left, at.right):
            if not isinstance(place, Access) or place.tensor.dtype != "int" or not place.indices:
                continue
            own = tuple(i for i in place.indices if isinstance(i, Index) and i in indices)
            if len(own) < len(place.indices):
                continue
            later = tuple(Index(f"{i.name}°", i.range) for i in own)
            again = Indicator("==", Access(place.tensor, later), place)
            after = Mul((again, Indicator(">", _flat(later), _flat(own))))
            last = Add((ONE, Mul((MINUS_ONE, Reduce("max", later, after)))))
            text = words(
                f"where {place.tensor.name} holds a value twice, only the last one counts in ",
                target,
                f" (array[{place.tensor.name}] = … and += … store; np.add.at adds)",
            )
            yield Change("missing_sum", text, 1.3, Sum(indices, multiply((body, last))))


def _flat(indices: tuple[Index, ...]) -> Expr:
    """How many entries come before one, row by row."""
    terms = [multiply((i, *(Size(j.range) for j in indices[place + 1 :]))) for place, i in enumerate(indices)]
    return terms[0] if len(terms) == 1 else Add(tuple(terms))


def wrong_axes(
    target: Tensor, indices: tuple[Index, ...], body: Expr, scope: tuple[Index, ...]
) -> Iterator[Change]:
    """A sum over another axis than the right one, or over one more: axis=0 for axis=1, .sum()."""
    inner = free_indices(body)
    for other in (i for i in scope if i in inner):
        here = Index(f"{other.name}°", other.range)
        over = (*indices, here)
        text = words(target, " is summed over ", other.name, f" (the {other.range.name} axis), too")
        yield Change("extra_sum", text, 2.4, Sum(over, substitute(body, {other: here})))
        for index in indices:
            twin = next((i for i in scope if i.range is index.range and i is not other), None)
            if twin is None:
                continue
            left = tuple(i for i in indices if i is not index)
            swapped = substitute(body, {other: here, index: twin})
            text = words(f"a sum over {other.range.name} stands where one over {index.range.name} belongs"
                         " (the wrong axis) in ", target)  # fmt: skip
            yield Change("extra_sum", text, 2.3, Sum((*left, here), swapped))


def axes_throughout(target: Tensor, scope: tuple[Index, ...], e: Expr) -> Iterator[Change]:
    """All sums or means over one axis taken over another: axis=0 for axis=1 in each."""
    sums = [n for n in walk(e) if isinstance(n, Sum) and len(n.indices) == 1]
    for of in dict.fromkeys(n.indices[0].range for n in sums):
        twin = next((i for i in scope if i.range is of), None)
        for other in (i for i in scope if twin is not None and i.range is not of):
            here = Index(f"{other.name}°", other.range)
            hit = [n for n in sums if n.indices[0].range is of and other in free_indices(n)]
            if len(set(hit)) < 2 or twin is None:
                continue
            for kind, scale in (("sums", ()), ("means", (Size(of), Pow(Size(other.range), MINUS_ONE)))):
                node = e
                for n in set(hit):
                    body = substitute(n.body, {other: here, n.indices[0]: twin})
                    node = replaced(node, n, multiply((*scale, Sum((here,), body))))
                text = words(f"the {kind} over {of.name} are taken over {other.range.name} in ", target)
                yield Change("extra_sum", text, 2.0, node)


def replaced(e: Expr, old: Expr, new: Expr) -> Expr:
    """The formula with every occurrence of a part replaced."""
    if e is old:
        return new
    kids = children(e)
    return rebuild(e, tuple(replaced(k, old, new) for k in kids)) if kids else e
