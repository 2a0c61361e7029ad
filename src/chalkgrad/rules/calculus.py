"""The rules of differentiation: what the operator d/dt[...] does to each node.

Each rule takes one `Partial` node and gives an expression in which `Partial` stands only around
smaller bodies, or not at all, so applying them ends. `RULES` is the table; the derivative of each
elementwise function is not here but in its record in `chalkgrad.primitives`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from chalkgrad.errors import DerivationError
from chalkgrad.expr.arithmetic import add, multiply
from chalkgrad.expr.grammar import scalar
from chalkgrad.expr.guarded import is_guard
from chalkgrad.expr.nodes import (
    ONE,
    ZERO,
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Partial,
    Pow,
    Reduce,
    Size,
    Sum,
)
from chalkgrad.expr.ops import (
    flat_key,
    free_indices,
    map_children,
    rename_bound,
    substitute,
    tensors_in,
    walk,
)
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.rules.factoring import opposite


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may use besides the node: the value that the body defines, if it is a definition.

    With y = fn(x) the forward value y is at hand, and tanh' = 1 − y² costs no second tanh.
    """

    body: Expr | None = None
    value: Access | None = None


@dataclass(frozen=True, slots=True)
class CalculusRule:
    """One rule of differentiation.

    Attributes:
        name: What a step that used it is called.
        display: The rule as an equation, for people.
        apply: The right-hand side for one `Partial` node, or None where the rule does not fit.
        because: The reason shown beside the line; may look at the node.
    """

    name: str
    display: str
    apply: Callable[[Partial, Context], Expr | None]
    because: Callable[[Partial], str] = field(default=lambda node: "")


def depends(e: Expr, node: Partial) -> bool:
    """Whether the expression reads the array that `node` differentiates by."""
    return node.wrt.tensor in tensors_in(e)


def _independent(node: Partial, _: Context) -> Expr | None:
    return None if depends(node.body, node) else ZERO


def _sum_of_terms(node: Partial, _: Context) -> Expr | None:
    if not isinstance(node.body, Add):
        return None
    return add(tuple(Partial(t, node.wrt) for t in node.body.terms))


def _sum_over_index(node: Partial, _: Context) -> Expr | None:
    if not isinstance(node.body, Sum):
        return None
    # The sum's own index must not be confused with an index of the entry differentiated by.
    taken = {i.name for i in free_indices(node.wrt)} | {i.name for i in free_indices(node.body)}
    body = rename_bound(node.body, taken)
    assert isinstance(body, Sum)
    return Sum(body.indices, Partial(body.body, node.wrt))


def _constant_factor(node: Partial, _: Context) -> Expr | None:
    if not isinstance(node.body, Mul):
        return None
    fixed = [f for f in node.body.factors if not depends(f, node)]
    moving = [f for f in node.body.factors if depends(f, node)]
    if not fixed:
        return None
    return multiply((*fixed, Partial(multiply(tuple(moving)), node.wrt)))


def _product(node: Partial, _: Context) -> Expr | None:
    if not isinstance(node.body, Mul):
        return None
    factors = node.body.factors
    terms = []
    for place, f in enumerate(factors):
        if not depends(f, node):
            continue
        others = factors[:place] + factors[place + 1 :]
        terms.append(multiply((*others, Partial(f, node.wrt))))
    return add(tuple(terms))


def _power(node: Partial, context: Context) -> Expr | None:
    if not isinstance(node.body, Pow):
        return None
    base, exponent = node.body.base, node.body.exponent
    if depends(exponent, node):
        if depends(base, node):
            first = multiply((exponent, Pow(base, exponent - 1), Partial(base, node.wrt)))
        else:
            first = ZERO
        second = multiply((node.body, Apply("log", (base,)), Partial(exponent, node.wrt)))
        return second if first is ZERO else Add((first, second))
    return multiply((_power_derivative(node.body, context), Partial(base, node.wrt)))


def _power_derivative(power: Pow, context: Context) -> Expr:
    """n bⁿ⁻¹; as n y^((n−1)/n) where the value y = bⁿ is at hand and that power is whole."""
    n = power.exponent
    if not isinstance(n, Const) or isinstance(n.value, float):
        return multiply((n, Pow(power.base, n - 1)))
    value = n.value
    if context.value is not None and context.body is power and value != 0:
        reuse = (value - 1) / value
        if reuse.denominator == 1 and value < 1:
            return multiply((n, Pow(context.value, Const(reuse))))
    if value == 2:
        return multiply((n, power.base))
    return multiply((n, Pow(power.base, Const(value - 1))))


@lru_cache(1024)
def _derivative_text(text: str, arguments: tuple[str, ...], values: tuple[Expr, ...]) -> Expr:
    return scalar(text, dict(zip(arguments, values, strict=True)))


def derivative_of(apply: Apply, argument: int, value: Access | None) -> Expr:
    """fn' for one argument, from the function's record: in the value y where the record has that."""
    record = PRIMITIVES.get(apply.fn)
    if record is None:
        raise DerivationError(
            f"No derivative is known for the function '{apply.fn}'.",
            hint="Add a record for it to chalkgrad/primitives.py.",
        )
    in_value = record.value_derivative(argument)
    if apply.fn == "where" and argument == 2 and is_guard(apply.args[0]):
        # As a comparison of its own it guards what that branch reads, which 1 − 1(a < b) does not.
        return opposite(apply.args[0])
    if value is not None and in_value is not None:
        return _derivative_text(in_value, (*record.arguments, "y"), (*apply.args, value))
    return _derivative_text(record.derivatives[argument], record.arguments, apply.args)


def _chain(node: Partial, context: Context) -> Expr | None:
    if not isinstance(node.body, Apply):
        return None
    value = context.value if context.body is node.body else None
    terms: list[Expr] = []
    for place, argument in enumerate(node.body.args):
        if depends(argument, node):
            outer = derivative_of(node.body, place, value)
            if outer is not ZERO:
                terms.append(multiply((outer, Partial(argument, node.wrt))))
    return add(tuple(terms)) if terms else ZERO


def _maximum_over_index(node: Partial, context: Context) -> Expr | None:
    """d max_j e_j = Σ_j 1(e_j = max) d e_j / Σ_j 1(e_j = max): a tie is split evenly."""
    if not isinstance(node.body, Reduce) or node.body.op not in ("max", "min"):
        return None
    taken = {i.name for i in free_indices(node.wrt)} | {i.name for i in free_indices(node.body)}
    body = rename_bound(node.body, taken)
    assert isinstance(body, Reduce)
    extreme: Expr = context.value if context.value is not None and context.body is node.body else node.body
    attained = Indicator("==", body.body, extreme)
    inner = multiply(
        (attained, Pow(Sum(body.indices, attained), Const(Fraction(-1))), Partial(body.body, node.wrt))
    )
    return Sum(body.indices, inner)


def _product_over_index(node: Partial, _: Context) -> Expr | None:
    """d Π_j e_j = Σ_j (Π_{l≠j} e_l) d e_j: right also where an e_j is zero."""
    if not isinstance(node.body, Reduce) or node.body.op != "prod":
        return None
    taken = {i.name for i in free_indices(node.wrt)} | {i.name for i in free_indices(node.body)}
    body = rename_bound(node.body, taken)
    assert isinstance(body, Reduce)
    again = rename_bound(body, taken | {i.name for i in body.indices})
    assert isinstance(again, Reduce)
    same = multiply(tuple(Indicator("==", a, b) for a, b in zip(again.indices, body.indices, strict=True)))
    others = Reduce("prod", again.indices, Apply("where", (same, ONE, again.body)))
    return Sum(body.indices, multiply((others, Partial(body.body, node.wrt))))


def _matrix_function(node: Partial, context: Context) -> Expr | None:
    """d A⁻¹ = −A⁻¹ dA A⁻¹; d det A = det A tr(A⁻¹ dA); d log|det A| = tr(A⁻¹ dA)."""
    if not isinstance(node.body, Opaque):
        return None
    taken = {i.name for i in free_indices(node.wrt)} | {i.name for i in free_indices(node.body)}
    body = rename_bound(node.body, taken)
    assert isinstance(body, Opaque)
    a, b = body.indices
    inner = Partial(body.body, node.wrt)
    fresh = rename_bound(body, taken | {a.name, b.name})
    assert isinstance(fresh, Opaque)

    def inverse(row: Expr, column: Expr) -> Expr:
        value, named = context.value, context.body is node.body and body.fn == "inv"
        at = tuple(i for i in body.at if isinstance(i, Index))
        if value is not None and named and len(set(at)) == 2 and set(at) <= set(value.indices):
            # The named value may be the transpose: B_de = (A⁻¹)_ed.
            return substitute(value, dict(zip(at, (row, column), strict=True)))
        return Opaque("inv", fresh.indices, fresh.body, (row, column))

    if body.fn == "inv":
        i, j = body.at
        return Mul((Const(Fraction(-1)), Sum((a, b), multiply((inverse(i, a), inverse(b, j), inner)))))
    trace = Sum((a, b), multiply((inverse(b, a), inner)))
    if body.fn == "logdet":
        return trace
    value: Expr = context.value if context.value is not None and context.body is node.body else node.body
    return multiply((value, trace))


def _piecewise_constant(node: Partial, _: Context) -> Expr | None:
    return ZERO if isinstance(node.body, Indicator | Index | Size | Const) else None


def _same_array(node: Partial, _: Context) -> Expr | None:
    if not isinstance(node.body, Access) or node.body.tensor is not node.wrt.tensor:
        return None
    pairs = zip(node.body.indices, node.wrt.indices, strict=True)
    return multiply(tuple(_equal(a, b) for a, b in pairs if a is not b) or (ONE,))


def _equal(a: Expr, b: Expr) -> Indicator:
    """1(a = b) with its sides in canonical order."""
    first, last = sorted((a, b), key=flat_key)
    return Indicator("==", first, last)


def _function_reason(node: Partial) -> str:
    if isinstance(node.body, Apply):
        return PRIMITIVES[node.body.fn].because or f"chain rule through {node.body.fn}"
    return ""


LINEAR = (
    CalculusRule("independent", "∂e/∂t = 0 where e does not contain t", _independent),
    CalculusRule("linearity", "∂(a + b)/∂t = ∂a/∂t + ∂b/∂t", _sum_of_terms),
    CalculusRule("linearity", "∂(Σ_j e)/∂t = Σ_j ∂e/∂t", _sum_over_index),
    CalculusRule("constant-factor", "∂(c e)/∂t = c ∂e/∂t", _constant_factor),
)
"""What differentiation being linear says."""

NONLINEAR = (
    CalculusRule("product-rule", "∂(a b)/∂t = b ∂a/∂t + a ∂b/∂t", _product, lambda n: "product rule"),
    CalculusRule("power-rule", "∂(aⁿ)/∂t = n aⁿ⁻¹ ∂a/∂t", _power, lambda n: "power rule"),
    CalculusRule("chain-rule", "∂fn(a)/∂t = fn′(a) ∂a/∂t", _chain, _function_reason),
    CalculusRule(
        "maximum-rule", "∂(max_j e_j)/∂t = Σ_j 1(e_j = max) ∂e_j/∂t / Σ_j 1(e_j = max)", _maximum_over_index,
        lambda n: "the entries that attain it share the derivative; a tie is split evenly",
    ),
    CalculusRule(
        "product-over-index", "∂(Π_j e_j)/∂t = Σ_j (Π_{l≠j} e_l) ∂e_j/∂t", _product_over_index,
        lambda n: "product rule, one factor at a time",
    ),
    CalculusRule(
        "matrix-function", "∂A⁻¹/∂t = −A⁻¹ ∂A/∂t A⁻¹, ∂ log|det A|/∂t = tr(A⁻¹ ∂A/∂t)", _matrix_function,
        lambda n: "A A⁻¹ = I differentiated" if isinstance(n.body, Opaque) and n.body.fn == "inv"
        else "Jacobi's formula",
    ),
    CalculusRule(
        "piecewise-constant", "∂1(a > b)/∂t = 0", _piecewise_constant,
        lambda n: "a comparison is constant except where it jumps",
    ),
)  # fmt: skip
"""Products, powers, functions, reductions."""

ENTRIES = (
    CalculusRule(
        "same-array", "∂W_dk/∂W_ej = 1(d = e) 1(k = j)", _same_array,
        lambda n: f"an entry of {n.wrt.tensor.name} depends on itself alone",
    ),
)  # fmt: skip
"""An array by its own entries: where indicators come from."""

RULES = (*LINEAR, *NONLINEAR, *ENTRIES)
"""The whole table."""


def apply_rules(
    e: Expr, rules: tuple[CalculusRule, ...], context: Context
) -> tuple[Expr, list[tuple[str, str]]]:
    """Every `Partial` in `e` rewritten by the first rule that fits, to the bottom; with what was used."""
    used: list[tuple[str, str]] = []

    def visit(node: Expr) -> Expr:
        if isinstance(node, Partial):
            for rule in rules:
                found = rule.apply(node, context)
                if found is not None:
                    used.append((rule.name, rule.because(node)))
                    return visit(found)
            return node
        return clean(map_children(node, visit))

    return visit(e), list(dict.fromkeys(used))


def clean(e: Expr) -> Expr:
    """Written zeros and ones dropped: 0 + a, 0 · a, 1 · a, Σ 0."""
    match e:
        case Add(terms):
            kept = tuple(t for t in terms if t is not ZERO)
            return add(kept) if kept else ZERO
        case Mul(factors):
            if any(f is ZERO for f in factors):
                return ZERO
            kept = tuple(f for f in factors if f is not ONE)
            flat = tuple(g for f in kept for g in (f.factors if isinstance(f, Mul) else (f,)))
            return multiply(flat) if flat else ONE
        case Sum(_, body) if body is ZERO:
            return ZERO
    return e


def unfold(node: Partial, body: Expr, formal: tuple[Index, ...]) -> Partial:
    """d f[i,k]/dt with f's formula in place of f."""
    assert isinstance(node.body, Access)
    mapping = dict(zip(formal, node.body.indices, strict=True))
    # A sum over d inside must not be read as the d of the entry differentiated by.
    taken = {i.name for i in free_indices(node.wrt)} | {i.name for i in free_indices(node.body)}
    return Partial(rename_bound(substitute(body, mapping), taken), node.wrt)


def check_resolved(e: Expr) -> None:
    """Raise where a derivative was left standing: a rule is missing, and a silent 0 is not an answer."""
    for node in walk(e):
        if isinstance(node, Partial):
            raise DerivationError(
                f"No rule covers the derivative of a {type(node.body).__name__} node: {node}.",
                hint="Please report the formula; chalkgrad refuses rather than guess.",
            )
