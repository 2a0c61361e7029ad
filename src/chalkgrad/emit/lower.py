"""Lower an expression of index notation to arrays: where the layout is chosen and sums of products
become matrix products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

from chalkgrad.emit.arrays import (
    Array,
    Axes,
    Call,
    Cast,
    Compare,
    MatrixFunction,
    Number,
    Positions,
    Power,
    Product,
    ReduceAxes,
    SizeOf,
    Spread,
    Terms,
    kind,
)
from chalkgrad.emit.contract import group_factors, multiply
from chalkgrad.emit.windows import access, filled, index_array, of_indices, without_guards
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.letters import fresh_index
from chalkgrad.expr.linear import as_index, holds_always, inside, linear, plus, times
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
    Pow,
    Reduce,
    Size,
    Sum,
)
from chalkgrad.expr.ops import free_indices, index_names, substitute, walk
from chalkgrad.expr.text import is_decimal, number
from chalkgrad.rules.conditions import negated


def lower_to(e: Expr, indices: Axes) -> Array:
    """The array of `e` over exactly these axes, in this order (repeated where `e` lacks one)."""
    value = lower(e, indices)
    return value if set(value.axes) == set(indices) else Spread(value, indices)


def lower(e: Expr, order: Axes = ()) -> Array:
    """The array of `e` over its free indices, in this order where it says one.

    Raises:
        UnsupportedError: For a construct without a spelling, named in the message.
    """
    match e:
        case Const(value):
            return Number(value)
        case Size(of):
            return SizeOf(of) if of.size is None else Number(Fraction(of.size))
        case Index():
            return Positions(e, (e,))
        case Access():
            return access(e, order)
        case Indicator(op, left, right):
            whole = of_indices(left) and of_indices(right)
            one, other = ((index_array if whole else lower)(side, order) for side in (left, right))
            return Compare(op, one, other, _present(layout(e, order), (one, other)))
        case Apply("where") if (padded := filled(e)) is not None:
            return padded
        case Apply("where", (condition, yes, no)) if (opposite := negated(condition)) is not None:
            return lower(Apply("where", (opposite, no, yes)), order)
        case Apply(fn, args):
            values = [lower(a, order) for a in args]
            values[fn == "where" :] = [as_float(v) for v in values[fn == "where" :]]
            if fn == "where" and kind(values[0]) in ("int", "float"):
                values[0] = Compare("!=", values[0], Number(Fraction(0)), values[0].axes)
            return Call(fn, tuple(values), _present(layout(e, order), values))
        case Add():
            return _terms(e, order)
        case Mul():
            return _product(without_guards(factors_of(e)), order)
        case Pow():
            return _power(e, order)
        case Sum():
            return _sum(e, order)
        case Reduce():
            return _reduce(e)
        case Opaque():
            return _matrix_function(e)
    raise UnsupportedError(
        f"no array code for {type(e).__name__} in {e}",
        hint="Emit a finished derivation: local derivatives must have been worked out.",
    )


def layout(e: Expr, order: Axes) -> Axes:
    """The axes of `e`: in `order` where it names them all, else as the accesses inside store them."""
    free = free_indices(e)
    if free <= set(order):
        return tuple(i for i in order if i in free)
    stored = sorted(
        (
            tuple(i for i in dict.fromkeys(a.indices) if isinstance(i, Index) and i in free)
            for a in accesses(e)
        ),
        key=len,
        reverse=True,
    )
    found = dict.fromkeys(i for axes in stored for i in axes)
    rest = sorted(free - set(found), key=lambda i: (order.index(i) if i in order else len(order), i.name))
    return (*found, *rest)


def accesses(e: Expr) -> Iterable[Access]:
    """Every tensor access in the expression."""
    return (a for a in walk(e) if isinstance(a, Access))


def _present(axes: Axes, arrays: Iterable[Array]) -> Axes:
    """Those of the axes that an array has: a zero factor removes an index that the formula shows."""
    found = {i for a in arrays for i in a.axes}
    return tuple(i for i in axes if i in found)


def as_float(a: Array) -> Array:
    """Integers and booleans cast, everything else unchanged."""
    return Cast(a, a.axes) if kind(a) in ("int", "bool") or _is_condition(a) else a


def _is_condition(a: Array) -> bool:
    """A comparison of numbers: a Python boolean, or a tensor that PyTorch will not subtract."""
    return isinstance(a, Compare) and not a.axes


def factors_of(e: Expr) -> list[Expr]:
    """The factors of a product, nested products flattened; any other expression is its own factor."""
    if isinstance(e, Mul):
        return [f for part in e.factors for f in factors_of(part)]
    return [e]


def terms_of(e: Expr) -> list[Expr]:
    """The terms of a sum, nested sums flattened; any other expression is its own term."""
    if isinstance(e, Add):
        return [t for part in e.terms for t in terms_of(part)]
    return [e]


# --- arithmetic -------------------------------------------------------------------------------------


def _terms(e: Add, order: Axes) -> Array:
    axes = layout(e, order)
    pairs = [_signed(lower(t, axes)) for t in terms_of(e)]
    if not pairs:
        return Number(Fraction(0))
    kinds = {kind(a) for _, a in pairs}
    if "float" in kinds:
        pairs = [(n, as_float(a) if kind(a) == "int" or _is_condition(a) else a) for n, a in pairs]
        pairs.sort(key=lambda p: kind(p[1]) == "bool")  # True + True is True: a number must come first
    else:
        pairs = [(n, as_float(a)) for n, a in pairs]
    if pairs[0][0]:  # write b - a, not -a + b
        lead = next((p for p in pairs if not p[0] and kind(p[1]) != "bool"), None)
        if lead is not None:
            pairs.remove(lead)
            pairs.insert(0, lead)
    if len(pairs) == 1 and not pairs[0][0]:
        return pairs[0][1]
    return Terms(tuple(pairs), _present(axes, (a for _, a in pairs)))


def _signed(a: Array) -> tuple[bool, Array]:
    """A term's sign and the term without it."""
    match a:
        case Product(True, above, below, axes):
            rest = above[0] if len(above) == 1 and not below else Product(False, above, below, axes)
            return True, rest
        case Number(value) if value < 0:
            return True, Number(-value)
    return False, a


def _power(e: Pow, order: Axes) -> Array:
    match e.exponent:
        case Const(Fraction() as value) if value < 0:
            return _product([e], order)
    base, exponent = as_float(lower(e.base, order)), as_float(lower(e.exponent, order))
    if isinstance(exponent, Number) and exponent.value == 1:
        return base
    return Power(base, exponent, _present(layout(e, order), (base, exponent)))


def _product(factors: Sequence[Expr], order: Axes, extra: Sequence[Array] = ()) -> Array:
    """A product of factors (and of arrays already lowered): constants folded, divisors below."""
    axes = layout(Mul(tuple(factors)), order)
    for a in extra:
        axes = (*axes, *(i for i in a.axes if i not in axes))
    if set(axes) <= set(order):
        axes = tuple(i for i in order if i in axes)
    constant, above, below = Fraction(1), [], []
    for f in factors:
        match f:
            case Const(Fraction() as value):
                constant *= value
            case Pow(base, Const(Fraction() as power)) if power < 0:
                below.append(lower(base if power == -1 else Pow(base, Const(-power)), axes))
            case _:
                above.append(lower(f, axes))
    above.extend(extra)
    above, below, constant = _flat(above, below, constant)
    return _assemble(constant, above, below, axes)


def _flat(
    above: list[Array], below: list[Array], constant: Fraction
) -> tuple[list[Array], list[Array], Fraction]:
    """Scalar factors of nested products pulled out; other nested products stay grouped."""
    flat: list[Array] = []
    for a in above:
        if isinstance(a, Product):
            constant = -constant if a.negative else constant
            flat.extend(a.above)
            below = [*below, *a.below]
        elif isinstance(a, Number) and isinstance(a.value, Fraction):
            constant *= a.value
        else:
            flat.append(a)
    kept: list[Array] = []
    for b in below:
        if isinstance(b, Number) and isinstance(b.value, Fraction) and b.value:
            constant /= b.value
        else:
            kept.append(as_float(b))
    return flat, kept, constant


def _assemble(constant: Fraction, above: list[Array], below: list[Array], axes: Axes) -> Array:
    """Order the factors so that precision is kept: Python numbers, then arrays, then masks."""
    if constant == 0:
        return Number(Fraction(0))
    size = numerator = abs(constant)
    denominator = Fraction(1)
    if "/" in number(size) and not is_decimal(size):
        numerator, denominator = Fraction(size.numerator), Fraction(size.denominator)
    if numerator != 1:
        above = [Number(numerator), *above]
    if denominator != 1:
        below = [*below, Number(denominator)]
    above = [as_float(a) if _is_condition(a) else a for a in above]
    kinds = [kind(a) for a in above]
    below_float = any(kind(b) == "float" for b in below)
    if "float" in kinds:
        above = [as_float(a) if kind(a) == "int" else a for a in above]
    elif not (set(kinds) == {"bool"} and not below and constant > 0):
        lone = below_float and len(above) == 1 and constant > 0  # a mask has no negative
        above = [a if kind(a) == "bool" and lone else as_float(a) for a in above]
    rank = {"host": 0, "float": 1, "bool": 2}
    above.sort(key=lambda a: rank.get(kind(a), 1))
    if len(above) == 1 and not below and constant > 0:
        return above[0]
    if not above and not below:
        return Number(constant)
    axes = _present(axes, (*above, *below))
    if any(f.axes and kind(f) == "float" for f in (*_small(above, axes), *_small(below, axes))):
        # A mask of fewer axes goes along with them, as floats: a boolean times dL is double precision.
        above = [as_float(a) if 0 < len(a.axes) < len(axes) else a for a in above]
    small_above, small_below = _small(above, axes), _small(below, axes)
    if len(small_above) + len(small_below) > 1:  # one pass over the large array instead of several
        group = (*small_above, *small_below)
        first = Product(False, tuple(small_above), tuple(small_below), _present(axes, group))
        above = [first, *(a for a in above if not any(a is g for g in group))]
        below = [b for b in below if not any(b is g for g in group)]
    return Product(constant < 0, tuple(above), tuple(below), axes)


def _small(factors: Sequence[Array], axes: Axes) -> list[Array]:
    """The factors that together have fewer axes than the product: those without any, or with some."""
    some = [f for f in factors if len(f.axes) < len(axes) and kind(f) != "bool"]
    whole = {i for f in some for i in f.axes} == set(axes)
    return [f for f in factors if not f.axes] if whole else some


# --- binders ----------------------------------------------------------------------------------------


def _reduce(e: Reduce) -> Array:
    value = as_float(lower(e.body, layout(e.body, ())))
    over = tuple(i for i in e.indices if i in value.axes)
    unused = [i for i in e.indices if i not in over]
    if over:
        axes = tuple(i for i in value.axes if i not in over)
        value = ReduceAxes(e.op, over, value, axes)
    if e.op == "prod" and unused:  # a factor that does not depend on the index, once per value of it
        sizes = _product([Size(i.range) for i in unused], ())
        value = Power(value, sizes, value.axes)
    return value


def _matrix_function(e: Opaque) -> Array:
    """An inverse over the indices of the entry asked for, or a determinant."""
    if any(not isinstance(i, Index) for i in e.at) or len(set(e.at)) != len(e.at):
        raise UnsupportedError(f"an entry {e} of a matrix function needs two different indices")
    value = as_float(lower(e.body, layout(e.body, ())))
    rest = tuple(i for i in value.axes if i not in e.indices)
    if set(e.indices) - set(value.axes):
        value = Spread(value, (*rest, *e.indices))
    entry = tuple(i for i in e.at if isinstance(i, Index))
    if set(entry) & set(rest):
        raise UnsupportedError(f"the entry {e} of a matrix function is an index of the matrices themselves")
    return MatrixFunction(e.fn, value, (*rest, *e.indices), (*rest, *entry))


def flat_sum(e: Sum, taken: set[str]) -> tuple[Axes, Expr]:
    """Directly nested sums as one, and no bound index called like a name in `taken`."""
    indices: list[Index] = []
    body: Expr = e
    names = set(taken) | set(index_names(e))
    while isinstance(body, Sum):
        mapping: dict[Index, Expr] = {}
        for index in body.indices:
            new = index
            if index.name in taken or index in indices:
                new = fresh_index(index.range, names)
                names.add(new.name)
                mapping[index] = new
            indices.append(new)
        body = substitute(body.body, mapping)
    return tuple(indices), body


def solve_indicators(summed: Axes, factors: list[Expr]) -> tuple[Axes, list[Expr]]:
    """Σ_k 1(k = e) g(k) is g(e): each equation for a summed index is used up."""
    for f in factors:
        if not isinstance(f, Indicator):
            continue
        if holds_always(f):
            return solve_indicators(summed, [g for g in factors if g is not f])
        if f.op != "==":
            continue
        for index, other in _solutions(f, summed):
            rest = [substitute(g, {index: other}) for g in factors if g is not f]
            return solve_indicators(tuple(i for i in summed if i is not index), rest)
    return summed, factors


def _solutions(f: Indicator, summed: Axes) -> Iterator[tuple[Index, Expr]]:
    """The summed indices that an equation fixes, each with a value that is always one of its range."""
    for index, other in ((f.left, f.right), (f.right, f.left)):
        if isinstance(index, Index) and index in summed and _fits(index, other):
            yield index, other
    left, right = linear(f.left), linear(f.right)
    if left is None or right is None:
        return
    difference = plus(left, right, -1)
    for index in summed:
        c = difference.get(index, 0)
        if abs(c) == 1:
            value = times({a: n for a, n in difference.items() if a is not index}, -c)
            if inside(value, index.range):
                yield index, as_index(value)


def _fits(index: Index, other: Expr) -> bool:
    """Whether `other` is always a value of the index: another index of its range, or a label."""
    if isinstance(other, Index):
        return other is not index and other.range is index.range
    return isinstance(other, Access) and other.tensor.dtype == "int" and index not in free_indices(other)


def _sum(e: Sum, order: Axes) -> Array:
    """Σ of a product: equations solved, what does not depend on the sum hoisted, the rest contracted."""
    summed, body = flat_sum(e, {i.name for i in (*free_indices(e), *order)})
    summed, factors = solve_indicators(summed, factors_of(body))
    factors = without_guards([f for g in factors for f in factors_of(g)])
    inner = [f for f in factors if free_indices(f) & set(summed)]
    outer = [f for f in factors if not free_indices(f) & set(summed)]
    reached = frozenset().union(*map(free_indices, inner)) if inner else frozenset()
    outer += [Size(i.range) for i in summed if i not in reached]
    summed = tuple(i for i in summed if i in reached)
    if not summed:
        return _product(outer, order)
    summed, groups = group_factors(summed, inner)
    operands = [_product(g, layout(Mul(tuple(g)), ())) for g in groups]
    moving = tuple(i for i in summed if any(i in a.axes for a in operands))
    # A zero factor leaves no trace of the index that it had: the sum is then a multiple.
    outer += [Size(i.range) for i in summed if i not in moving]
    value = multiply(moving, operands, order) if moving else _product((), order, operands)
    return _product(outer, order, (value,)) if outer else value
