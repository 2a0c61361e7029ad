"""Ratios between what was returned and what is right, put into words: -1, 2, N, 1/(N K)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

import numpy as np

from chalkgrad.expr.nodes import Range

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
    for text, constant, over, under, expected in _candidates(tuple(tuple(s.items()) for s in sizes)):
        if all(abs(g - e) <= CLOSE * e for g, e in zip(size, expected, strict=True)):
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


Candidate = tuple[str, float, tuple[Range, ...], tuple[Range, ...], tuple[float, ...]]
"""Words, a constant, the ranges whose sizes multiply and divide it, and the value at each point."""


@lru_cache(64)
def _candidates(known: tuple[tuple[tuple[Range, int], ...], ...]) -> tuple[Candidate, ...]:
    """Everything that a ratio may be called, simplest first; made once for the points of a check."""
    return tuple(_made([dict(s) for s in known]))


def _made(sizes: Sequence[Mapping[Range, int]]) -> Iterator[Candidate]:
    ranges = tuple(r for r in sizes[0] if all(r in s for s in sizes))
    varying = tuple(r for r in ranges if len({s[r] for s in sizes}) > 1)
    for constant in CONSTANTS:
        yield str(constant), float(constant), (), (), (float(constant),) * len(sizes)
    for constant in CONSTANTS:
        for over, under in _monomials(varying):
            if over or under:
                value = tuple(float(constant) * _product(over, s) / _product(under, s) for s in sizes)
                yield _spelled(constant, over, under), float(constant), over, under, value
    for r in varying:
        n = [float(s[r]) for s in sizes]
        yield f"{r.name}/({r.name} - 1)", 1.0, (), (), tuple(m / (m - 1) for m in n)
        yield f"({r.name} - 1)/{r.name}", 1.0, (), (), tuple((m - 1) / m for m in n)
        yield f"({r.name} - 1)", 1.0, (), (), tuple(m - 1 for m in n)
        yield f"sqrt({r.name})", 1.0, (), (), tuple(math.sqrt(m) for m in n)
        yield f"1/sqrt({r.name})", 1.0, (), (), tuple(1 / math.sqrt(m) for m in n)


def _product(ranges: tuple[Range, ...], sizes: Mapping[Range, int]) -> float:
    return float(math.prod(sizes[r] for r in ranges))


def _spelled(constant: Fraction, over: tuple[Range, ...], under: tuple[Range, ...]) -> str:
    above = [r.name for r in over] + ([str(constant.numerator)] if constant.numerator != 1 else [])
    below = [r.name for r in under] + ([str(constant.denominator)] if constant.denominator != 1 else [])
    top = " ".join(above) or "1"
    if not below:
        return top
    return f"{top}/{below[0]}" if len(below) == 1 else f"{top}/({' '.join(below)})"
