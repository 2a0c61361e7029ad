"""Changes of the user's text for slips of arrangement: a column, a sign, a kernel turned round."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from chalkgrad.diagnose.at_hand import AtHand
from chalkgrad.diagnose.repair import Repair, after
from chalkgrad.diagnose.watched import Place, Scope

OPPOSITE = {"Lt": ">=", "LtE": ">", "Gt": "<=", "GtE": "<", "Eq": "!=", "NotEq": "=="}
TURNED = {"Lt": ">", "LtE": ">=", "Gt": "<", "GtE": "<="}
"""The sign the other way round: nobody means the opposite at 0 of what is meant elsewhere."""


def outer_product(number: int, place: Place) -> Iterator[Repair]:
    """The outer product of two vectors where they are multiplied entry by entry."""
    assert isinstance(place.node, ast.BinOp)
    if all(np.ndim(v) == 1 for v in place.operands):
        new = f"np.outer({ast.unparse(place.node.left)}, {ast.unparse(place.node.right)})"
        yield Repair(number, "transpose", new, 1.5, lambda v, scope: np.outer(v[0], v[1]))


def signs(number: int, place: Place, at_hand: AtHand) -> Iterator[Repair]:
    """The sign of a variable in place of 1."""
    for part in at_hand.parts:
        if part.kind == "array" and part.single and part.known(place.scope):
            change = partial(_sign, part.read)
            yield Repair(number, "sign", f"np.sign({part.text})", 1.35 + part.cost, change)


def _sign(read: Callable[[Scope], Any], _operands: list[Any], scope: Scope) -> Any:
    return np.sign(read(scope))


def turned_round(number: int, place: Place, value: Any) -> Iterator[Repair]:
    """A kernel the other way round: correlation for convolution."""
    node, text = place.node, ast.unparse(place.node)
    steps = node.slice.elts if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) else []
    back = [n for n, s in enumerate(steps) if isinstance(s, ast.Slice) and s.step is not None
            and ast.unparse(s) == "::-1"]  # fmt: skip
    if back and isinstance(node, ast.Subscript) and len(steps) == value.ndim:
        kept = ", ".join(":" if n in back else ast.unparse(s) for n, s in enumerate(steps))
        new = f"{ast.unparse(node.value)}[{kept}]"
        yield Repair(number, "wrong_operand", new, 1.4, after(place, partial(np.flip, axis=tuple(back))))
    elif isinstance(node, ast.Name) and value.ndim > 2:
        for count in range(1, value.ndim - 1):
            axes = tuple(range(value.ndim - count, value.ndim))
            new = f"{text}[..., {', '.join(['::-1'] * count)}]"
            yield Repair(number, "wrong_operand", new, 1.9, after(place, partial(np.flip, axis=axes)))


def opposite(number: int, place: Place, text: str) -> Iterator[Repair]:
    """The opposite condition."""
    node = place.node
    simple = isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]).__name__ in OPPOSITE
    new = f"~({text})"
    if simple and isinstance(node, ast.Compare):
        kind = type(node.ops[0]).__name__
        zero = isinstance(node.comparators[0], ast.Constant)
        sign = TURNED[kind] if zero and kind in TURNED else OPPOSITE[kind]
        new = f"{ast.unparse(node.left)} {sign} {ast.unparse(node.comparators[0])}"
    yield Repair(number, "wrong_operand", new, 1.5, lambda v, scope: ~v[0])


def squared(number: int, above: Place | None, text: str) -> Iterator[Repair]:
    """A divisor's square: what multiplies a divisor is no factor of the product that it stands in."""
    node = above.node if above is not None and above.kind == "Div" else None
    if isinstance(node, ast.BinOp) and ast.unparse(node.right) == text:
        yield Repair(number, "missing_factor", f"{text} ** 2", 1.5, lambda v, scope: v[0] ** 2)


def masked(number: int, place: Place, above: Place | None, text: str) -> Iterator[Repair]:
    """The condition that a factor is positive, for the factor itself: da * (a > 0) for da * a."""
    if above is not None and above.kind == "Mult" and np.ndim(place.value):
        yield Repair(number, "extra_factor", f"{text} > 0", 1.6, after(place, lambda v: v > 0))


def in_condition(number: int, place: Place, text: str) -> Iterator[Repair]:
    """Another number in the condition of an `if`: one that the text has, or one more or less."""
    if not isinstance(place.value, float | np.floating) or isinstance(place.node, ast.Constant):
        return
    for name, value in place.scope.items():
        if name != text and isinstance(value, float | np.floating):
            yield Repair(number, "wrong_operand", name, 1.4, partial(_named, name))
    for by in (1, -1):
        new = f"{text} {'+' if by > 0 else '-'} 1"
        yield Repair(number, "missing_term", new, 1.5, after(place, partial(operator.add, by)))


def _named(name: str, _operands: list[Any], scope: Scope) -> Any:
    return scope[name]
