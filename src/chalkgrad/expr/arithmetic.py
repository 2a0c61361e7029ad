"""How written arithmetic becomes nodes: the one place where `-`, `/` and `^` get their shape.

Both front ends use these, so that a formula means the same tree however it was written:

    a - b  is  a + (-1)·b        a / b  is  a · b^-1        a / 2  is  1/2 · a        1/2  is one half

Nothing here simplifies beyond that: written parentheses are kept as nested nodes.
"""

from __future__ import annotations

from fractions import Fraction

from chalkgrad.expr.nodes import MINUS_ONE, ONE, Add, Const, Expr, Mul, Pow


def add(terms: tuple[Expr, ...]) -> Expr:
    """The sum of written terms; one term is itself."""
    return terms[0] if len(terms) == 1 else Add(terms)


def multiply(factors: tuple[Expr, ...]) -> Expr:
    """The product of written factors; one factor is itself."""
    return factors[0] if len(factors) == 1 else Mul(factors)


def negate(e: Expr) -> Expr:
    """-e, with the sign in the leading constant."""
    match e:
        case Const(value):
            return Const(-value)
        case Mul((Const(value), *rest)) if rest:
            return multiply(tuple(rest)) if value == -1 else Mul((Const(-value), *rest))
        case Mul(factors):
            return Mul((MINUS_ONE, *factors))
    return Mul((MINUS_ONE, e))


def reciprocal(e: Expr) -> tuple[Expr, ...]:
    """The factors of 1/e: a product factor by factor, a power by its exponent.

    Raises:
        ZeroDivisionError: If `e` is the constant 0.
    """
    match e:
        case Const(Fraction() as value):
            return (Const(1 / value),)
        case Pow(base, Const(value)):
            return (Pow(base, Const(-value)),)
        case Mul(factors) if factors:
            return tuple(part for factor in factors for part in reciprocal(factor))
    return (Pow(e, MINUS_ONE),)


def divide(a: Expr, b: Expr) -> Expr:
    """a / b as a product.

    Raises:
        ZeroDivisionError: If `b` is the constant 0.
    """
    factors: list[Expr] = [] if a is ONE else list(a.factors) if isinstance(a, Mul) else [a]
    for part in reciprocal(b):
        if isinstance(part, Const) and factors and isinstance(factors[0], Const):
            factors[0] = Const(factors[0].value * part.value)
            if factors[0] is ONE and len(factors) > 1:
                del factors[0]
        elif isinstance(part, Const):
            factors.insert(0, part)
        else:
            factors.append(part)
    return multiply(tuple(factors)) if factors else ONE


def power(base: Expr, exponent: Expr) -> Expr:
    """base ^ exponent."""
    return Pow(base, exponent)
