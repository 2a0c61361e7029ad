"""Renaming a definition's tensors, ranges and index letters, and flattening nested sums and products.

Both the tracer and `chain` build definitions whose names are provisional; this gives them the names
that a person would write: i over N, d over D, k over K, and j for a second index over K.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalkgrad.expr.letters import fresh_index
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Definition,
    Expr,
    Index,
    Mul,
    Opaque,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import map_children


def relabel(
    definition: Definition,
    target: Tensor,
    tensors: Mapping[Tensor, Tensor],
    ranges: Mapping[Range, Range],
    avoid: frozenset[str] = frozenset(),
) -> Definition:
    """The same formula for `target`, with other tensors and ranges, and natural index letters.

    Args:
        definition: The formula to rename.
        target: Its new left-hand side, axis for axis.
        tensors: New tensors for old ones; those not listed stay.
        ranges: New ranges for old ones; those not listed stay.
        avoid: Names that no index may take, such as the one-letter names of arrays.
    """
    used = set(avoid)
    env: dict[Index, Index] = {}
    for old, of in zip(definition.indices, target.axes, strict=True):
        env[old] = fresh_index(of, used)
        used.add(env[old].name)
    body = flatten(_relabel(definition.body, env, frozenset(used), tensors, ranges))
    return Definition(target, tuple(env[i] for i in definition.indices), body)


def _relabel(
    e: Expr,
    env: Mapping[Index, Index],
    used: frozenset[str],
    tensors: Mapping[Tensor, Tensor],
    ranges: Mapping[Range, Range],
) -> Expr:
    """`e` with its free indices renamed by `env`; bound ones take letters not in `used`."""
    match e:
        case Index():
            return env[e]
        case Size(of):
            return Size(ranges.get(of, of))
        case Access(tensor, indices):
            found = tuple(_relabel(i, env, used, tensors, ranges) for i in indices)
            return Access(tensors.get(tensor, tensor), found)
        case Sum(indices, body) | Reduce(_, indices, body) | Opaque(_, indices, body, _):
            inner, names, bound = dict(env), set(used), []
            for index in indices:
                inner[index] = fresh_index(ranges.get(index.range, index.range), names)
                names.add(inner[index].name)
                bound.append(inner[index])
            new = _relabel(body, inner, frozenset(names), tensors, ranges)
            if isinstance(e, Opaque):
                at = tuple(_relabel(i, env, used, tensors, ranges) for i in e.at)
                return Opaque(e.fn, tuple(bound), new, at)
            return Sum(tuple(bound), new) if isinstance(e, Sum) else Reduce(e.op, tuple(bound), new)
    return map_children(e, lambda kid: _relabel(kid, env, used, tensors, ranges))


def flatten(e: Expr) -> Expr:
    """(a + b) + c as a + b + c, and likewise products: the parentheses that tracing made vanish."""
    e = map_children(e, flatten)
    match e:
        case Add(terms) if any(isinstance(t, Add) for t in terms):
            return Add(tuple(s for t in terms for s in (t.terms if isinstance(t, Add) else (t,))))
        case Mul(factors) if any(isinstance(f, Mul) for f in factors):
            return Mul(tuple(g for f in factors for g in (f.factors if isinstance(f, Mul) else (f,))))
    return e


def one_letter_names(tensors: tuple[Tensor, ...]) -> frozenset[str]:
    """Array names that an index letter could be confused with."""
    return frozenset(t.name for t in tensors if len(t.name) == 1)
