"""Every way to spoil one place of an expression: what the verifier must catch."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from chalkgrad.expr.nodes import (
    MINUS_ONE,
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
    Partial,
    Pow,
    Reduce,
    Size,
    Sum,
    Tensor,
    as_expr,
)
from chalkgrad.expr.ops import children, free_indices, rebuild, substitute, tensors_in, walk

OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
OTHER_FUNCTION = {"exp": "expm1", "log": "log1p", "relu": "abs", "tanh": "sigmoid", "sigmoid": "tanh"}


def corruptions(e: Expr) -> list[tuple[str, Expr]]:
    """Each (what was done, the spoiled expression), one change at a time.

    A spoiled expression may happen to equal the original (a factor that is 1, a symmetric sum), or
    may read outside of an array; it never is the original node.
    """
    tensors = tensors_in(e)
    indices = frozenset(n for n in walk(e) if isinstance(n, Index))
    found = [(what, new) for what, new in _everywhere(e, tensors, indices) if new is not e]
    return list({new: (what, new) for what, new in found}.values())


def _everywhere(e: Expr, tensors: frozenset[Tensor], indices: frozenset[Index]) -> Iterator[tuple[str, Expr]]:
    yield from _here(e, tensors, indices)
    kids = children(e)
    for place, kid in enumerate(kids):
        for what, new in _everywhere(kid, tensors, indices):
            # The second part of a Partial must stay an access, and an index must stay one.
            if isinstance(e, Partial) and place == 1 and not isinstance(new, Access):
                continue
            if isinstance(e, Access) and not isinstance(new, Index | Access):
                continue
            yield what, rebuild(e, (*kids[:place], new, *kids[place + 1 :]))


def _here(e: Expr, tensors: frozenset[Tensor], indices: frozenset[Index]) -> Iterator[tuple[str, Expr]]:
    match e:
        case Index(name, of):
            for other in sorted(indices, key=lambda i: (i.name, i.range.name)):
                if other is not e:
                    kind = "same range" if other.range is of else "other range"
                    yield f"index {name} replaced by {other.name} ({kind})", other
            return
        case Const(number) if isinstance(number, Fraction):
            yield f"constant {number} raised by one", Const(number + 1)
            yield f"sign of the constant {number} flipped", Const(-number)
        case Size(of):
            yield f"size({of.name}) replaced by 1", ONE
            yield f"size({of.name}) raised by one", e + 1
        case Access(tensor, at):
            yield from _other_access(e, tensor, at, tensors)
        case Indicator(op, left, right):
            yield f"indicator {op} turned around", Indicator(OPPOSITE[op], left, right)
            yield "indicator forgotten", ONE
        case Apply(fn, args) if args:
            yield f"function {fn} forgotten", args[0]
            if fn in OTHER_FUNCTION:
                yield f"function {fn} replaced", Apply(OTHER_FUNCTION[fn], args)
        case Add(terms):
            yield from _terms(terms)
        case Mul(factors):
            yield from _factors(factors)
        case Pow(base, exponent):
            yield "exponent negated", Pow(base, Mul((MINUS_ONE, exponent)))
            yield "exponent raised by one", Pow(base, Add((exponent, ONE)))
            yield "power forgotten", base
        case Sum(bound, body):
            yield from _sums(bound, body)
        case Reduce(op, bound, body):
            yield "max and min swapped", Reduce("min" if op == "max" else "max", bound, body)
    yield "sign flipped", Mul((MINUS_ONE, e))
    yield "doubled", Mul((as_expr(2), e))
    yield "squared", Pow(e, as_expr(2))
    yield "dropped to 0", ZERO
    for index in sorted(free_indices(e), key=lambda i: i.name):
        yield f"summed once more over {index.name}", Sum((index,), e)


def _other_access(
    e: Access, tensor: Tensor, at: tuple[Expr, ...], tensors: frozenset[Tensor]
) -> Iterator[tuple[str, Expr]]:
    for one in range(len(at)):
        for two in range(one + 1, len(at)):
            swapped = list(at)
            swapped[one], swapped[two] = swapped[two], swapped[one]
            yield f"{tensor.name} transposed", Access(tensor, tuple(swapped))
    for other in sorted(tensors, key=lambda t: (t.name, t.role)):
        if other is not tensor and other.axes == tensor.axes and other.dtype == tensor.dtype:
            yield f"{tensor.name} ({tensor.role}) replaced by {other.name} ({other.role})", Access(other, at)


def _terms(terms: tuple[Expr, ...]) -> Iterator[tuple[str, Expr]]:
    for place, term in enumerate(terms):
        rest = (*terms[:place], *terms[place + 1 :])
        yield f"term {place} dropped", Add(rest)
        yield f"term {place} twice", Add((*terms, term))


def _factors(factors: tuple[Expr, ...]) -> Iterator[tuple[str, Expr]]:
    for place, factor in enumerate(factors):
        rest = (*factors[:place], *factors[place + 1 :])
        yield f"factor {place} dropped", Mul(rest)
        yield f"factor {place} twice", Mul((*factors, factor))
        yield f"factor {place} inverted", Mul((*rest, Pow(factor, MINUS_ONE)))


def _sums(bound: tuple[Index, ...], body: Expr) -> Iterator[tuple[str, Expr]]:
    for place, index in enumerate(bound):
        rest = (*bound[:place], *bound[place + 1 :])
        yield f"sum over {index.name} left per entry", Sum(rest, body) if rest else body
        first = substitute(body, {index: ZERO})
        yield f"sum over {index.name} only at 0", Sum(rest, first) if rest else first
        mean = Mul((Pow(Size(index.range), MINUS_ONE), Sum(bound, body)))
        yield f"sum over {index.name} made a mean", mean
