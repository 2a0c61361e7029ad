"""The local derivative of one definition: d c[...] / d t[...], worked out rule by rule."""

from __future__ import annotations

from chalkgrad.derivation import Step
from chalkgrad.expr.nodes import Access, Definition, Expr, Partial
from chalkgrad.expr.ops import canonical
from chalkgrad.rules.calculus import (
    ENTRIES,
    LINEAR,
    NONLINEAR,
    CalculusRule,
    Context,
    apply_rules,
    check_resolved,
    unfold,
)
from chalkgrad.rules.contraction import settle

PASSES = (
    (LINEAR, "term by term; the rest is constant"),
    (NONLINEAR[:1], "product rule"),
    (NONLINEAR[1:], ""),
)
"""The tables in the order in which they are tried, with the reason shown where a rule gives none."""


def local_derivative(definition: Definition, node: Partial) -> tuple[Expr, list[Step]]:
    """The derivative of one definition's value by one tensor, with every line that leads to it."""
    assert isinstance(node.body, Access)
    opened = unfold(node, definition.body, definition.indices)
    steps = [Step(node, opened, "definition", f"the definition of {definition.target.name}")]
    context = Context(opened.body, node.body)
    current: Expr = opened
    while True:
        start = current
        for table, fallback in PASSES:
            current = _apply(current, table, context, fallback, steps)
        if current is start:
            break
    current = _apply(current, ENTRIES, context, "", steps)
    check_resolved(current)
    return _collapse(current, steps), steps


def _apply(
    current: Expr, table: tuple[CalculusRule, ...], context: Context, fallback: str, steps: list[Step]
) -> Expr:
    """One table applied throughout, as one line."""
    new, used = apply_rules(current, table, context)
    if new is current:
        return current
    names = " and ".join(dict.fromkeys(name for name, _ in used))
    reasons = "; ".join(dict.fromkeys(reason for _, reason in used if reason)) or fallback
    steps.append(Step(current, new, names, reasons))
    return new


def _collapse(current: Expr, steps: list[Step]) -> Expr:
    """Indicators under sums collapsed, then arithmetic."""
    new, used = settle(current)
    if used:
        because = "; ".join(dict.fromkeys(c.because for c in used))
        steps.append(Step(current, new, "contract-indicator", because))
    elif canonical(new) is not canonical(current):
        steps.append(Step(current, new, "arithmetic", "tidied", minor=True))
    return new
