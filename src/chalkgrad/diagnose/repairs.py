"""Small changes at one place of the user's text, each with the cause that it would cure."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Iterator, Set
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from chalkgrad.diagnose.arrangement import (
    in_condition,
    masked,
    opposite,
    outer_product,
    signs,
    squared,
    turned_round,
)
from chalkgrad.diagnose.at_hand import AtHand, Part, broadcasts, kind_of
from chalkgrad.diagnose.overwritten import LOOPED
from chalkgrad.diagnose.reductions import reductions
from chalkgrad.diagnose.repair import Beside, Repair, after, over_more, times_less, times_more, times_rest
from chalkgrad.diagnose.watched import OPERATIONS, REDUCED, Change, Place, Scope
from chalkgrad.verify.environment import Array

FOREIGN = 0.2
"""What it costs more to have taken a variable for a value that the text has no variable for."""

NUMBERS = int | float | np.number | np.ndarray

LEAST_PART = 1.3
"""No part that is put in costs less: that is a mask."""

MEANS = {"share": ("{text} + {own}", operator.add), "mean": ("{text} - {own}", operator.sub)}
"""What is done with these parts, and with any other both."""

WITH_ONE = (
    ("(1 - {own}) * ({text})", 1.7, times_less),
    ("(1 + {own}) * ({text})", 1.9, times_more),
    ("({text}) / (1 + {own})", 2.0, over_more),
)

FACTORS = (2, 0.5, 3, 1 / 3, 4, 0.25)


Named = Callable[[str, str], tuple[str, float]]
"""The cause when one variable stands for another, and what that costs beside others."""


def repairs(
    number: int, place: Place, above: Place | None, at_hand: AtHand, cause: Named
) -> Iterator[Repair]:
    """The small changes of one place, but for parts that are put in.

    A factor of a product is scaled as well by scaling the product, a summand is extended by extending the
    sum: what the place above does is not done again.
    """
    numbers = above is not None and isinstance(above.value, NUMBERS) and isinstance(place.value, NUMBERS)
    alike = above is not None and numbers and np.shape(above.value) == np.shape(place.value)
    scaled = alike and above is not None and above.kind in ("Mult", "Div", "MatMult")
    added = alike and above is not None and above.kind in ("Add", "Sub")
    text = ast.unparse(place.node)
    whole = place.kind == "FloorDiv" and np.asarray(place.value).dtype.kind != "f"
    if place.kind == "entries" or whole:
        return  # where it writes, and how many there are, is no matter of the formula
    if above is not None and above.kind == "compare" and not np.ndim(above.value):
        yield from in_condition(number, place, text)
        return
    if place.kind in OPERATIONS:
        yield from _operation(number, place)
        if place.kind == "Mult" and above is not None and np.ndim(above.value) == 2:
            yield from outer_product(number, place)
    elif place.kind in REDUCED:
        yield from reductions(number, place)
    elif place.kind == "number":
        for c in FACTORS:
            new = f"{c * place.value:.4g}"
            yield Repair(
                number, "constant_factor", new, 1.5, _constant(c * place.value), alike=f"{text} {new}"
            )
        cost = 2.2 if above is not None and above.kind == "Pow" else 1.3
        yield Repair(number, "sign", f"-{place.value}", cost, _constant(-place.value))
        if abs(place.value) == 1:
            yield from signs(number, place, at_hand)
        return
    elif place.kind == "compare":
        if not np.ndim(place.value):
            return
        yield from opposite(number, place, text)
    elif isinstance(place.node, ast.Call):
        yield from _call(number, place)
    if not isinstance(place.value, NUMBERS):
        return
    value = np.asarray(place.value)
    if text.isidentifier() and (value.ndim or value.dtype.kind == "f"):
        yield from _others(number, place, text, at_hand, cause)
        if value.dtype.kind == "f":
            yield from squared(number, above, text)
            yield from masked(number, place, above, text)
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
        yield Repair(number, "sign", new, cost, after(place, lambda v: -v))
    for c in FACTORS if not scaled and value.dtype.kind == "f" else ():
        yield Repair(
            number, "constant_factor", f"{c:.4g} * ({text})", 1.75, after(place, partial(operator.mul, c))
        )
    if value.ndim == 2:
        turned = ast.unparse(place.node.value) if isinstance(place.node, ast.Attribute) else f"({text}).T"
        yield Repair(number, "transpose", turned, 1.5, after(place, lambda v: v.T))
    if value.ndim == 1 and above is not None and np.ndim(above.value) == 2:
        column = text if text.isidentifier() else f"({text})"
        yield Repair(number, "shape", f"{column}[:, None]", 1.3, after(place, lambda v: v[:, None]))
    yield from turned_round(number, place, value)
    yield from _summed(number, place, text, value)
    if place.above < 0 and place.looped:
        yield from _rounds(number, place, at_hand)
    if value.dtype.kind == "f":
        yield from ones(number, place)


def put_in(
    number: int, place: Place, above: Place | None, at_hand: AtHand,
    shapes: Collection[tuple[int, ...]] = (),
) -> Iterator[Repair]:  # fmt: skip
    """What of the parts at hand may stand beside a place: a factor, a divisor or a summand too few.

    None costs less than `LEAST_PART`. `shapes` are those that a value may grow to.
    """
    if not isinstance(place.value, NUMBERS) or place.kind in ("entries", "number"):
        return
    value = np.asarray(place.value)
    if value.dtype.kind in "iu" or (not value.ndim and value.dtype.kind != "f"):
        return
    compared = above is not None and above.kind == "compare" and not np.ndim(above.value)
    if compared or (place.kind == "compare" and not value.ndim):
        return
    text, node = ast.unparse(place.node), place.node
    kind = above.kind if above is not None and isinstance(above.value, NUMBERS) else ""
    alike = above is not None and np.shape(above.value) == value.shape
    wide = {np.shape(above.value)} if above is not None and isinstance(above.value, np.ndarray) else set()
    under = above.node if above is not None and isinstance(above.node, ast.BinOp) else None
    over = under.left if kind == "Div" and under is not None and ast.unparse(under.right) == text else None
    cancelled = set(_factors(over)) if over is not None else set()  # g * a / (g * b) has a factor too many
    divisor = ast.unparse(node.right) if place.kind == "Div" and isinstance(node, ast.BinOp) else ""
    own, factors = {text, *_operands(place)}, set(_factors(node))
    for part in at_hand.fitting(value.shape, {*wide, *shapes}):
        # What undoes the division is no factor.
        if not part.known(place.scope) or (divisor and (divisor in part.holds or divisor in part.names)):
            continue
        # What grows to the shape of the product or sum above may as well be put in there.
        above_does = alike or not part.stays(value.shape)
        written = f"({part.text})" if " " in part.text else part.text
        scaled = (kind in ("Mult", "Div") and above_does) or (kind == "MatMult" and alike)
        if not scaled and part.kind not in MEANS and written not in cancelled:
            yield from _factor(number, place.kind, part, written, factors)
        if kind in ("Add", "Sub") and above_does:
            continue
        looped = place.above < 0 and place.looped and part.text == place.target  # see `_rounds`
        if not looped and part.text not in own:  # twice itself is a constant factor
            yield from _term(number, place.kind, part, written)


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
        yield Repair(number, "sign", f"-({text})", cost, after(place, lambda v: -v))
        for c in (2, 3):
            twice = 1.45 if c == 2 and text.isidentifier() else 1.75  # H + 2 * pad has one side only
            yield Repair(number, "constant_factor", f"{c} * ({text})", twice,
                         after(place, partial(operator.mul, c)))  # fmt: skip
    if added:
        return
    for c in (1, 2):
        yield Repair(number, "missing_term", f"{text} + {c}", 1.6, after(place, partial(operator.add, c)))
        yield Repair(number, "missing_term", f"{text} - {c}", 1.6, after(place, partial(operator.add, -c)))
    for part in at_hand.parts:
        if part.kind not in ("size", "places") or not part.known(place.scope):
            continue
        if part.kind == "places" and not broadcasts(part.value, place.value):
            continue
        own = f"({part.text})" if " " in part.text else part.text
        for sign, by in (("+", operator.add), ("-", operator.sub)):
            yield Repair(number, "missing_term", f"{text} {sign} {own}", 1.6 + part.cost,
                         Beside(place.kind, part, by))  # fmt: skip
        if part.kind == "size" and not scaled:
            yield Repair(number, "constant_factor", f"{own} * ({text})", 1.5 + part.cost,
                         Beside(place.kind, part, operator.mul))  # fmt: skip


def _operation(number: int, place: Place) -> Iterator[Repair]:
    """Another operation, or one operand alone."""
    assert isinstance(place.node, ast.BinOp)
    left, right = ast.unparse(place.node.left), ast.unparse(place.node.right)
    written = partial(_operated, place.node)
    kinds = [kind_of(v, False) for v in place.operands]
    turned = {"Add": "Sub", "Sub": "Add"}
    if place.kind in turned:
        other = turned[place.kind]
        yield Repair(number, "sign", written(other), 1.0, _operate(other))
        bound = place.kind == "Sub" and np.asarray(place.value).dtype.kind == "i" and not np.ndim(place.value)
        code, cost = (
            ("missing_term", 1.5) if bound else ("wrong_operand", 2.3)
        )  # range(n - 1), or a term too many
        yield Repair(number, code, left, cost, lambda v, s: v[0])
        if place.kind == "Add":
            yield Repair(number, "wrong_operand", right, 2.3, lambda v, s: v[1])
    if place.kind == "FloorDiv":
        yield Repair(number, "wrong_operand", written("Div"), 1.3, _operate("Div"))
    if place.kind in ("Mult", "Div"):
        other = "Div" if place.kind == "Mult" else "Mult"
        yield Repair(number, "wrong_operand", written(other), 2.4, _operate(other))
        twice = place.kind == "Mult" and right in _factors(place.node.left)
        cost = (
            1.35 if twice else {"mask": 1.9, "size": 1.45}.get(kinds[1], 1.6)
        )  # what stands twice is a slip
        yield Repair(number, _extra(place.node.right, kinds[1]), left, cost, lambda v, s: v[0])
        if place.kind == "Mult":
            yield Repair(number, _extra(place.node.left, kinds[0]), right, 1.6, lambda v, s: v[1])
    if place.kind == "Pow" and isinstance(place.node.right, ast.Constant):
        for step in (-1, 1, 0.5, -0.5):
            new = place.operands[1] + step
            code = "extra_factor" if abs(new) < abs(place.operands[1]) else "missing_factor"
            text = _operated(place.node, "Pow", ast.Constant(new))
            yield Repair(number, code, text, 2.0, partial(_power, new))


def _operated(node: ast.BinOp, kind: str, right: ast.expr | None = None) -> str:
    """An operation with another sign, or another right side, in the brackets that it needs."""
    return ast.unparse(ast.BinOp(node.left, getattr(ast, kind)(), right or node.right))


def _factors(node: ast.expr) -> list[str]:
    """The factors of a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [ast.unparse(node)]


def _extra(node: ast.expr, kind: str) -> str:
    """What a factor too many is called."""
    constant = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} <= {"np", "math", "float"}
    return "constant_factor" if constant or kind == "size" else "extra_factor"


def _rounds(number: int, place: Place, at_hand: AtHand) -> Iterator[Repair]:
    """What a variable held before is added to what each round of a loop gives it."""
    for part in at_hand.fitting(np.shape(place.value), ()):
        if part.text == place.target and part.known(place.scope):
            yield Repair(number, "missing_sum", "{own} + {text}", LOOPED,
                         Beside(place.kind, part, operator.add), False, part.text)  # fmt: skip


def _summed(number: int, place: Place, text: str, value: Array) -> Iterator[Repair]:
    """A sum too few."""
    for count in range(1, value.ndim + 1):
        for axes in combinations(range(value.ndim), count):
            axis: Any = axes[0] if count == 1 else axes
            cost = 1.5 + 0.03 * count + (0.3 if kind_of(place.value, False) == "mask" else 0.0)
            new = f"({text}).sum(axis={axis})"
            yield Repair(number, "missing_sum", new, cost, after(place, partial(np.sum, axis=axis)))
            kept = f"({text}).sum(axis={axis}, keepdims=True)"
            yield Repair(
                number, "missing_sum", kept, cost + 0.2,
                after(place, partial(np.sum, axis=axis, keepdims=True)),
            )  # fmt: skip


def _factor(number: int, kind: str, part: Part, own: str, factors: Set[str]) -> Iterator[Repair]:
    """A part by which a place is multiplied or divided, which has these factors if it is a product."""
    times = {"mask": "missing_mask", "size": "constant_factor"}.get(part.kind, "missing_factor")
    base = LEAST_PART if part.kind == "mask" else 1.5
    yield Repair(number, times, "{own} * ({text})", base + part.cost,
                 Beside(kind, part, operator.mul), True, own)  # fmt: skip
    if part.kind == "mask":
        yield Repair(number, "missing_mask", "(1 - {own}) * ({text})", base + 0.3 + part.cost,
                     Beside(kind, part, times_rest), True, own)  # fmt: skip
        return
    # Dividing is what a wrong factor asks for, too: where the derivation explains that, it has the word.
    over, divided = ("sum_for_mean", 1.4) if part.kind == "size" else ("missing_factor", 2.55)
    if over == "missing_factor" and not factors.isdisjoint(part.text.split(" * ")):
        over = "extra_factor"  # W * g * g over g has no divisor forgotten, but a factor too many
    yield Repair(number, over, "({text}) / {own}", divided + part.cost,
                 Beside(kind, part, operator.truediv), True, own)  # fmt: skip
    if part.kind == "array":
        for new, cost, by in WITH_ONE:
            yield Repair(number, "missing_factor", new, cost + part.cost,
                         Beside(kind, part, by), True, own)  # fmt: skip


def _term(number: int, kind: str, part: Part, own: str) -> Iterator[Repair]:
    """A part that is added to a place, or taken away."""
    if part.kind in MEANS:
        new, by = MEANS[part.kind]
        yield Repair(number, "missing_term", new, 1.4 + part.cost,
                     Beside(kind, part, by), False, part.text)  # fmt: skip
    elif part.kind != "mask":
        for new, by in MEANS.values():
            yield Repair(number, "missing_term", new, 1.6 + part.cost,
                         Beside(kind, part, by), False, own)  # fmt: skip


def _operands(place: Place) -> list[str]:
    """What a sum consists of: a term too many is taken away rather than subtracted."""
    node = place.node
    both = [node.left, node.right] if isinstance(node, ast.BinOp) and place.kind in ("Add", "Sub") else []
    return [ast.unparse(n) for n in both]


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
        yield Repair(number, "missing_term", f"1 + {text}", 1.9, after(place, lambda v: 1 + v))
        yield Repair(number, "missing_term", f"1 - ({text})", 1.9, after(place, lambda v: 1 - v))
        yield Repair(number, "missing_term", f"{text} - 1", 1.9, after(place, lambda v: v - 1))


__all__ = ["Repair", "repairs"]


def _operate(kind: str) -> Change:
    return lambda operands, scope: OPERATIONS[kind](*operands)


def _power(exponent: float, operands: list[Any], _scope: Scope) -> Any:
    return operands[0] ** exponent


def _constant(value: float) -> Change:
    return lambda operands, scope: value
