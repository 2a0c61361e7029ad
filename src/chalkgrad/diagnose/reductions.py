"""Changes of a sum or a mean of the user's text: left out, over other axes, one for the other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.watched import Place, Scope, reduction


def reductions(number: int, place: Place) -> Iterator[Repair]:
    """A sum left out, over other axes, or in place of a mean."""
    assert isinstance(place.node, ast.Call)
    parts = reduction(place.node)
    assert parts is not None
    operand = ast.unparse(parts[0])
    whole = operand if isinstance(parts[0], ast.Name | ast.Call | ast.Subscript) else f"({operand})"
    given = place.operands[1].get("axis")
    if place.kind in ("max", "min"):
        yield from _extremes(number, place, whole)
        return
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


def _extremes(number: int, place: Place, whole: str) -> Iterator[Repair]:
    """The largest or smallest entry along other axes."""
    count = np.ndim(place.operands[0])
    for axes in (a for many in range(1, count + 1) for a in combinations(range(count), many)):
        for kept in (False, True):
            how = {"axis": axes if len(axes) > 1 else axes[0], "keepdims": kept}
            shown = f"axis={how['axis']}{', keepdims=True' if kept else ''}"
            yield Repair(number, "wrong_operand", f"{whole}.{place.kind}({shown})", 1.4 + 0.03 * len(axes),
                         partial(_reduce, place.kind, how))  # fmt: skip


def _more_axes(given: Any, count: int) -> Iterator[tuple[int, ...]]:
    """The axes that are given and some more."""
    own = {int(a) % count for a in ((given,) if isinstance(given, int) else given or ())}
    rest = [a for a in range(count) if a not in own]
    for more in range(1, len(rest) + 1 if own else 0):
        yield from (tuple(sorted((*own, *some))) for some in combinations(rest, more))


def _reduce(kind: str, more: dict[str, Any], operands: list[Any], _scope: Scope) -> Any:
    return getattr(np, kind)(operands[0], **{**operands[1], **more})
