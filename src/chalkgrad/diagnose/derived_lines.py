"""A false line about dL/dv beside the derivation's own line: which part of it was left out or changed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.claims import Claim, Judge, compare
from chalkgrad.diagnose.hypotheses import hypotheses
from chalkgrad.diagnose.words import Words
from chalkgrad.diff import derive
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Access, Expr, Index, Program, Tensor
from chalkgrad.expr.ops import substitute, tensors_in
from chalkgrad.expr.text import text as written

LIKELY = 2.6
"""Hypotheses that cost more explain too much by chance."""


@lru_cache(16)
def _derived(program: Program) -> Derived | None:
    try:
        return derive(program, given=True)
    except ChalkgradError:
        return None


def derived_cause(claim: Claim, judge: Judge) -> tuple[str, str, str] | None:
    """(cause, words, the right line) if one changed place of the derivation gives what is claimed."""
    target, derived = _target(claim), _derived(judge.program)
    if target is None or derived is None:
        return None
    found = [
        (cost, code, str(words), line) for cost, code, words, line in _matching(claim, target, derived, judge)
    ]
    if not found:
        return None
    _, code, words, line = min(found, key=lambda f: f[0])
    return code, words, line


def _target(claim: Claim) -> Tensor | None:
    """v.adjoint for a claim about dL/dv[i, ...] with an index of its own on each axis."""
    left = claim.left
    if not isinstance(left, Access) or left.tensor.role != "adjoint" or left.indices != claim.indices:
        return None
    return left.tensor if len(set(left.indices)) == len(left.indices) else None


def _known(body: Expr, judge: Judge) -> bool:
    """Whether a line reads only values that the text has; the derivation may have made more."""
    own = set(judge.program.tensors())
    return {t for t in tensors_in(body) if t.role != "adjoint"} <= own and {
        t for t in tensors_in(body) if t.role == "adjoint"
    } <= {t.adjoint for t in own}


def _line(claim: Claim, indices: tuple[Index, ...], body: Expr) -> str:
    """The body as a line of the text, in the claim's letters."""
    renamed = substitute(body, dict(zip(indices, claim.indices, strict=True)))
    return f"{claim.text[: claim.tree.right.start].rstrip()} {written(renamed)}"


def _matching(
    claim: Claim, target: Tensor, derived: Derived, judge: Judge
) -> Iterator[tuple[float, str, Words | str, str]]:
    addends, edits = hypotheses(derived)
    for a in addends:
        own = a.target is target and not a.whole and _known(a.expected.body, judge)
        if own and _gives(claim, a.expected.indices, a.without, judge):
            yield a.cost, a.code, a.text, _line(claim, a.expected.indices, a.expected.body)
    for e in edits:
        own = e.target is target and len(e.bodies) == 1 and e.cost <= LIKELY
        if (
            own
            and _known(e.expected.body, judge)
            and _gives(claim, e.expected.indices, e.bodies[0][1], judge)
        ):
            yield e.cost, e.code, e.text, _line(claim, e.expected.indices, e.expected.body)


def _gives(claim: Claim, indices: tuple[Index, ...], body: Expr, judge: Judge) -> bool:
    """Whether a changed line has the claimed values at every point."""
    if not _known(body, judge):
        return False
    for point in judge.points():
        try:
            with np.errstate(all="ignore"):
                found = point.value(body, indices)
        except (ChalkgradError, KeyError, ValueError):
            return False
        claimed = point.value(claim.right, claim.indices)
        if not claimed.any():
            return False  # much vanishes: zero says nothing of where it came from
        if found.shape != claimed.shape or not compare(claimed, found, claim).holds:
            return False
    return True
