"""Index equations: Σ_h 1(u = s·h + p) f(h), as convolution, pooling and slices make them.

    solve-index    Σ_h 1(u = s h + p) f(h)
                     =  1((u − p) mod s = 0) 1(0 ≤ (u − p)/s < |H|) f((u − p)/s)

The divisibility guard (for |s| > 1) and the bounds are part of the solution, always: without the
first, the backward of a strided pooling reads entries that were never pooled. A guard that the sizes
prove is not written.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from chalkgrad.expr.cost import elements
from chalkgrad.expr.linear import holds_always
from chalkgrad.expr.nodes import ZERO, Access, Add, Apply, Const, Expr, Index, Indicator, Mul, Size
from chalkgrad.expr.ops import free_indices, substitute
from chalkgrad.expr.text import text
from chalkgrad.rules.polynomial import Monomial, Powers, expand, monomial, worked_out


@dataclass(frozen=True, slots=True)
class Solution:
    """An index equation solved for one bound index."""

    indicator: Indicator
    index: Index
    value: Expr
    guards: tuple[Indicator, ...]

    @property
    def because(self) -> str:
        """The solution in words, with its conditions."""
        letter = self.index.name.split("#")[0]
        solved = f"{letter} = {_plain(self.value)}"
        return f"the equation has the one solution {solved}, if that is whole and in range"


def _plain(e: Expr) -> str:
    """The text without the marks of dummies."""
    written = text(e)
    return "".join(part if n == 0 else part.lstrip("0123456789") for n, part in enumerate(written.split("#")))


def solve_indices(m: Monomial, bare: bool = False) -> tuple[Monomial | None, list[Solution]]:
    """Every sum over an index that an affine equation determines, collapsed with its guards.

    With `bare`, only where the sizes prove every guard.
    """
    used: list[Solution] = []
    current: Monomial | None = m
    while current is not None:
        candidates = [
            s
            for a, p in current.powers
            if p > 0
            for s in _solutions(a, current)
            if not bare or all(map(holds_always, s.guards))
        ]
        if not candidates:
            break
        best = max(candidates, key=partial(_preference, m=current))
        used.append(best)
        current = _apply(current, best)
    return current, used


def _solutions(atom: Expr, m: Monomial) -> list[Solution]:
    if not isinstance(atom, Indicator) or atom.op != "==":
        return []
    difference = Add((atom.left, Mul((Const(Fraction(-1)), atom.right))))
    if not all(_is_integer(side) for side in (atom.left, atom.right)):
        return []
    found = []
    for index in m.bound:
        slope = _slope(difference, index)
        if slope is not None and slope != 0:
            found.append(_solution(atom, difference, index, slope))
    return found


def _is_integer(e: Expr) -> bool:
    """Whether the expression is made of indices, sizes and whole numbers alone."""
    match e:
        case Index() | Size():
            return True
        case Const(value):
            return not isinstance(value, float) and value.denominator == 1
        case Add(terms):
            return all(map(_is_integer, terms))
        case Mul(factors):
            return all(map(_is_integer, factors))
        case Access(tensor, _):
            return tensor.dtype == "int"
        case Apply("floordiv" | "mod", args):
            return all(map(_is_integer, args))
    return False


def _slope(e: Expr, index: Index) -> Fraction | None:
    """The whole coefficient of the index in an expression that is affine in it."""
    total = Fraction(0)
    for part in expand(e):
        inside = [(a, p) for a, p in part.powers if index in free_indices(a)]
        if not inside:
            continue
        if inside != [(index, Fraction(1))] or len(part.powers) != 1:
            return None
        total += part.coeff
    return total


def _solution(atom: Indicator, difference: Expr, index: Index, slope: Fraction) -> Solution:
    # difference = slope · index + rest = 0, so index = −rest / slope
    rest = substitute(difference, {index: ZERO})
    sign = Fraction(-1 if slope > 0 else 1)
    top = worked_out(Mul((Const(sign), rest)))
    step = Const(abs(slope))
    if abs(slope) == 1:
        value, guards = top, []
    else:
        value = Apply("floordiv", (top, step))
        guards = [Indicator("==", ZERO, Apply("mod", (top, step)))]
    bounds = [Indicator(">=", top, ZERO), Indicator("<", value, Size(index.range))]
    return Solution(atom, index, value, tuple(guards + bounds))


def _preference(s: Solution, m: Monomial) -> tuple[bool, bool, float, str]:
    """Solve without a divisibility guard where one can; then for positions in the upstream gradient,
    which leaves the textbook's sum over the kernel; then for the longer range."""
    upstream = any(
        isinstance(a, Access) and a.tensor.role == "adjoint" and s.index in free_indices(a)
        for a, _ in m.powers
    )
    return (len(s.guards) == 2, upstream, elements([s.index]), s.index.name.split("#")[0])


def _apply(m: Monomial, s: Solution) -> Monomial | None:
    powers: Powers = {}
    for atom, power in m.powers:
        if atom is not s.indicator:
            new = substitute(atom, {s.index: s.value})
            if isinstance(new, Add) and _is_integer(new):
                new = worked_out(new)
            powers[new] = powers.get(new, Fraction(0)) + power
    powers |= {guard: Fraction(1) for guard in s.guards}
    # What the sizes prove need not be asked: 1 − e is a place of an axis of two.
    powers = {a: p for a, p in powers.items() if not (isinstance(a, Indicator) and holds_always(a))}
    return monomial(m.coeff, tuple(i for i in m.bound if i is not s.index), powers)
