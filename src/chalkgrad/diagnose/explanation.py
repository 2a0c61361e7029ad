"""Causes, what they cost beside others, and the causes that a ratio of two gradients consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.hypotheses import Edit
from chalkgrad.diagnose.ratios import Ratio
from chalkgrad.diagnose.words import Words
from chalkgrad.expr.nodes import Const, Definition, Expr, Pow, Size, Sum
from chalkgrad.expr.ops import walk

ODD = 3.2
"""What a ratio costs that is an odd number and something else besides."""

PAIR = 0.6
"""What a second cause costs beside the costs of both."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause with its words, the line that holds, and the user's line before and after, where known.

    Where it is `given`, the right value was put in for a wrong one, which would explain anything. Words that
    say what should stand there have `bare` ones beside them, which say no more than where it is wrong.
    """

    code: str
    text: Words | str
    expected: Definition
    yours: str = ""
    fix: str = ""
    given: bool = False
    bare: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One or two causes that give the numbers that were returned."""

    cost: float
    reasons: tuple[Reason, ...]
    edits: tuple[Edit, ...] = ()


def reasons_of(derived: Derived, ratio: Ratio, term: Expr, line: Definition, name: str) -> tuple[Reason, ...]:
    """The causes that a ratio consists of: a sign, sums for means, a constant."""
    if ratio.zero:
        return (Reason("missing_path", f"{name} is 0 everywhere", line),)
    found: list[Reason] = []
    if ratio.sign < 0:
        found.append(Reason("sign", f"{name} has the opposite sign", line))
    size_text = f"{name} is {ratio.text.lstrip('-')} times what it should be"
    bodies = [term, *_behind(derived, term)]
    for r in dict.fromkeys(ratio.over):
        mean = any(divides(b, r) for b in (*bodies, line.body))
        code = "sum_for_mean" if mean else "constant_factor"
        why = f"; the 1/{r.name} of the mean is missing" if mean else ""
        found.append(Reason(code, f"{size_text}{why}", line))
    for r in dict.fromkeys(ratio.under):
        summed = any(_sums(b, r) for b in bodies)
        code = "mean_for_sum" if summed and not any(divides(b, r) for b in bodies) else "constant_factor"
        why = f"; a mean over {r.name} stands where a sum belongs" if code == "mean_for_sum" else ""
        found.append(Reason(code, f"{size_text}{why}", line))
    odd = not (ratio.over or ratio.under) and not (ratio.constant == 1.0 and ratio.text in ("1", "-1"))
    if ratio.constant != 1.0 or odd:
        found.append(Reason("constant_factor", size_text, line))
    codes: dict[str, Reason] = {}
    for reason in found:
        codes.setdefault(reason.code, reason)
    return tuple(codes.values())


def _behind(derived: Derived, term: Expr) -> list[Expr]:
    """Formulas of the scalar adjoints that a term reads, where a mean's 1/N may stand."""
    tensors = {n for e in walk(term) for n in ([e.tensor] if hasattr(e, "tensor") else [])}
    return [d.body for d in derived.staged.definitions if d.target in tensors]


def ratio_cost(ratio: Ratio, reasons: Sequence[Reason]) -> float:
    code = reasons[0].code
    base = {"sign": 1.0, "sum_for_mean": 1.25, "mean_for_sum": 1.25}.get(code, 1.75 if ratio.plain else 2.45)
    if len(reasons) > 1 and not ratio.plain:
        base = ODD  # any number may be called a sign and a number
    return base + PAIR * (len(reasons) - 1) + (0.5 if len(reasons) > 1 else 0.0)


def divides(e: Expr, of: object) -> bool:
    """Whether the formula divides by the range's size."""
    return any(
        isinstance(n, Pow) and isinstance(n.base, Size) and n.base.range is of
        and isinstance(n.exponent, Const) and n.exponent.value < 0
        for n in walk(e)
    )  # fmt: skip


def _sums(e: Expr, of: object) -> bool:
    return any(isinstance(n, Sum) and any(i.range is of for i in n.indices) for n in walk(e))
