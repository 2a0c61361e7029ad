"""Edits of a false line that put in what a part of it lacks: a constant, a size, an indicator, a value."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from chalkgrad.diagnose.claims import Claim, Judge
from chalkgrad.diagnose.edits import group, replaced, shown, walk_syntax, with_right
from chalkgrad.diagnose.graph import Graph
from chalkgrad.expr.nodes import Tensor
from chalkgrad.expr.syntax import Entry, Number, Syntax, Terms

CONSTANTS = ("2", "3", "4")

Edit = tuple[str, str, str]
"""An edited line, why the written one is wrong, and the cause."""


def scaled_terms(claim: Claim, judge: Judge) -> Iterator[Edit]:
    """One term of a sum times a constant or a size, or divided by it."""
    sizes = [r.name for r in judge.program.ranges()]
    for term in _terms(claim):
        written = shown(claim.text, term)
        for name in sizes:
            why = f"the factor 1/{name} is missing in the term {written}"
            yield _times(claim, term, f"size({name})", divides=True), why, "sum_for_mean"
            why = f"the factor {name} is missing in the term {written}"
            yield _times(claim, term, f"size({name})"), why, "mean_for_sum"
        for number in CONSTANTS:
            why = f"the factor {number} is missing in the term {written}"
            yield _times(claim, term, number), why, "constant_factor"
            why = f"the term {written} is {number} times too large"
            yield _times(claim, term, number, divides=True), why, "constant_factor"


def missing_values(claim: Claim, judge: Judge) -> Iterator[Edit]:
    """The whole or one term of it times a value, or divided by one."""
    graph = Graph(judge.program, (), (), ())
    for part in (claim.tree.right, *_terms(claim)):
        where = "" if part is claim.tree.right else f" in the term {shown(claim.text, part)}"
        read = {n.name for n in walk_syntax(part) if isinstance(n, Entry)}
        for tensor, value in _values(claim, judge):
            yield _times(claim, part, value), f"the factor {value} is missing{where}", "missing_factor"
            # relu(f)/f is a mask, and nobody forgot to divide.
            if not any(graph.activates(tensor, t) for t in judge.program.tensors() if t.name in read):
                why = f"the division by {value} is missing{where}"
                yield _times(claim, part, value, divides=True), why, "missing_factor"


def missing_indicators(claim: Claim) -> Iterator[Edit]:
    """1(j == k) in place of a 1: p (1 - p) for p (1(j == k) - p)."""
    ones = [n for n in walk_syntax(claim.tree.right) if isinstance(n, Number) and shown(claim.text, n) == "1"]
    for one, other in combinations(claim.indices, 2):
        if one.range is other.range:
            written = f"1({one.name} == {other.name})"
            for node in ones:
                yield replaced(claim.text, node, written), f"1 should be {written}", "missing_mask"


def _terms(claim: Claim) -> list[Syntax]:
    return [t for n in walk_syntax(claim.tree.right) if isinstance(n, Terms) for _, t in n.terms]


def _times(claim: Claim, part: Syntax, factor: str, *, divides: bool = False) -> str:
    """The line with one part multiplied or divided."""
    text = shown(claim.text, part)
    new = f"{group(text) if _loose(part) else text} {'/' if divides else '*'} {factor}"
    return with_right(claim, new) if part is claim.tree.right else replaced(claim.text, part, new)


def _loose(part: Syntax) -> bool:
    return isinstance(part, Terms)


def _values(claim: Claim, judge: Judge) -> Iterator[tuple[Tensor, str]]:
    """Arrays and gradients at the line's own indices, where their axes leave no choice."""
    for tensor in judge.program.tensors():
        if tensor.dtype == "int" or tensor.role == "parameter":
            continue
        at = _at(claim, tensor)
        if at is not None:
            yield tensor, f"{tensor.name}{at}"
            if tensor.dtype == "float":
                yield tensor, f"dL/d{tensor.name}{at}"


def _at(claim: Claim, tensor: Tensor) -> str | None:
    """[i,d], with the line's letters; None where there is no letter for an axis, or more than one."""
    letters = []
    for axis in tensor.axes:
        fits = [i.name for i in claim.indices if i.range is axis and i.name not in letters]
        if len(fits) != 1:
            return None
        letters.append(fits[0])
    return f"[{','.join(letters)}]" if letters else None
