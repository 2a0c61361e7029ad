"""Ratios between what was returned and what is right, put into words: -1, 2, N, 1/(N K)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

import numpy as np

from chalkgrad.expr.nodes import Range
from chalkgrad.verify.environment import Array

CLOSE = 1e-6
"""How near a ratio must come to what it is said to be."""

_WHOLE = tuple(Fraction(n) for n in (2, 3, 4, 5, 8, 10))
CONSTANTS = (Fraction(1), *(c for n in _WHOLE for c in (n, 1 / n)), Fraction(3, 2), Fraction(2, 3))


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio that is the same expression of the sizes at every point.

    Attributes:
        text: In words, such as "-1/N".
        sign: 1 or -1.
        constant: The constant's size; None for a decimal that is no small fraction.
        over, under: Ranges whose sizes multiply and divide.
        plain: Whether it is a sign, a small fraction or sizes rather than an odd number.
    """

    text: str
    sign: int
    constant: float
    over: tuple[Range, ...]
    under: tuple[Range, ...]
    plain: bool

    @property
    def zero(self) -> bool:
        return self.constant == 0.0


@lru_cache(64)
def _monomials(ranges: tuple[Range, ...]) -> tuple[tuple[tuple[Range, ...], tuple[Range, ...]], ...]:
    """Products of at most two sizes above and below the line, simplest first."""
    some: list[tuple[Range, ...]] = [
        (),
        *((r,) for r in ranges),
        *combinations(ranges, 2),
        *((r, r) for r in ranges),
    ]
    found = [(a, b) for a in some for b in some if not set(a) & set(b)]
    return tuple(sorted(found, key=lambda f: len(f[0]) + len(f[1])))


def name_ratio(
    values: Sequence[float],
    sizes: Sequence[Mapping[Range, int]],
    parameters: Mapping[str, float] | None = None,
) -> Ratio | None:
    """The simplest expression that equals the ratio at every point; None if there is none.

    A ratio that is one odd number at all points is named by a parameter of the layer, such as
    (1 - p)/p, or by its digits.
    """
    got = np.asarray(values, float)
    if not np.isfinite(got).all():
        return None
    if np.all(np.abs(got) < CLOSE):
        return Ratio("0", 1, 0.0, (), (), True)
    if np.any(got > 0) and np.any(got < 0):
        return None
    sign = 1 if got[0] > 0 else -1
    size = [abs(float(g)) for g in got]
    found = _candidates(tuple(tuple(s.items()) for s in sizes)).named(np.asarray(size))
    if found is not None:
        text, constant, over, under = found
        return Ratio(("-" if sign < 0 else "") + text, sign, constant, over, under, True)
    if np.allclose(got, got[0], rtol=CLOSE, atol=0):
        text = _of_parameters(abs(float(got[0])), parameters or {}) or f"{abs(got[0]):.6g}"
        return Ratio(("-" if sign < 0 else "") + text, sign, abs(float(got[0])), (), (), False)
    return None


def _of_parameters(value: float, parameters: Mapping[str, float]) -> str:
    """A number as an expression of one parameter; empty if it is none."""
    for name, p in parameters.items():
        simple = {name: p, f"(1 - {name})": 1 - p, f"{name}^2": p * p, f"(1 - {name})^2": (1 - p) ** 2}
        forms = {**simple, **{f"1/{text}": 1 / v for text, v in simple.items() if v}}
        if p and p != 1:
            forms |= {f"(1 - {name})/{name}": (1 - p) / p, f"{name}/(1 - {name})": p / (1 - p)}
        for text, v in forms.items():
            if abs(v - value) <= CLOSE * value:
                return text
    return ""


Candidate = tuple[str, float, tuple[Range, ...], tuple[Range, ...]]
"""Words, a constant, and the ranges whose sizes multiply and divide it."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Everything that a ratio may be called at the points of a check, simplest first.

    Attributes:
        monomials: Products and quotients of sizes.
        values: What each constant times each monomial is at each point.
        others: What else is made of a size: words, and the value at each point.
    """

    monomials: tuple[tuple[tuple[Range, ...], tuple[Range, ...]], ...]
    values: Array
    others: tuple[tuple[str, Array], ...]

    def named(self, size: Array) -> Candidate | None:
        """The first that a ratio's size is at every point."""
        for constant in CONSTANTS:
            if (np.abs(size - float(constant)) <= CLOSE * float(constant)).all():
                return str(constant), float(constant), (), ()
        fits = (np.abs(size - self.values) <= CLOSE * self.values).all(axis=-1)
        if fits.any():
            first, second = np.argwhere(fits)[0]
            over, under = self.monomials[second]
            return _spelled(CONSTANTS[first], over, under), float(CONSTANTS[first]), over, under
        for text, value in self.others:
            if (np.abs(size - value) <= CLOSE * value).all():
                return text, 1.0, (), ()
        return None


@lru_cache(64)
def _candidates(known: tuple[tuple[tuple[Range, int], ...], ...]) -> Candidates:
    """What a ratio may be called; made once for the points of a check."""
    sizes = [dict(s) for s in known]
    varying = [r for r in sizes[0] if all(r in s for s in sizes) and len({s[r] for s in sizes}) > 1]
    monomials = tuple(m for m in _monomials(tuple(varying)) if m != ((), ()))
    over, under = (
        np.array([[_product(m[side], s) for s in sizes] for m in monomials]).reshape(-1, len(sizes))
        for side in (0, 1)
    )
    constants = np.array([float(c) for c in CONSTANTS])
    others: list[tuple[str, Array]] = []
    for r in varying:
        n = np.array([float(s[r]) for s in sizes])
        with np.errstate(divide="ignore"):
            others += [(f"{r.name}/({r.name} - 1)", n / (n - 1)), (f"({r.name} - 1)/{r.name}", (n - 1) / n)]
        others += [(f"({r.name} - 1)", n - 1), (f"sqrt({r.name})", np.sqrt(n))]
        others.append((f"1/sqrt({r.name})", 1 / np.sqrt(n)))
    return Candidates(monomials, constants[:, None, None] * over / under, tuple(others))


def _product(ranges: tuple[Range, ...], sizes: Mapping[Range, int]) -> float:
    return float(math.prod(sizes[r] for r in ranges))


def _spelled(constant: Fraction, over: tuple[Range, ...], under: tuple[Range, ...]) -> str:
    above = [r.name for r in over] + ([str(constant.numerator)] if constant.numerator != 1 else [])
    below = [r.name for r in under] + ([str(constant.denominator)] if constant.denominator != 1 else [])
    top = " ".join(above) or "1"
    if not below:
        return top
    return f"{top}/{below[0]}" if len(below) == 1 else f"{top}/({' '.join(below)})"
