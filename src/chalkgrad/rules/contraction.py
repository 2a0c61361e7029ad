"""Rules for sums and indicators: what Σ_j 1(j = k) does.

Every rule here removes a bound index or an indicator, so applying them ends.

    contract-indicator   Σ_j 1(j = e) f(j)  =  f(e)          j and e over the same range
    sum-of-constant      Σ_j c              =  |J| c
    indicator-equates    1(k = e) f(k)      =  1(k = e) f(e)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from chalkgrad.expr.cost import expression_flops
from chalkgrad.expr.nodes import Access, Add, Expr, Index, Indicator, Sum
from chalkgrad.expr.ops import flat_key, free_indices, substitute, walk
from chalkgrad.rules.polynomial import Monomial, Powers, collect, expand, monomial, raised, times, to_expr


@dataclass(frozen=True, slots=True)
class Collapse:
    """One use of contract-indicator: the sum over `index` kept only index = `value`."""

    index: Index
    value: Expr

    @property
    def because(self) -> str:
        from chalkgrad.expr.text import text

        letter = self.index.name.split("#")[0]
        return f"the indicator keeps only {letter} = {text(self.value).split('#')[0]}"


def contract(m: Monomial) -> tuple[Monomial | None, list[Collapse]]:
    """The monomial with every sum over an indicator collapsed; None where it is zero."""
    used: list[Collapse] = []
    current: Monomial | None = m
    while current is not None:
        found = _collapsible(current)
        if found is None:
            break
        index, indicator, value = found
        used.append(Collapse(index, value))
        bound = tuple(i for i in current.bound if i is not index)
        current = _substituted(current, indicator, {index: value}, bound, keep=False)
    if current is not None:
        current = _equate(current)
    return current, used


def _collapsible(m: Monomial) -> tuple[Index, Indicator, Expr] | None:
    """A bound index that an indicator equates with an expression of its own range."""
    for atom, power in m.powers:
        if isinstance(atom, Indicator) and atom.op == "==" and power > 0:
            for side, other in ((atom.left, atom.right), (atom.right, atom.left)):
                if isinstance(side, Index) and side in m.bound and _within(side, other):
                    return side, atom, other
    return None


def _within(index: Index, value: Expr) -> bool:
    """Whether `value` always is one of the index's values, so that the sum meets it exactly once.

    An index of the same range is. An integer tensor compared with an index holds labels of that
    index's range: that is what declares it. An affine expression may fall outside and needs guards.
    """
    if index in free_indices(value):
        return False
    if isinstance(value, Index):
        return value.range is index.range
    return isinstance(value, Access) and value.tensor.dtype == "int"


def _equate(m: Monomial) -> Monomial | None:
    """Under 1(k = e) the other factors speak of e instead of k, which lets them cancel."""
    current: Monomial | None = m
    done: set[Expr] = set()
    while current is not None:
        pending = [
            a
            for a, p in current.powers
            if isinstance(a, Indicator) and a.op == "==" and p > 0 and a not in done
        ]
        if not pending:
            return current
        indicator = pending[0]
        done.add(indicator)
        mapping = direction(indicator)
        if mapping:
            current = _substituted(current, indicator, mapping, current.bound, keep=True)
    return current


def direction(indicator: Indicator) -> dict[Index, Expr]:
    """Which side of k = e to replace: an index by an expression; of two indices, the later one."""
    left, right = indicator.left, indicator.right
    if isinstance(left, Index) and isinstance(right, Index):
        if left.range is not right.range:
            return {}
        first, last = sorted((left, right), key=flat_key)
        assert isinstance(last, Index)
        return {last: first}
    for side, other in ((left, right), (right, left)):
        if isinstance(side, Index) and _within(side, other):
            return {side: other}
    return {}


def _substituted(
    m: Monomial,
    indicator: Indicator,
    mapping: dict[Index, Expr],
    bound: tuple[Index, ...],
    keep: bool,
) -> Monomial | None:
    coeff, powers = m.coeff, Powers()
    for atom, power in m.powers:
        if atom is indicator:
            if keep:
                powers[atom] = Fraction(1)
            continue
        new = substitute(atom, mapping)
        # What stood inside a function may now be decided: tanh(1(k = y)) is tanh(1) where k = y.
        factor = Monomial(Fraction(1), (), ((atom, power),)) if new is atom else raised(new, power)
        if factor is None:
            return None
        coeff, bound = coeff * factor.coeff, bound + factor.bound
        for part, exponent in factor.powers:
            powers[part] = powers.get(part, Fraction(0)) + exponent
    return monomial(coeff, bound, powers)


def contract_all(poly: Sequence[Monomial]) -> tuple[list[Monomial], list[Collapse]]:
    """`contract` on every monomial."""
    result: list[Monomial] = []
    used: list[Collapse] = []
    for m in poly:
        new, collapses = contract(m)
        used.extend(collapses)
        if new is not None:
            result.append(new)
    return result, used


def settle(e: Expr) -> tuple[Expr, list[Collapse]]:
    """The expression tidied, its sums over indicators collapsed.

    A Σ over several terms is taken apart only where that lets an indicator collapse, and only those of its
    factors that hold the indicator: (x − m)² beside it stays a square, which loses no digits.
    """
    poly, used = contract_all(expand(e, distribute=False))
    result = to_expr(collect(poly))
    if any(_stuck(n) for n in walk(result)):
        apart, more = _taken_apart(e)
        if expression_flops(apart) < expression_flops(result):
            return apart, more
    return result, used


def _stuck(node: Expr) -> bool:
    """Whether the node is a Σ that holds an indicator of its own index without having collapsed."""
    return isinstance(node, Sum) and _ties(node.body, node.indices)


def _ties(e: Expr, indices: Sequence[Index]) -> bool:
    """Whether an equation anywhere in the expression ties one of these indices."""
    return any(
        isinstance(n, Indicator) and n.op == "==" and {n.left, n.right} & set(indices) for n in walk(e)
    )


def _taken_apart(e: Expr) -> tuple[Expr, list[Collapse]]:
    """The expression with every Σ multiplied out as far as an indicator stands in its way, and collapsed."""
    used: list[Collapse] = []
    done: list[Monomial] = []
    pending = expand(e, distribute=False)
    while pending:
        m = pending.pop(0)
        held = [a for a, p in m.powers if isinstance(a, Add) and p >= 1 and _ties(a, m.bound)]
        if held:
            pending = [*_multiplied_out(m, held[0]), *pending]
        else:
            inner = _each_taken_apart(m, used)
            done += [inner] if inner is not None else []
    poly, collapses = contract_all(done)
    return to_expr(collect(poly)), [*used, *collapses]


def _multiplied_out(m: Monomial, total: Expr) -> list[Monomial]:
    """The monomial as one for each term of a sum that is one of its factors."""
    rest = [(a, p - 1 if a is total else p) for a, p in m.powers]
    others = Monomial(m.coeff, m.bound, tuple((a, p) for a, p in rest if p))
    parts = (times(others, term) for term in expand(total, distribute=False))
    return [p for p in parts if p is not None]


def _each_taken_apart(m: Monomial, used: list[Collapse]) -> Monomial | None:
    """The monomial with the same done to sums inside of those that stay together."""
    coeff, bound, powers = m.coeff, m.bound, Powers()
    for atom, power in m.powers:
        factor: Monomial | None = Monomial(Fraction(1), (), ((atom, power),))
        if isinstance(atom, Add) and any(_stuck(n) for n in walk(atom)):
            inner, more = _taken_apart(atom)
            used += more
            factor = raised(inner, power)
        if factor is None:
            return None
        coeff, bound = coeff * factor.coeff, bound + factor.bound
        for part, exponent in factor.powers:
            powers[part] = powers.get(part, Fraction(0)) + exponent
    return monomial(coeff, bound, powers)
