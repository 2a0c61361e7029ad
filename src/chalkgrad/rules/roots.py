"""Roots of whole numbers among the factors of a product."""

from __future__ import annotations

from fractions import Fraction

from chalkgrad.expr.nodes import Apply, Const, Expr


def roots_folded(coeff: Fraction, powers: dict[Expr, Fraction]) -> Fraction:
    """Roots of numbers worked out as far as they are rational: √2² is 2, 2/√2 is √2, √2/2 is 1/√2."""
    for atom, power in list(powers.items()):
        number = _under_root(atom)
        if number is None or power.denominator != 1:
            continue
        whole = int(power / 2)  # towards zero: √3⁻³ is √3⁻¹/3
        coeff, power = coeff * Fraction(number) ** whole, power - 2 * whole  # noqa: PLW2901
        if power == 1 and coeff.denominator % number == 0:
            coeff, power = coeff * number, Fraction(-1)  # noqa: PLW2901
        elif power == -1 and coeff.numerator % number == 0:
            coeff, power = coeff / number, Fraction(1)  # noqa: PLW2901
        powers[atom] = power
    return coeff


def _under_root(e: Expr) -> int | None:
    """n for √n, a whole number above one."""
    match e:
        case Apply("sqrt", (Const(Fraction(denominator=1) as value),)) if value > 1:
            return int(value)
    return None
