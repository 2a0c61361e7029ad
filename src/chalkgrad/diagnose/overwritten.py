"""Entries that are set where something had to be added to them: `df[rows, y] = -1` for `-= 1`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from chalkgrad.diagnose.repair import Repair, given
from chalkgrad.diagnose.watched import Place, Scope

SLIP = 1.35
"""How unlikely it is."""

LOOPED = 0.95
"""How unlikely in a loop: where adding is right there, nothing else is meant."""


def overwritten(number: int, place: Place, names: Mapping[str, Any]) -> Iterator[Repair]:
    """What the entries held before is kept, and what is written is added or taken away.

    Args:
        number: The place's number.
        place: An expression that is written into entries of an array.
        names: The globals that the text sees.
    """
    if not place.stored:
        return
    node, text = place.node, ast.unparse(place.node)
    seen, code = dict(names), compile(place.stored, "<entries>", "eval")
    minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    rest = ast.unparse(node.operand) if minus and isinstance(node, ast.UnaryOp) else text
    cause, cost = ("missing_sum", LOOPED) if place.looped else ("missing_term", SLIP)

    def added(sign: float) -> Any:
        return lambda operands, scope: _held(code, seen, scope) + sign * given(place.kind, operands)

    plus = f"{place.stored} - {rest}" if minus else f"{place.stored} + {text}"
    yield Repair(number, cause, plus, cost, added(1.0))
    if not minus:
        yield Repair(number, cause, f"{place.stored} - {text}", cost + 0.2, added(-1.0))


def _held(code: Any, names: Mapping[str, Any], scope: Scope) -> Any:
    return eval(code, dict(names), dict(scope))
