"""Small changes at one place of the user's text, each with the cause that it would cure."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from chalkgrad.diagnose.at_hand import AtHand, Part, broadcasts, kind_of
from chalkgrad.diagnose.watched import OPERATIONS, Change, Place, Scope, reduction

OPPOSITE = {"Lt": ">=", "LtE": ">", "Gt": "<=", "GtE": "<", "Eq": "!=", "NotEq": "=="}
OVERWRITTEN = 0.95
"""What = for += in a loop costs: where adding is right, nothing else is meant."""
FOREIGN = 0.2
"""What it costs more to have taken a variable for a value that the text has no variable for."""

FACTORS = (2, 0.5, 3, 1 / 3, 4, 0.25)


class Repair(NamedTuple):
    """One change of one place.

    Attributes:
        place: Its number.
        code: The cause that it cures.
        new: The text that belongs there; with `own`, a pattern for that and the text that stands there.
        cost: How unlikely it is.
        change: The change itself.
        factor: Whether it scales the whole.
        own: The text of the part that comes in.
        alike: What it is besides its place, for a slip that may have been made throughout.
    """

    place: int
    code: str
    new: str
    cost: float
    change: Change
    factor: bool = False
    own: str = ""
    alike: str = ""

    def written(self, text: str) -> str:
        """What belongs where a text stands."""
        return self.new.format(text=text, own=self.own) if self.own else self.new


Named = Callable[[str, str], tuple[str, float]]
"""The cause when one variable stands for another, and what that costs beside others."""


def repairs(
    number: int, place: Place, above: Place | None, at_hand: AtHand, cause: Named,
    shapes: Collection[tuple[int, ...]] = (),
) -> Iterator[Repair]:  # fmt: skip
    """All small changes of one place.

    A factor of a product is scaled as well by scaling the product, a summand is extended by extending the
    sum: what the place above does is not done again. `shapes` are those that a value may grow to.
    """
    alike = above is not None and np.shape(above.value) == np.shape(place.value)
    scaled = alike and above is not None and above.kind in ("Mult", "Div", "MatMult")
    added = alike and above is not None and above.kind in ("Add", "Sub")
    text = ast.unparse(place.node)
    if above is not None and above.kind == "compare" and not np.ndim(above.value):
        return  # which way the text goes is no matter of the formula
    if place.kind in OPERATIONS:
        yield from _operation(number, place)
        if place.kind == "Mult" and above is not None and np.ndim(above.value) == 2:
            yield from _column(number, place)
    elif place.kind in ("sum", "mean"):
        yield from _reduction(number, place)
    elif place.kind == "number":
        for c in FACTORS:
            new = f"{c * place.value:.4g}"
            yield Repair(
                number, "constant_factor", new, 1.5, _constant(c * place.value), alike=f"{text} {new}"
            )
        cost = 2.2 if above is not None and above.kind == "Pow" else 1.3
        yield Repair(number, "sign", f"-{place.value}", cost, _constant(-place.value))
        if abs(place.value) == 1:
            yield from _signs(number, place, at_hand)
        return
    elif place.kind == "compare":
        if not np.ndim(place.value):
            return
        yield from _turned(number, place, text)
    elif isinstance(place.node, ast.Call):
        yield from _call(number, place)
    if not isinstance(place.value, int | float | np.number | np.ndarray):
        return
    value = np.asarray(place.value)
    if text.isidentifier() and (value.ndim or value.dtype.kind == "f"):
        yield from _others(number, place, text, at_hand, cause)
        if value.dtype.kind == "f":
            yield from _squared(number, above, text)
    if value.dtype.kind in "iu":
        yield from _whole(number, place, text, at_hand, scaled, added)
        return
    if value.dtype.kind != "f" and not value.ndim:
        return
    if not scaled and value.dtype.kind == "f":
        compared = above is not None and above.kind == "compare"
        alone = text.isidentifier() and above is None and place.target  # nobody forgets the minus of z = -x
        cost = 1.6 if compared or alone else 1.15 if text.isidentifier() else 1.0
        node = place.node
        minus = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
        new = ast.unparse(node.operand) if minus and isinstance(node, ast.UnaryOp) else f"-({text})"
        yield Repair(number, "sign", new, cost, _after(place, lambda v: -v))
    for c in FACTORS if not scaled and value.dtype.kind == "f" else ():
        yield Repair(
            number, "constant_factor", f"{c:.4g} * ({text})", 1.75, _after(place, partial(operator.mul, c))
        )
    if value.ndim == 2:
        turned = ast.unparse(place.node.value) if isinstance(place.node, ast.Attribute) else f"({text}).T"
        yield Repair(number, "transpose", turned, 1.5, _after(place, lambda v: v.T))
    if value.ndim == 1 and above is not None and np.ndim(above.value) == 2:
        column = text if text.isidentifier() else f"({text})"
        yield Repair(number, "transpose", f"{column}[:, None]", 1.3, _after(place, lambda v: v[:, None]))
    yield from _turned_round(number, place, value)
    wide = {np.shape(above.value)} if above is not None and isinstance(above.value, np.ndarray) else set()
    yield from (
        r for r in _missing(number, place, text, at_hand, {*wide, *shapes})
        if not (scaled and r.factor) and not (added and r.code == "missing_term")
    )  # fmt: skip
    if value.dtype.kind == "f":
        yield from ones(number, place)


def _column(number: int, place: Place) -> Iterator[Repair]:
    """The outer product of two vectors where they are multiplied entry by entry."""
    assert isinstance(place.node, ast.BinOp)
    if all(np.ndim(v) == 1 for v in place.operands):
        new = f"np.outer({ast.unparse(place.node.left)}, {ast.unparse(place.node.right)})"
        yield Repair(number, "transpose", new, 1.5, lambda v, scope: np.outer(v[0], v[1]))


def _signs(number: int, place: Place, at_hand: AtHand) -> Iterator[Repair]:
    """The sign of a variable in place of 1."""
    for part in at_hand.parts:
        if part.kind == "array" and part.single and part.known(place.scope):
            change = partial(_sign, part.read)
            yield Repair(number, "sign", f"np.sign({part.text})", 1.35 + part.cost, change)


def _sign(read: Callable[[Scope], Any], _operands: list[Any], scope: Scope) -> Any:
    return np.sign(read(scope))


def _turned_round(number: int, place: Place, value: Any) -> Iterator[Repair]:
    """A kernel the other way round: correlation for convolution."""
    node, text = place.node, ast.unparse(place.node)
    steps = node.slice.elts if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple) else []
    back = [n for n, s in enumerate(steps) if isinstance(s, ast.Slice) and s.step is not None
            and ast.unparse(s) == "::-1"]  # fmt: skip
    if back and isinstance(node, ast.Subscript) and len(steps) == value.ndim:
        kept = ", ".join(":" if n in back else ast.unparse(s) for n, s in enumerate(steps))
        new = f"{ast.unparse(node.value)}[{kept}]"
        yield Repair(number, "wrong_operand", new, 1.4, _after(place, partial(np.flip, axis=tuple(back))))
    elif isinstance(node, ast.Name) and value.ndim > 2:
        for count in range(1, value.ndim - 1):
            axes = tuple(range(value.ndim - count, value.ndim))
            new = f"{text}[..., {', '.join(['::-1'] * count)}]"
            yield Repair(number, "wrong_operand", new, 1.9, _after(place, partial(np.flip, axis=axes)))


def _turned(number: int, place: Place, text: str) -> Iterator[Repair]:
    """The opposite condition."""
    node = place.node
    simple = isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]).__name__ in OPPOSITE
    new = f"~({text})"
    if simple and isinstance(node, ast.Compare):
        sign = OPPOSITE[type(node.ops[0]).__name__]
        new = f"{ast.unparse(node.left)} {sign} {ast.unparse(node.comparators[0])}"
    yield Repair(number, "wrong_operand", new, 1.5, lambda v, scope: ~v[0])


def _squared(number: int, above: Place | None, text: str) -> Iterator[Repair]:
    """A divisor's square: what multiplies a divisor is no factor of the product that it stands in."""
    node = above.node if above is not None and above.kind == "Div" else None
    if isinstance(node, ast.BinOp) and ast.unparse(node.right) == text:
        yield Repair(number, "missing_factor", f"{text} ** 2", 1.6, lambda v, scope: v[0] ** 2)


def _call(number: int, place: Place) -> Iterator[Repair]:
    """The argument itself in place of what a function makes of it."""
    node = place.node
    assert isinstance(node, ast.Call)
    if len(place.operands) != 2 or np.shape(place.operands[1]) != np.shape(place.value):
        return
    everywhere = np.asarray(place.operands[1]).dtype.kind == "b" and bool(np.all(place.value))
    code, cost = ("missing_mask", 1.3) if everywhere else ("preactivation", 2.2)
    yield Repair(number, code, ast.unparse(node.args[0]), cost, lambda v, scope: v[1])


def _whole(
    number: int, place: Place, text: str, at_hand: AtHand, scaled: bool, added: bool
) -> Iterator[Repair]:
    """Changes of whole numbers: of sizes and places."""
    if not scaled:
        cost = 1.2 if np.ndim(place.value) or place.kind in OPERATIONS else 2.5  # a size has no sign
        yield Repair(number, "sign", f"-({text})", cost, _after(place, lambda v: -v))
        for c in (2, 3):
            yield Repair(number, "constant_factor", f"{c} * ({text})", 1.75,
                         _after(place, partial(operator.mul, c)))  # fmt: skip
    if added:
        return
    for c in (1, 2):
        yield Repair(number, "missing_term", f"{text} + {c}", 1.6, _after(place, partial(operator.add, c)))
        yield Repair(number, "missing_term", f"{text} - {c}", 1.6, _after(place, partial(operator.add, -c)))
    for part in at_hand.parts:
        if part.kind not in ("size", "places") or not part.known(place.scope):
            continue
        if part.kind == "places" and not broadcasts(part.value, place.value):
            continue
        own = f"({part.text})" if " " in part.text else part.text
        for sign, by in (("+", operator.add), ("-", operator.sub)):
            yield Repair(number, "missing_term", f"{text} {sign} {own}", 1.6 + part.cost,
                         _beside(place.kind, part, by))  # fmt: skip
        if part.kind == "size" and not scaled:
            yield Repair(number, "constant_factor", f"{own} * ({text})", 1.5 + part.cost,
                         _beside(place.kind, part, operator.mul))  # fmt: skip


def _beside(kind: str, part: Part, by: Callable[[Any, Any], Any]) -> Change:
    """What a place gives, put together with a part."""
    read = part.read
    return lambda v, scope: by(given(kind, v), read(scope))


def _after(place: Place, function: Callable[[Any], Any]) -> Change:
    """A change of what the place gives as it is."""
    kind = place.kind

    def change(operands: list[Any], _scope: Scope) -> Any:
        return function(given(kind, operands))

    return change


def given(kind: str, operands: list[Any]) -> Any:
    """What a place gives with its operands."""
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


def _constant(value: float) -> Change:
    return lambda operands, scope: value


def _operation(number: int, place: Place) -> Iterator[Repair]:
    """Another operation, or one operand alone."""
    assert isinstance(place.node, ast.BinOp)
    left, right = ast.unparse(place.node.left), ast.unparse(place.node.right)
    kinds = [kind_of(v, False) for v in place.operands]
    turned = {"Add": ("Sub", "-"), "Sub": ("Add", "+")}
    if place.kind in turned:
        other, sign = turned[place.kind]
        yield Repair(number, "sign", f"{left} {sign} {right}", 1.0, _operate(other))
        yield Repair(number, "wrong_operand", left, 2.3, lambda v, s: v[0])  # a term too many
        if place.kind == "Add":
            yield Repair(number, "wrong_operand", right, 2.3, lambda v, s: v[1])
    if place.kind in ("Mult", "Div"):
        other, sign = ("Div", "/") if place.kind == "Mult" else ("Mult", "*")
        yield Repair(number, "wrong_operand", f"{left} {sign} {right}", 2.4, _operate(other))
        twice = place.kind == "Mult" and right in _factors(place.node.left)
        cost = 1.35 if twice else 1.6 if kinds[1] != "mask" else 1.9  # what stands twice is a slip
        yield Repair(number, _extra(place.node.right, kinds[1]), left, cost, lambda v, s: v[0])
        if place.kind == "Mult":
            yield Repair(number, _extra(place.node.left, kinds[0]), right, 1.6, lambda v, s: v[1])
    if place.kind == "Pow" and isinstance(place.node.right, ast.Constant):
        for step in (-1, 1, 0.5, -0.5):
            new = place.operands[1] + step
            code = "extra_factor" if abs(new) < abs(place.operands[1]) else "missing_factor"
            yield Repair(number, code, f"{left} ** {new}", 2.0, partial(_power, new))


def _factors(node: ast.expr) -> list[str]:
    """The factors of a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [ast.unparse(node)]


def _extra(node: ast.expr, kind: str) -> str:
    """What a factor too many is called."""
    constant = not any(isinstance(n, ast.Name) for n in ast.walk(node))
    return "constant_factor" if constant or kind == "size" else "extra_factor"


def _reduction(number: int, place: Place) -> Iterator[Repair]:
    """A sum left out, over other axes, or in place of a mean."""
    assert isinstance(place.node, ast.Call)
    parts = reduction(place.node)
    assert parts is not None
    operand = ast.unparse(parts[0])
    whole = operand if isinstance(parts[0], ast.Name | ast.Call | ast.Subscript) else f"({operand})"
    given = place.operands[1].get("axis")
    for axes in _more_axes(given, np.ndim(place.operands[0])):
        change = partial(_reduce, place.kind, {"axis": axes})
        where = ", ".join(
            [f"axis={axes}", *(f"{k.arg}={ast.unparse(k.value)}" for k in parts[1] if k.arg != "axis")]
        )
        yield Repair(number, "missing_sum", f"{whole}.{place.kind}({where})", 1.45, change,
                     alike=f"{place.kind}({given}) {axes}")  # fmt: skip
    other, code = ("mean", "sum_for_mean") if place.kind == "sum" else ("sum", "mean_for_sum")
    how = ", ".join(f"{k.arg}={ast.unparse(k.value)}" for k in parts[1])
    yield Repair(number, code, f"{whole}.{other}({how})", 1.2, partial(_reduce, other, {}), alike=other)
    yield Repair(number, "extra_sum", operand, 1.5, lambda v, s: v[0])
    for axis in range(np.ndim(place.operands[0])):
        for kept in (False, True):
            change = partial(_reduce, place.kind, {"axis": axis, "keepdims": kept})
            where = f"axis={axis}{', keepdims=True' if kept else ''}"
            new = f"{whole}.{place.kind}({where})"
            alike = f"{place.kind}({place.operands[1]}) {where}"
            same = len(parts[1]) > 0 and kept == bool(place.operands[1].get("keepdims"))
            cost = 1.45 if same else 1.85 if kept else 1.8
            yield Repair(number, "extra_sum", new, cost, change, alike=alike)


def _more_axes(given: Any, count: int) -> Iterator[tuple[int, ...]]:
    """The axes that are given and some more."""
    own = {int(a) % count for a in ((given,) if isinstance(given, int) else given or ())}
    rest = [a for a in range(count) if a not in own]
    for more in range(1, len(rest) + 1 if own else 0):
        yield from (tuple(sorted((*own, *some))) for some in combinations(rest, more))


def _missing(
    number: int, place: Place, text: str, at_hand: AtHand, wide: Collection[tuple[int, ...]]
) -> Iterator[Repair]:
    """A factor, a divisor, a summand or a sum too few."""
    shape = np.shape(place.value)
    for count in range(1, len(shape) + 1):
        for axes in combinations(range(len(shape)), count):
            axis: Any = axes[0] if count == 1 else axes
            cost = 1.5 + 0.03 * count + (0.3 if kind_of(place.value, False) == "mask" else 0.0)
            new = f"({text}).sum(axis={axis})"
            yield Repair(number, "missing_sum", new, cost, _after(place, partial(np.sum, axis=axis)))
            kept = f"({text}).sum(axis={axis}, keepdims=True)"
            yield Repair(
                number, "missing_sum", kept, cost + 0.2,
                _after(place, partial(np.sum, axis=axis, keepdims=True)),
            )  # fmt: skip
    for part in at_hand.fitting(shape, wide):
        if part.known(place.scope):
            yield from _with(number, place, text, part)


def _with(number: int, place: Place, text: str, part: Part) -> Iterator[Repair]:
    kind, read, own = place.kind, part.read, f"({part.text})" if " " in part.text else part.text
    times = {"mask": "missing_mask", "size": "constant_factor"}.get(part.kind, "missing_factor")
    base = 1.3 if part.kind == "mask" else 1.5
    if (
        place.kind == "Div"
        and isinstance(place.node, ast.BinOp)
        and ast.unparse(place.node.right) in part.holds | part.names
    ):
        return  # it would undo the division
    yield Repair(number, times, "{own} * ({text})", base + part.cost,
                 lambda v, s: given(kind, v) * read(s), True, own)  # fmt: skip
    if part.kind == "mask":
        yield Repair(number, "missing_mask", "(1 - {own}) * ({text})", base + 0.3 + part.cost,
                     lambda v, s: given(kind, v) * (1.0 - read(s)), True, own)  # fmt: skip
        return
    # Dividing is what a wrong factor asks for, too: where the derivation explains that, it has the word.
    over, divided = ("sum_for_mean", 1.4) if part.kind == "size" else ("missing_factor", 2.55)
    if over == "missing_factor" and set(part.text.split(" * ")) & set(_factors(place.node)):
        over = "extra_factor"  # W * g * g over g has no divisor forgotten, but a factor too many
    yield Repair(number, over, "({text}) / {own}", divided + part.cost,
                 lambda v, s: given(kind, v) / read(s), True, own)  # fmt: skip
    if part.kind == "array":
        for sign, cost in (("-", 1.7), ("+", 1.9)):
            yield Repair(number, "missing_factor", f"(1 {sign} {{own}}) * ({{text}})", cost + part.cost,
                         partial(_by_one, kind, read, sign, False), True, own)  # fmt: skip
        yield Repair(number, "missing_factor", "({text}) / (1 + {own})", 2.0 + part.cost,
                     partial(_by_one, kind, read, "+", True), True, own)  # fmt: skip
    if part.text == place.target and place.above < 0 and place.looped:
        yield Repair(number, "missing_sum", "{own} + {text}", OVERWRITTEN,
                     _beside(kind, part, operator.add), False, own)  # fmt: skip
    elif part.text not in (text, *_operands(place)):  # twice itself is a constant factor
        for sign, by in (("+", operator.add), ("-", operator.sub)):
            yield Repair(number, "missing_term", f"{{text}} {sign} {{own}}", 1.6 + part.cost,
                         _beside(kind, part, by), False, own)  # fmt: skip


def _operands(place: Place) -> list[str]:
    """What a sum consists of: a term too many is taken away rather than subtracted."""
    node = place.node
    both = [node.left, node.right] if isinstance(node, ast.BinOp) and place.kind in ("Add", "Sub") else []
    return [ast.unparse(n) for n in both]


def _by_one(
    kind: str, read: Callable[[Scope], Any], sign: str, under: bool, operands: list[Any], scope: Scope
) -> Any:
    """A value times, or over, 1 and a part."""
    factor = 1 + read(scope) if sign == "+" else 1 - read(scope)
    value = given(kind, operands)
    return value / factor if under else value * factor


def _others(number: int, place: Place, text: str, at_hand: AtHand, cause: Named) -> Iterator[Repair]:
    """Another variable of the same shape."""
    for part in at_hand.parts:
        if part.text == text or not part.known(place.scope) or not part.single:
            continue
        if part.of and part.of in (text, place.target if place.above < 0 else ""):
            continue  # that a variable should hold what it should hold says nothing
        if np.shape(part.value) == np.shape(place.value) and (np.ndim(part.value) or part.kind == "scalar"):
            code, more = cause(text, part.text)
            far = 0.0 if part.text in place.scope else FOREIGN
            yield Repair(
                number, code, part.text, 1.48 + part.cost + more + far, partial(_instead, part.read),
                alike=f"{text} {part.text}",
            )  # fmt: skip


def _instead(read: Callable[[Scope], Any], _operands: list[Any], scope: Scope) -> Any:
    return read(scope)


def ones(number: int, place: Place) -> Iterator[Repair]:
    """1 added to, or taken from, an expression: (1 - y) for y."""
    text = ast.unparse(place.node)
    if np.asarray(place.value).dtype.kind == "f":
        yield Repair(number, "missing_term", f"1 + {text}", 1.9, _after(place, lambda v: 1 + v))
        yield Repair(number, "missing_term", f"1 - {text}", 1.9, _after(place, lambda v: 1 - v))
        yield Repair(number, "missing_term", f"{text} - 1", 1.9, _after(place, lambda v: v - 1))


__all__ = ["Repair", "repairs"]
