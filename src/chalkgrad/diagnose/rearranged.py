"""Changes of the user's text by which its own words stand in another order, or one index for another.

Brackets at another place, a + b² for (a + b)² or f(a) + b for f(a + b); a loop that begins at 1; the name
of a size, or of a loop's variable, for another's.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from chalkgrad.diagnose.repair import Repair, after
from chalkgrad.diagnose.watched import Change, Place, Scope

INDEX = "__index__"
"""Stands for an array of which nothing but the entries matters."""


class _Entries:
    """Gives the entries that are asked for."""

    def __getitem__(self, entries: Any) -> Any:
        return entries


def rearranged(number: int, place: Place, names: dict[str, Any], looped: Collection[str]) -> Iterator[Repair]:
    """The changes of one place; `looped` are the variables of loops."""
    node = place.node
    if isinstance(node, ast.BinOp) and isinstance(place.value, float | np.floating | np.ndarray):
        for new in _regrouped(node):  # a * b - c lacks a factor of one term rather than brackets
            power = any(isinstance(n, ast.Pow) for n in ast.walk(new))
            yield _rewritten(number, "wrong_operand", new, 1.6 if power else 1.75, names)
        for new in _taken_in(node):
            yield _rewritten(number, "wrong_operand", new, 1.6, names)
    if isinstance(node, ast.Call):
        yield from _bounds(number, place)
        for new in _let_out(node):
            yield _rewritten(number, "wrong_operand", new, 1.6, names)
    if isinstance(node, ast.Name) and _whole(place.value):
        yield from _sizes(number, place, looped)
        if "np" in names:
            root = f"np.sqrt({node.id})"
            yield Repair(number, "constant_factor", root, 1.44, lambda v, _s: np.sqrt(v[0]))
    if isinstance(node, ast.Subscript):
        yield from _subscripts(number, place, names, looped)


def turned_at_the_end(number: int, place: Place) -> Iterator[Repair]:
    """The .T at the end of a line, of which the place is the whole."""
    if place.target and isinstance(place.value, np.ndarray) and place.value.ndim == 2:
        new = f"({ast.unparse(place.node)}).T"
        yield Repair(number, "transpose", new, 1.15, after(place, lambda v: v.T))


def _rewritten(
    number: int, code: str, new: ast.expr, cost: float, names: dict[str, Any], alike: str = ""
) -> Repair:
    """Another expression in place of one."""
    text = ast.unparse(ast.fix_missing_locations(new))
    return Repair(number, code, text, cost, _evaluated(text, names), alike=alike)


def _evaluated(text: str, names: dict[str, Any]) -> Change:
    """What an expression gives where it stands."""
    code = compile(text, "<rearranged>", "eval")

    def change(_operands: list[Any], scope: Scope) -> Any:
        return eval(code, names, {**scope, INDEX: _Entries()})

    return change


# --- brackets --------------------------------------------------------------------------------------


def _regrouped(node: ast.BinOp) -> Iterator[ast.expr]:
    """(a ∘ b) • c for a ∘ (b • c), and the other way round, but for what is the same."""
    same = (ast.Add, ast.Mult)
    match node.left:
        case ast.BinOp(one, inner, two) if not (isinstance(inner, same) and type(inner) is type(node.op)):
            yield ast.BinOp(one, inner, ast.BinOp(two, node.op, node.right))
    match node.right:
        case ast.BinOp(one, inner, two) if not (isinstance(inner, same) and type(inner) is type(node.op)):
            yield ast.BinOp(ast.BinOp(node.left, node.op, one), inner, two)


def _taken_in(node: ast.BinOp) -> Iterator[ast.expr]:
    """f(a ∘ b) for f(a) ∘ b."""
    match node.left:
        case ast.Call(function, [ast.expr() as argument], keywords) if _elementwise(function):
            yield ast.Call(function, [ast.BinOp(argument, node.op, node.right)], keywords)


def _let_out(node: ast.Call) -> Iterator[ast.expr]:
    """f(a) ∘ b for f(a ∘ b)."""
    match node:
        case ast.Call(function, [ast.BinOp(left, op, right)], keywords) if _elementwise(function):
            yield ast.BinOp(ast.Call(function, [left], keywords), op, right)


def _elementwise(function: ast.expr) -> bool:
    """Whether a function is one of NumPy's that sums nothing."""
    return ast.unparse(function) in ("np.sqrt", "np.exp", "np.log", "np.tanh", "np.abs", "np.square")


# --- indices ---------------------------------------------------------------------------------------


def _bounds(number: int, place: Place) -> Iterator[Repair]:
    """A loop that begins at 0, or at 1."""
    match place.node, place.value:
        case ast.Call(ast.Name("range"), [_, stop]), range():
            new = f"range({ast.unparse(stop)})"
            yield Repair(number, "missing_term", new, 1.4, lambda v, _s: range(v[0].stop))
        case ast.Call(ast.Name("range"), [stop]), range():
            new = f"range(1, {ast.unparse(stop)})"
            yield Repair(number, "missing_term", new, 1.7, lambda v, _s: range(1, v[0].stop))


def _sizes(number: int, place: Place, looped: Collection[str]) -> Iterator[Repair]:
    """The name of another size, throughout a line if need be."""
    text = ast.unparse(place.node)
    for other in _others(text, place.scope, looped):
        yield Repair(
            number, "wrong_operand", other, 1.46, _named(other), alike=f"{place.statement} {text} {other}"
        )


def _named(name: str) -> Change:
    return lambda _operands, scope: scope[name]


def _others(name: str, scope: Scope, looped: Collection[str]) -> list[str]:
    """Whole numbers that may be meant instead: a size for a size, a loop's variable for that of a loop."""
    fits = (n for n, v in scope.items() if n != name and _whole(v) and (n in looped) == (name in looped))
    return [n for n in fits if n in looped or scope[n] != scope[name]]


def _subscripts(
    number: int, place: Place, names: dict[str, Any], looped: Collection[str]
) -> Iterator[Repair]:
    """Other indices of an array: one name for another, two exchanged, a stride too few."""
    assert isinstance(place.node, ast.Subscript)
    stored = place.kind == "entries"
    entries = place.node.slice
    read = [n for n in ast.walk(entries) if isinstance(n, ast.Name) and _whole(place.scope.get(n.id))]
    found = {n.id for n in read}

    def changed(code: str, cost: float, put: Callable[[ast.Name], ast.expr | None]) -> Repair:
        other = _Named(put).visit(copy.deepcopy(entries))
        whole = ast.Subscript(place.node.value, other, ast.Load())  # type: ignore[attr-defined]
        text = ast.unparse(ast.fix_missing_locations(whole))
        if not stored:
            return Repair(number, code, text, cost, _evaluated(text, names))
        index = ast.Subscript(ast.Name(INDEX, ast.Load()), other, ast.Load())
        return Repair(number, code, text, cost, _evaluated(ast.unparse(index), names))

    for place_of, name in enumerate(read):
        for other in _others(name.id, place.scope, looped):
            cost = 1.41 if other in looped else 1.44
            yield changed("wrong_operand", cost, _nth(place_of, found, other))
    for padded in () if stored else _padded(place):
        whole = ast.Subscript(ast.Name(padded, ast.Load()), entries, ast.Load())
        yield _rewritten(number, "wrong_operand", whole, 1.3, names)
    for one, two in ((a, b) for a in sorted(found) for b in sorted(found) if a < b):
        if (one in looped) == (two in looped):
            yield changed("transpose", 1.3, partial(_swapped, {one: two, two: one}))
    if any(isinstance(n, ast.Slice) for n in ast.walk(entries)):
        for size in (n for n, v in place.scope.items() if _whole(v) and n not in looped):
            yield changed("constant_factor", 1.28, _times(size, _within(entries, looped)))


def _padded(place: Place) -> Iterator[str]:
    """Arrays of as many axes and another size than the one of which entries are read: x_pad for x."""
    assert isinstance(place.node, ast.Subscript)
    own = place.node.value
    here = place.scope.get(own.id) if isinstance(own, ast.Name) else None
    arrays = {n: v for n, v in place.scope.items() if isinstance(v, np.ndarray)}
    if isinstance(here, np.ndarray) and here.ndim > 1:
        yield from (n for n, v in arrays.items() if v.ndim == here.ndim and v.shape != here.shape)


def _swapped(names: Mapping[str, str], node: ast.Name) -> ast.expr:
    return ast.Name(names.get(node.id, node.id), ast.Load())


def _nth(which: int, names: Collection[str], other: str) -> Callable[[ast.Name], ast.expr | None]:
    """Another name for one of several."""
    seen = [0]

    def put(node: ast.Name) -> ast.expr | None:
        if node.id not in names:
            return None
        seen[0] += 1
        return ast.Name(other, ast.Load()) if seen[0] == which + 1 else None

    return put


def _within(entries: ast.expr, looped: Collection[str]) -> set[str]:
    """The variables of loops at which slices begin."""
    slices = [n for n in ast.walk(entries) if isinstance(n, ast.Slice)]
    return {m.id for s in slices for m in ast.walk(s) if isinstance(m, ast.Name) and m.id in looped}


def _times(size: str, names: Collection[str]) -> Callable[[ast.Name], ast.expr | None]:
    def put(node: ast.Name) -> ast.expr | None:
        here = ast.Name(node.id, ast.Load())
        return ast.BinOp(here, ast.Mult(), ast.Name(size, ast.Load())) if node.id in names else None

    return put


def _whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


class _Named(ast.NodeTransformer):
    """Puts other expressions in place of names."""

    def __init__(self, put: Callable[[ast.Name], ast.expr | None]) -> None:
        self.put = put

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.put(node) or node
