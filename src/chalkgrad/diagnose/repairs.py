"""Small changes at one place of the user's text, each with the cause that it would cure."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from chalkgrad.diagnose.watched import OPERATIONS, Change, Place, Scope, Watched

FACTORS = (2, 0.5, 3, 1 / 3, 4, 0.25)


@dataclass(frozen=True, slots=True)
class Repair:
    """One change of one place.

    Attributes:
        place: Its number.
        code: The cause that it cures.
        new: The text that belongs there.
        cost: How unlikely it is.
        change: The change itself.
        factor: Whether it scales the whole.
    """

    place: int
    code: str
    new: str
    cost: float
    change: Change
    factor: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A value that the user's text has at hand: a variable, or an expression that it computes elsewhere."""

    text: str
    read: Callable[[Scope], Any]
    kind: str
    cost: float


Named = Callable[[str, str], str]
"""The cause when one variable stands for another."""


def parts(watched: Watched, sizes: Mapping[str, Any]) -> list[Part]:
    """All values at hand, variables first."""
    found: dict[str, Part] = {}
    scalars: list[str] = []
    for name, value in watched.left.items():
        kind = _kind(value, name in sizes)
        if kind:
            found[name] = Part(name, _reader(name, watched), kind, 0.0)
            if kind in ("size", "scalar"):
                scalars.append(name)
    for place in watched.places:
        text = ast.unparse(place.node)
        kind = _kind(place.value, False)
        if kind and text not in found and len(text) < 80 and place.kind != "number":
            found[text] = Part(text, _reader(text, watched), kind, 0.15)
    sizes_here = [n for n in scalars if found[n].kind == "size"]
    for count in (2, 3, 4):
        for some in combinations(sizes_here, count):
            text = " * ".join(some)
            found.setdefault(text, Part(text, _reader(text, watched), "size", 0.1 * count))
            for one in (n for n in scalars if n not in sizes_here):  # dL / (N * K)
                over = f"{one} / ({text})"
                found.setdefault(over, Part(over, _reader(over, watched), "scalar", 0.3))
    for one, two in combinations(scalars, 2):
        for text in (f"{one} * {two}", f"{one} / {two}", f"{two} / {one}"):
            found.setdefault(text, Part(text, _reader(text, watched), "scalar", 0.3))
    return _distinct(found.values(), watched.left)


def _distinct(found: Iterable[Part], scope: Scope) -> list[Part]:
    """Those that hold other values than the ones before, as far as all variables are known."""
    kept, seen = [], set()
    for part in found:
        try:
            array = np.asarray(part.read(scope))
            key = (array.shape, array.tobytes())
        except Exception:  # noqa: BLE001 (what cannot be had at the end may be had before)
            kept.append(part)
            continue
        if key not in seen or part.text.isidentifier():
            kept.append(part)
        seen.add(key)
    return kept


def _kind(value: Any, size: bool) -> str:
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number | np.ndarray):
        return ""
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return "mask"
    if array.dtype.kind in "iu":
        return "size" if array.ndim == 0 else ""
    if array.ndim == 0:
        return "size" if size else "scalar"
    return "mask" if bool(np.isin(array, (0.0, 1.0)).all()) else "array"


def _reader(text: str, watched: Watched) -> Callable[[Scope], Any]:
    if text.isidentifier():
        return lambda scope: scope[text]
    code = compile(text, "<part>", "eval")
    return lambda scope: eval(code, watched.names, dict(scope))


def repairs(
    number: int, place: Place, above: Place | None, at_hand: list[Part], cause: Named
) -> Iterator[Repair]:
    """All small changes of one place.

    A factor of a product is scaled as well by scaling the product, a summand is extended by extending the
    sum: what the place above does is not done again.
    """
    alike = above is not None and np.shape(above.value) == np.shape(place.value)
    scaled = alike and above is not None and above.kind in ("Mult", "Div", "MatMult")
    added = alike and above is not None and above.kind in ("Add", "Sub")
    text = ast.unparse(place.node)
    if place.kind in OPERATIONS:
        yield from _operation(number, place)
    elif place.kind in ("sum", "mean"):
        yield from _reduction(number, place)
    elif place.kind == "number":
        for c in FACTORS:
            yield Repair(number, "constant_factor", f"{c * place.value:.4g}", 1.5, _constant(c * place.value))
        return
    elif place.kind == "compare":
        yield Repair(number, "wrong_operand", f"~({text})", 2.0, lambda v, scope: ~v[0])
        return
    if not isinstance(place.value, int | float | np.number | np.ndarray):
        return
    value = np.asarray(place.value)
    if value.dtype.kind != "f":
        if text.isidentifier() and value.ndim:
            yield from _others(number, place, text, at_hand, cause)
        return
    if not scaled:
        yield Repair(number, "sign", f"-({text})", 1.0, _after(place, lambda v: -v))
    for c in FACTORS if not scaled else ():
        yield Repair(
            number, "constant_factor", f"{c:.4g} * ({text})", 1.75, _after(place, partial(operator.mul, c))
        )
    if value.ndim == 2:
        yield Repair(number, "transpose", f"({text}).T", 1.5, _after(place, lambda v: v.T))
    wide = np.shape(above.value) if above is not None else ()
    yield from (
        r for r in _missing(number, place, text, at_hand, wide)
        if not (scaled and r.factor) and not (added and r.code == "missing_term")
    )  # fmt: skip
    if text.isidentifier():
        yield from _others(number, place, text, at_hand, cause)


def _after(place: Place, function: Callable[[Any], Any]) -> Change:
    """A change of what the place gives as it is."""
    kind = place.kind

    def change(operands: list[Any], _scope: Scope) -> Any:
        return function(_given(kind, operands))

    return change


def _given(kind: str, operands: list[Any]) -> Any:
    if kind in OPERATIONS:
        return OPERATIONS[kind](*operands)
    if kind in ("sum", "mean"):
        return getattr(np, kind)(operands[0], **operands[1])
    return operands[0]


def _operate(kind: str) -> Change:
    return lambda operands, scope: OPERATIONS[kind](*operands)


def _power(exponent: float, operands: list[Any], _scope: Scope) -> Any:
    return operands[0] ** exponent


def _reduce(kind: str, more: dict[str, Any], operands: list[Any], _scope: Scope) -> Any:
    return getattr(np, kind)(operands[0], **{**operands[1], **more})


def _named(name: str, _operands: list[Any], scope: Scope) -> Any:
    return scope[name]


def _constant(value: float) -> Change:
    return lambda operands, scope: value


def _operation(number: int, place: Place) -> Iterator[Repair]:
    """Another operation, or one operand alone."""
    assert isinstance(place.node, ast.BinOp)
    left, right = ast.unparse(place.node.left), ast.unparse(place.node.right)
    kinds = [_kind(v, False) for v in place.operands]
    turned = {"Add": ("Sub", "-"), "Sub": ("Add", "+")}
    if place.kind in turned:
        other, sign = turned[place.kind]
        yield Repair(number, "sign", f"{left} {sign} {right}", 1.0, _operate(other))
    if place.kind in ("Mult", "Div"):
        other, sign = ("Div", "/") if place.kind == "Mult" else ("Mult", "*")
        yield Repair(number, "wrong_operand", f"{left} {sign} {right}", 2.4, _operate(other))
        yield Repair(number, _extra(place.node.right, kinds[1]), left, 1.6, lambda v, s: v[0])
        if place.kind == "Mult":
            yield Repair(number, _extra(place.node.left, kinds[0]), right, 1.6, lambda v, s: v[1])
    if place.kind == "Pow" and isinstance(place.node.right, ast.Constant):
        for step in (-1, 1, 0.5, -0.5):
            new = place.operands[1] + step
            code = "extra_factor" if abs(new) < abs(place.operands[1]) else "missing_factor"
            yield Repair(number, code, f"{left} ** {new}", 2.0, partial(_power, new))


def _extra(node: ast.expr, kind: str) -> str:
    """What a factor too many is called."""
    constant = not any(isinstance(n, ast.Name) for n in ast.walk(node))
    return "constant_factor" if constant or kind == "size" else "extra_factor"


def _reduction(number: int, place: Place) -> Iterator[Repair]:
    """A sum left out, over other axes, or in place of a mean."""
    assert isinstance(place.node, ast.Call)
    operand = ast.unparse(place.node.func.value if isinstance(place.node.func, ast.Attribute) and not
                          place.node.args else place.node.args[0])  # fmt: skip
    other, code = ("mean", "sum_for_mean") if place.kind == "sum" else ("sum", "mean_for_sum")
    how = ", ".join(f"{k.arg}={ast.unparse(k.value)}" for k in place.node.keywords)
    yield Repair(number, code, f"({operand}).{other}({how})", 1.2, partial(_reduce, other, {}))
    yield Repair(number, "extra_sum", operand, 1.5, lambda v, s: v[0])
    for axis in range(np.ndim(place.operands[0])):
        change = partial(_reduce, place.kind, {"axis": axis})
        yield Repair(number, "extra_sum", f"{operand}.{place.kind}(axis={axis})", 1.8, change)


def _missing(
    number: int, place: Place, text: str, at_hand: list[Part], wide: tuple[int, ...]
) -> Iterator[Repair]:
    """A factor, a divisor, a summand or a sum too few."""
    shape = np.shape(place.value)
    for axis in range(len(shape)):
        new = f"({text}).sum(axis={axis})"
        yield Repair(number, "missing_sum", new, 1.5, _after(place, partial(np.sum, axis=axis)))
        kept = f"({text}).sum(axis={axis}, keepdims=True)"
        yield Repair(
            number, "missing_sum", kept, 1.7, _after(place, partial(np.sum, axis=axis, keepdims=True))
        )
    for part in at_hand:
        try:
            value = part.read(place.scope)
            fits = np.broadcast_shapes(np.shape(value), shape) in (shape, wide)
        except Exception:  # noqa: BLE001 (a variable that does not exist yet at this place)
            continue
        if not fits:
            continue
        yield from _with(number, place, text, part)


def _with(number: int, place: Place, text: str, part: Part) -> Iterator[Repair]:
    kind, read, own = place.kind, part.read, f"({part.text})" if " " in part.text else part.text
    times = {"mask": "missing_mask", "size": "constant_factor"}.get(part.kind, "missing_factor")
    over = {"size": "sum_for_mean"}.get(part.kind, "missing_factor")
    base = 1.3 if part.kind == "mask" else 1.5
    yield Repair(
        number, times, f"{own} * ({text})", base + part.cost, lambda v, s: _given(kind, v) * read(s), True
    )
    if part.kind == "mask":
        yield Repair(number, "missing_mask", f"(1 - {own}) * ({text})", base + 0.3 + part.cost,
                     lambda v, s: _given(kind, v) * (1.0 - read(s)), True)  # fmt: skip
        return
    # Dividing is what a wrong factor asks for, too: where the derivation explains that, it has the word.
    divided = 1.4 if part.kind == "size" else 2.55
    yield Repair(
        number, over, f"({text}) / {own}", divided + part.cost, lambda v, s: _given(kind, v) / read(s), True
    )
    yield Repair(
        number, "missing_term", f"{text} + {own}", 1.6 + part.cost, lambda v, s: _given(kind, v) + read(s)
    )
    yield Repair(
        number, "missing_term", f"{text} - {own}", 1.6 + part.cost, lambda v, s: _given(kind, v) - read(s)
    )


def _others(number: int, place: Place, text: str, at_hand: list[Part], cause: Named) -> Iterator[Repair]:
    """Another variable of the same shape."""
    for part in at_hand:
        value = place.scope.get(part.text)
        if part.text != text and value is not None and np.shape(value) == np.shape(place.value):
            if np.ndim(value) == 0:
                continue
            code = cause(text, part.text)
            yield Repair(number, code, part.text, 1.48, partial(_named, part.text))


def ones(number: int, place: Place) -> Iterator[Repair]:
    """1 added to, or taken from, an expression: (1 - y) for y."""
    text = ast.unparse(place.node)
    if np.asarray(place.value).dtype.kind == "f":
        yield Repair(number, "missing_term", f"1 + {text}", 1.9, _after(place, lambda v: 1 + v))
        yield Repair(number, "missing_term", f"1 - {text}", 1.9, _after(place, lambda v: 1 - v))
        yield Repair(number, "missing_term", f"{text} - 1", 1.9, _after(place, lambda v: v - 1))


__all__ = ["Part", "Repair", "parts", "repairs"]
