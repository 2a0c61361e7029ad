"""Operations on expressions that every layer above needs: walking, free indices, substitution,
names that do not clash, and a canonical form up to the names of bound indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import permutations

from chalkgrad.expr.letters import fresh_index
from chalkgrad.expr.nodes import (
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
    Tensor,
)

CACHE = 200_000


@lru_cache(CACHE)
def children(e: Expr) -> tuple[Expr, ...]:
    """The direct subexpressions, bound indices excluded."""
    match e:
        case Access(_, indices):
            return indices
        case Indicator(_, left, right):
            return (left, right)
        case Apply(_, args):
            return args
        case Add(terms):
            return terms
        case Mul(factors):
            return factors
        case Pow(base, exponent):
            return (base, exponent)
        case Sum(_, body) | Reduce(_, _, body):
            return (body,)
        case Opaque(_, _, body, at):
            return (body, *at)
        case Partial(body, wrt):
            return (body, wrt)
    return ()


def rebuild(e: Expr, kids: tuple[Expr, ...]) -> Expr:
    """The same node with other direct subexpressions, in the order of `children`."""
    match e:
        case Access(tensor, _):
            return Access(tensor, kids)
        case Indicator(op, _, _):
            return Indicator(op, kids[0], kids[1])
        case Apply(fn, _):
            return Apply(fn, kids)
        case Add(_):
            return Add(kids)
        case Mul(_):
            return Mul(kids)
        case Pow(_, _):
            return Pow(kids[0], kids[1])
        case Sum(indices, _):
            return Sum(indices, kids[0])
        case Reduce(op, indices, _):
            return Reduce(op, indices, kids[0])
        case Opaque(fn, indices, _, _):
            return Opaque(fn, indices, kids[0], kids[1:])
        case Partial(_, _):
            wrt = kids[1]
            assert isinstance(wrt, Access)
            return Partial(kids[0], wrt)
    return e


def put(e: Expr, path: Sequence[int], node: Expr) -> Expr:
    """The expression with another node at a place, to which the path leads by places among the children."""
    if not path:
        return node
    kids = children(e)
    new = put(kids[path[0]], path[1:], node)
    return rebuild(e, (*kids[: path[0]], new, *kids[path[0] + 1 :]))


def map_children(e: Expr, f: Callable[[Expr], Expr]) -> Expr:
    """`f` applied to each direct subexpression."""
    kids = children(e)
    if not kids:
        return e
    new = tuple([f(k) for k in kids])
    return e if new == kids else rebuild(e, new)  # nodes are equal when they are one object


def walk(e: Expr) -> Iterator[Expr]:
    """The expression and all its subexpressions, parents first."""
    stack = [e]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


@lru_cache(CACHE)
def free_indices(e: Expr) -> frozenset[Index]:
    """The indices that need a value before `e` is a number."""
    if isinstance(e, Index):
        return frozenset((e,))
    kids = children(e)
    if not kids:
        return frozenset()
    if isinstance(e, Opaque):
        outside = frozenset().union(*map(free_indices, e.at))
        return outside | (free_indices(e.body) - frozenset(e.indices))
    free = frozenset().union(*map(free_indices, kids))
    return free - frozenset(e.indices) if isinstance(e, Sum | Reduce) else free


@lru_cache(CACHE)
def tensors_in(e: Expr) -> frozenset[Tensor]:
    """Every tensor that the expression reads."""
    own = frozenset((e.tensor,)) if isinstance(e, Access) else frozenset()
    return own.union(*map(tensors_in, children(e)))


@lru_cache(CACHE)
def index_names(e: Expr) -> frozenset[str]:
    """The names of all indices in the expression, free and bound."""
    own = {e.name} if isinstance(e, Index) else set()
    if isinstance(e, Sum | Reduce | Opaque):
        own = {i.name for i in e.indices}
    return frozenset(own).union(*map(index_names, children(e)))


def substitute(e: Expr, mapping: Mapping[Index, Expr]) -> Expr:
    """Free indices replaced by expressions; bound indices are renamed where they would capture."""
    return _substitute(e, tuple([(k, v) for k, v in mapping.items() if k is not v]))


Replacements = tuple[tuple[Index, Expr], ...]
"""A mapping that can be a key: the same part of a formula is substituted in again and again."""


def _substitute(e: Expr, replacements: Replacements) -> Expr:
    """`substitute` where no index is mapped to itself."""
    free = free_indices(e)
    for index, _ in replacements:
        if index in free:
            return _substituted(e, replacements)
    return e


@lru_cache(CACHE)
def _substituted(e: Expr, replacements: Replacements) -> Expr:
    """`_substitute` where something is replaced."""
    if isinstance(e, Index):
        return dict(replacements)[e]
    if isinstance(e, Sum | Reduce | Opaque):
        free = free_indices(e)
        inner: dict[Index, Expr] = {k: v for k, v in replacements if k in free and k not in e.indices}
        captured = {i.name for v in inner.values() for i in free_indices(v)}
        bound = list(e.indices)
        taken = captured | set(index_names(e)) | {k.name for k in inner}
        for place, index in enumerate(bound):
            if index.name in captured:
                bound[place] = inner[index] = fresh_index(index.range, taken)
                taken.add(bound[place].name)
        return rebind(e, tuple(bound), _substitute(e.body, tuple(inner.items())), dict(replacements))
    return map_children(e, lambda kid: _substitute(kid, replacements))


def rebind(
    e: Sum | Reduce | Opaque, indices: tuple[Index, ...], body: Expr, outside: Mapping[Index, Expr]
) -> Expr:
    """The same binder over other indices and another body; `outside` applies to what it does not bind."""
    match e:
        case Sum():
            return Sum(indices, body)
        case Reduce(op, _, _):
            return Reduce(op, indices, body)
        case Opaque(fn, _, _, at):
            return Opaque(fn, indices, body, tuple(substitute(a, outside) for a in at))


def replace_access(e: Expr, tensor: Tensor, value: Callable[[tuple[Expr, ...]], Expr]) -> Expr:
    """Each access t[...] of `tensor` replaced by `value(indices)`, without capture.

    Bound indices around a replaced access are renamed when the value brings in the same name free.
    """
    if tensor not in tensors_in(e):
        return e
    if isinstance(e, Access) and e.tensor is tensor:
        return value(tuple(replace_access(i, tensor, value) for i in e.indices))
    return map_children(e, lambda kid: replace_access(kid, tensor, value))


def inline(e: Expr, target: Access, body: Expr) -> Expr:
    """Accesses of `target.tensor` in `e` replaced by its definition target = body."""
    formal = target.indices

    def value(actual: tuple[Expr, ...]) -> Expr:
        mapping = {f: a for f, a in zip(formal, actual, strict=True) if isinstance(f, Index)}
        return substitute(body, mapping)

    return replace_access(e, target.tensor, value)


def rename_bound(e: Expr, taken: set[str]) -> Expr:
    """Bound indices renamed so that none is called like a name in `taken`."""
    if isinstance(e, Sum | Reduce | Opaque):
        mapping: dict[Index, Expr] = {}
        used = taken | set(index_names(e))
        bound = []
        for index in e.indices:
            new = index
            if index.name in taken:
                new = fresh_index(index.range, used)
                used.add(new.name)
                mapping[index] = new
            bound.append(new)
        return rebind(e, tuple(bound), rename_bound(substitute(e.body, mapping), taken), {})
    return map_children(e, lambda kid: rename_bound(kid, taken))


# --- canonical order and equality up to bound names ------------------------------------------------


Key = tuple[tuple[int, float, str], ...]

_OPEN = (0, 0.0, "(")


def _rank(e: Expr) -> tuple[object, ...]:
    """What an expression is ordered by: numbers, texts and parts, the first deciding most.

    The order reads well in a product: constants, sizes, values, functions, indicators, adjoints, sums.
    """
    match e:
        case Const(value):
            return (0, float(value), str(value))
        case Size(of):
            return (1, of.name)
        case Index(name, of):
            return (2, name, of.name)
        case Access(tensor, indices):
            rank = {"parameter": 3, "adjoint": 8}.get(tensor.role, 4)
            # Data before weights, x W rather than W x: lower case sorts first.
            return (rank, tensor.name.swapcase(), len(indices), *indices)
        case Apply(fn, args):
            return (5, fn, *args)
        case Pow(base, exponent):
            return (*_rank(base), "^", exponent)
        case Indicator(op, left, right):
            return (7, op, left, right)
        case Add(terms):
            return (9, len(terms), *terms)
        case Mul(factors):
            return (10, len(factors), *factors)
        case Reduce(op, indices, body):
            return (6, op, len(indices), body)
        case Sum(indices, body):
            return (11, len(indices), body)
        case Opaque(fn, _, body, at):
            return (5, fn, body, *at)
        case Partial(body, wrt):
            return (12, body, wrt)
    raise TypeError(f"no order for the node {type(e).__name__}")


@lru_cache(CACHE)
def flat_key(e: Expr) -> Key:
    """A total order on expressions, as triples that always compare."""
    flat: list[tuple[int, float, str]] = [_OPEN]
    for part in _rank(e):
        if isinstance(part, Expr):
            flat.extend(flat_key(part))
        elif isinstance(part, int | float):
            flat.append((1, float(part), ""))
        else:
            flat.append((2, 0.0, str(part)))
    return tuple(flat)


def ordered(items: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """The items in canonical order."""
    return tuple(sorted(items, key=flat_key))


@lru_cache(CACHE)
def canonical(e: Expr) -> Expr:
    """The same expression with canonical bound names and canonical order of terms and factors.

    Two expressions are equal up to renaming of bound indices and reordering exactly when their
    canonical forms are one object.
    """
    return _canonical(e, 0)


@lru_cache(CACHE)
def _canonical(e: Expr, depth: int) -> Expr:
    if isinstance(e, Opaque):
        # A matrix's rows and columns do not commute: the bound indices keep their order.
        marks = tuple(Index(f"#{depth + n}", i.range) for n, i in enumerate(e.indices))
        inside = _canonical(substitute(e.body, dict(zip(e.indices, marks, strict=True))), depth + len(marks))
        return Opaque(e.fn, marks, inside, tuple(_canonical(a, depth) for a in e.at))
    if isinstance(e, Sum | Reduce):
        best: Expr | None = None
        groups = sorted(e.indices, key=lambda i: (i.range.name, i.range.size or 0))
        for order in _orders(tuple(groups)):
            mapping: dict[Index, Expr] = {}
            names = []
            for offset, index in enumerate(order):
                placeholder = Index(f"#{depth + offset}", index.range)
                mapping[index] = placeholder
                names.append(placeholder)
            body = _canonical(substitute(e.body, mapping), depth + len(order))
            found = rebind(e, tuple(names), body, {})
            if best is None or flat_key(found) < flat_key(best):
                best = found
        assert best is not None
        return best
    new = map_children(e, lambda kid: _canonical(kid, depth))
    if isinstance(new, Add | Mul):
        kids = tuple(sorted(children(new), key=flat_key))
        return rebuild(new, kids)
    return new


def _orders(indices: tuple[Index, ...]) -> Iterator[tuple[Index, ...]]:
    """The orders of bound indices that keep equal ranges together; all orders within a range."""
    runs: dict[tuple[str, int], list[Index]] = {}
    for index in indices:
        runs.setdefault((index.range.name, index.range.size or 0), []).append(index)
    blocks = list(runs.values())

    def expand(at: int) -> Iterator[tuple[Index, ...]]:
        if at == len(blocks):
            yield ()
            return
        block = blocks[at]
        # Beyond five indices over one range the search is too long: keep the written order.
        choices = permutations(block) if len(block) <= 5 else iter([tuple(block)])
        for choice in choices:
            for rest in expand(at + 1):
                yield (*choice, *rest)

    yield from expand(0)


def alpha_equal(a: Expr, b: Expr) -> bool:
    """Whether two expressions differ only in bound names and the order of terms and factors."""
    return canonical(a) is canonical(b)


def is_const(e: Expr, value: int | Fraction | None = None) -> bool:
    """Whether `e` is a constant (with this value)."""
    return isinstance(e, Const) and (value is None or e.value == value)


def equal_indices(a: Expr, b: Expr) -> bool:
    """Whether two index expressions are the same."""
    return canonical(a) is canonical(b)
