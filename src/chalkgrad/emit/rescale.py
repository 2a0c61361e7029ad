"""Numbers that cancel between an intermediate of the backward and the lines that read it.

∂L/∂s = g / (2 d) under ∂L/∂x = 2 x Σ ∂L/∂s is a pass over s for the ½ and one over x for the 2. Where
every term that reads a value has a number in front anyway, the value's own number moves there: the code
computes 2 ∂L/∂s = g / d instead, and the terms lose their 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from chalkgrad.emit.share import number_and_rest
from chalkgrad.expr.nodes import Access, Add, Const, Definition, Expr, Mul, Sum, Tensor
from chalkgrad.expr.ops import tensors_in

NAME = "g"
"""What a value without its number is called, followed by a number where that name is taken."""


def rescale(
    definitions: Sequence[Definition], keep: Sequence[Tensor], taken: Iterable[Tensor] = ()
) -> tuple[Definition, ...]:
    """The definitions, those outside `keep` without the numbers that all their readers can take over.

    No term gets a number that had none, so nothing costs more than before. A value without its number
    is another one and gets a name that no definition and nothing in `taken` has.
    """
    names = {t.name for t in taken} | {d.target.name for d in definitions}
    for d in definitions:
        names |= {t.name for t in tensors_in(d.body)}
    result = list(definitions)
    for place, d in enumerate(definitions):
        number, rest = number_and_rest(result[place].body)
        if d.target in keep or abs(number) == 1:
            continue
        plain = Tensor(_unused(names), d.target.axes, d.target.dtype, "value")
        bodies = [_reading(e.body, d.target, plain, number) for e in result]
        read = [
            Definition(e.target, e.indices, body)
            for e, body in zip(result, bodies, strict=True)
            if body is not None
        ]
        if len(read) == len(result):
            result = read
            result[place] = Definition(plain, d.indices, rest)
            names.add(plain.name)
    return tuple(result)


def _unused(taken: set[str]) -> str:
    number = 1
    while (name := f"{NAME}{number}" if number > 1 else NAME) in taken:
        number += 1
    return name


def _reading(e: Expr, old: Tensor, plain: Tensor, number: Fraction) -> Expr | None:
    """`e` with number · plain for `old`, the number joined to one that stands there; None if none does."""
    if old not in tensors_in(e):
        return e
    match e:
        case Add(terms):
            read = [_reading(t, old, plain, number) for t in terms]
            return None if None in read else Add(tuple(t for t in read if t is not None))
        case Sum(indices, body):
            inner = _reading(body, old, plain, number)
            return None if inner is None else Sum(indices, inner)
        case Mul(factors):
            inside = [f for f in factors if old in tensors_in(f)]
            if len(inside) != 1:
                return None
            own, _ = number_and_rest(e)
            if abs(own) != 1:
                renamed = _renamed(e, old, plain)
                return None if renamed is None else _times(number, renamed)
            inner = _reading(inside[0], old, plain, number)
            return None if inner is None else Mul(tuple(inner if f is inside[0] else f for f in factors))
    return None


def _renamed(e: Expr, old: Tensor, plain: Tensor) -> Expr | None:
    """`e` with `plain` for `old` where it is a multiple of it as a whole; None where it is not."""
    match e:
        case Access(tensor, indices) if tensor is old:
            return Access(plain, indices)
        case Sum(indices, body):
            inner = _renamed(body, old, plain)
            return None if inner is None else Sum(indices, inner)
        case Add(terms):
            read = [_renamed(t, old, plain) for t in terms]
            return None if None in read else Add(tuple(t for t in read if t is not None))
        case Mul(factors):
            inside = [f for f in factors if old in tensors_in(f)]
            inner = _renamed(inside[0], old, plain) if len(inside) == 1 else None
            return None if inner is None else Mul(tuple(inner if f is inside[0] else f for f in factors))
    return None


def _times(number: Fraction, e: Expr) -> Expr:
    """A product, its own number multiplied by this one."""
    own, rest = number_and_rest(e)
    factors = rest.factors if isinstance(rest, Mul) else (rest,)
    if own * number != 1:
        return Mul((Const(own * number), *factors))
    return rest
