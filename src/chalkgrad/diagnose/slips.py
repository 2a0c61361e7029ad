"""Changes of a whole call, of the entries that a line writes, and of a line as such.

What belongs there is written as text and evaluated as such: branches exchanged, rows chosen one by one,
axes brought to their place before an array is given another shape, a line left out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from chalkgrad.diagnose.at_hand import kind_of
from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.watched import Change, Place, Scope

IMAGES = range(3, 6)
"""Numbers of axes among which one is forgotten where it stands."""


def slips(number: int, place: Place, names: Mapping[str, Any]) -> Iterator[Repair]:
    """The changes of one place.

    Args:
        number: Its number.
        place: An expression.
        names: The globals that the text sees.
    """
    node = place.node
    if place.kind == "entries":
        yield from _row_by_row(number, place)
    elif place.augments:
        yield from _left_out(number, place)
    if isinstance(node, ast.Call):
        for code, text, cost in (*_branches(node), *_reshaped(node, place)):
            yield Repair(number, code, text, cost, _written(text, names))
    elif isinstance(node, ast.Subscript):
        for text in _all_for_one(node, place):
            yield Repair(number, "missing_sum", text, 1.45, _written(text, names))
    elif (
        isinstance(node, ast.Name)
        and kind_of(place.value, False) == "mask"
        and (place.value.dtype.kind == "b")
    ):
        yield Repair(number, "wrong_operand", f"~{node.id}", 1.5, lambda v, scope: ~v[0])


def _written(text: str, names: Mapping[str, Any]) -> Change:
    """What a text gives with the variables at that time."""
    code, seen = compile(text, "<slip>", "eval"), dict(names)
    return lambda operands, scope: eval(code, seen, dict(scope))


def _branches(node: ast.Call) -> Iterator[tuple[str, str, float]]:
    """np.where(c, b, a) for np.where(c, a, b)."""
    if ast.unparse(node.func) == "np.where" and len(node.args) == 3:
        condition, yes, no = map(ast.unparse, node.args)
        yield "wrong_operand", f"np.where({condition}, {no}, {yes})", 1.45


def _all_for_one(node: ast.Subscript, place: Place) -> Iterator[str]:
    """dout.sum(axis=0) for dout[0] or dout[-1]."""
    index = node.slice.operand if isinstance(node.slice, ast.UnaryOp) else node.slice
    whole = place.operands[0] if place.operands else None
    if isinstance(index, ast.Constant) and type(index.value) is int and isinstance(whole, np.ndarray):
        base = ast.unparse(node.value)
        yield f"{base if isinstance(node.value, ast.Name | ast.Attribute) else f'({base})'}.sum(axis=0)"


def _reshaped(node: ast.Call, place: Place) -> Iterator[tuple[str, str, float]]:
    """An axis brought to the end before a reshape, or back from there after it."""
    if not (isinstance(node.func, ast.Attribute) and node.func.attr == "reshape"):
        return
    if not isinstance(place.value, np.ndarray):
        return
    whole, whose = [ast.unparse(a) for a in node.args], ast.unparse(node.func.value)
    for count in IMAGES:  # nothing is known of what the array was: another number of axes raises
        for order in _moves(count):
            before = f"{whose}.transpose{order}.reshape({', '.join(whole)})"
            yield "transpose", before, 1.4
            if place.value.ndim == count == len(whole):
                back = tuple(int(n) for n in np.argsort(order))
                inner = ", ".join(whole[n] for n in order)
                yield "transpose", f"{whose}.reshape({inner}).transpose{back}", 1.4


def _moves(count: int) -> list[tuple[int, ...]]:
    """The axis of the channels at the end instead of second, and first."""
    channel = (0, *range(2, count), 1)
    return [channel, (1, 0, *range(2, count)), (1, *range(2, count), 0)]


def _row_by_row(number: int, place: Place) -> Iterator[Repair]:
    """dx[np.arange(len(y)), y] for dx[:, y], which takes all rows with all labels."""
    node, value = place.node, place.value
    steps = node.slice.elts if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) else []
    if not isinstance(value, tuple) or len(steps) != len(value):
        return
    whole = [n for n, v in enumerate(value) if isinstance(v, slice) and v == slice(None)]
    labels = [n for n, v in enumerate(value) if isinstance(v, np.ndarray) and v.dtype.kind in "iu"]
    if len(whole) != 1 or len(labels) != 1 or value[labels[0]].ndim != 1:
        return
    (at,), (by,) = whole, labels
    rows = f"np.arange(len({ast.unparse(steps[by])}))"
    written = ", ".join(rows if n == at else ast.unparse(s) for n, s in enumerate(steps))

    def change(operands: list[Any], _scope: Scope) -> Any:
        entries = operands[0]
        return tuple(np.arange(len(entries[by])) if n == at else e for n, e in enumerate(entries))

    assert isinstance(node, ast.Subscript)
    yield Repair(number, "missing_mask", f"{ast.unparse(node.value)}[{written}]", 1.2, change)


NEUTRAL = {"Mult": 1, "Div": 1, "Add": 0, "Sub": 0}


def _left_out(number: int, place: Place) -> Iterator[Repair]:
    """A line such as dW /= N left out."""
    if place.augments not in NEUTRAL:
        return
    nothing = NEUTRAL[place.augments]
    constant = not any(isinstance(n, ast.Name) for n in ast.walk(place.node))
    size = kind_of(place.value, False) == "size"
    if not nothing:
        code, cost = "wrong_operand", 2.3
    else:
        code, cost = ("constant_factor", 1.2) if constant or size else ("extra_factor", 1.6)
    yield Repair(number, code, str(nothing), cost, _steady(nothing))


def _steady(value: float) -> Callable[[list[Any], Scope], Any]:
    return lambda operands, scope: value
