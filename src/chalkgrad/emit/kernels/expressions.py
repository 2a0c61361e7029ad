"""Formulas lowered to vector code, generically: no function here knows a layer or a loss.

What depends on no index (1/N, 1 − β₁ᵗ, λ) is worked out once a step, in double precision, and kept in
a slot; the vector code reads it as a broadcast. Comparisons become selects.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.estimates import has_estimates, quotient, root
from chalkgrad.emit.kernels.functions import apply, maximum
from chalkgrad.emit.kernels.writer import DOUBLE, I64, Writer
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import (
    MINUS_ONE,
    ONE,
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Reduce,
    Size,
    Sum,
)  # fmt: skip
from chalkgrad.expr.ops import children

Reader = Callable[[Expr], Any]
"""The vector of an access or an index."""


MOST_SLOTS = 256
"""Scalars of a step, at most; a thread's partial sums lie behind them."""


class Slots:
    """The scalars of a step: expressions without indices, each worked out once."""

    def __init__(self) -> None:
        self.of: dict[Expr, int] = {}

    def __getitem__(self, e: Expr) -> int:
        return self.of.setdefault(e, len(self.of))


@lru_cache(4096)
def is_scalar(e: Expr) -> bool:
    """Whether no index stands in the expression, so that it has one value a step."""
    if isinstance(e, Index):
        return False
    if isinstance(e, Access):
        return not e.indices
    return all(is_scalar(c) for c in children(e))


class Vectors:
    """Lowers expressions for one place of one kernel.

    Args:
        w: The function being written.
        slots: Where the step's scalars are registered.
        place: The address of the slots.
        read: Gives the vector of every access and index.
        estimates: Whether roots and quotients may be Newton's, within a unit in the last place.
        scalars: Where scalars that were read are noted, for who lowers more expressions in the same block.
    """

    def __init__(
        self, w: Writer, slots: Slots, place: Any, read: Reader, estimates: bool = False,
        scalars: dict[Expr, Any] | None = None,
    ) -> None:  # fmt: skip
        self.w, self.slots, self.place, self.read = w, slots, place, read
        self.estimates = estimates and has_estimates(w)
        self.scalars: dict[Expr, Any] = {} if scalars is None else scalars
        self.known: dict[Expr, Any] = {}

    def __call__(self, e: Expr) -> Any:
        if e not in self.known:
            self.known[e] = self._lowered(e)
        return self.known[e]

    def _scalar(self, e: Expr) -> Any:
        if isinstance(e, Const):
            return self.w.splat(float(e.value))
        if e not in self.scalars:
            self.scalars[e] = self.w.splat_at(self.place, self.slots[e])
        return self.scalars[e]

    def _lowered(self, e: Expr) -> Any:
        b = self.w.b
        if is_scalar(e):
            return self._scalar(e)
        match e:
            case Access() | Index():
                return self.read(e)
            case Indicator():
                return b.select(self.condition(e), self.w.splat(1.0), self.w.splat(0.0))
            case Apply("where", (condition, yes, no)):
                return b.select(self.condition(condition), self(yes), self(no))
            case Apply(fn, args):
                arguments = [self(a) for a in args]
                return self._root(arguments[0]) if fn == "sqrt" else apply(self.w, fn, arguments)
            case Add(terms):
                return self._sum(terms)
            case Mul():
                return self._product(e)
            case Pow(base, exponent):
                return self._power(base, exponent)
        raise UnsupportedError(f"The compiled step has no code for {e}.", hint='Choose engine="auto".')

    def condition(self, e: Expr) -> Any:
        """A vector of truth values."""
        if isinstance(e, Indicator):
            return self.w.b.fcmp_ordered(e.op, self(e.left), self(e.right))
        return self.w.b.fcmp_unordered("!=", self(e), self.w.splat(0.0))

    def _sum(self, terms: tuple[Expr, ...]) -> Any:
        scalars = tuple(t for t in terms if is_scalar(t))
        value = self._scalar(scalars[0] if len(scalars) == 1 else Add(scalars)) if scalars else None
        for term in (t for t in terms if not is_scalar(t)):
            negated = _without_sign(term)
            if value is None:
                value = self(term)
            elif negated is not None:
                value = self.w.b.fsub(value, self(negated), flags=("contract",))
            else:
                value = self.w.b.fadd(value, self(term), flags=("contract",))
        return value

    def _product(self, e: Mul) -> Any:
        scalars, conditions, above, below = _sorted_factors(e)
        value = None
        if scalars and scalars != (ONE,):
            value = self._scalar(scalars[0] if len(scalars) == 1 else Mul(scalars))
        for factor in above:
            vector = self(factor)
            value = vector if value is None else self.w.b.fmul(value, vector, flags=("contract",))
        if below:
            divisor = self(below[0])
            for factor in below[1:]:
                divisor = self.w.b.fmul(divisor, self(factor))
            value = self._quotient(value if value is not None else self.w.splat(1.0), divisor)
        if conditions:
            value = value if value is not None else self.w.splat(1.0)
            for condition in conditions:
                value = self.w.b.select(self.condition(condition), value, self.w.splat(0.0))
        return value

    def _quotient(self, a: Any, b: Any) -> Any:
        return quotient(self.w, a, b) if self.estimates else self.w.b.fdiv(a, b)

    def _root(self, x: Any) -> Any:
        return root(self.w, x) if self.estimates else self.w.intrinsic("sqrt", x)

    def _power(self, base: Expr, exponent: Expr) -> Any:
        if isinstance(exponent, Const) and isinstance(exponent.value, Fraction):
            p = exponent.value
            if p.denominator == 1 and 0 < abs(p) <= 8:
                value = _repeated(self.w, self(base), abs(int(p)))
                return value if p > 0 else self.w.b.fdiv(self.w.splat(1.0), value)
            if p.denominator == 2 and abs(p.numerator) <= 8:
                root = self._root(self(base))
                value = _repeated(self.w, root, abs(p.numerator))
                return value if p > 0 else self.w.b.fdiv(self.w.splat(1.0), value)
        # x^p = exp(p log x) loses digits where the logarithm is large; the logarithm itself does not.
        logarithm = apply(self.w, "log", [self(base)])
        return apply(self.w, "exp", [self.w.b.fmul(self(exponent), logarithm)])


def _without_sign(e: Expr) -> Expr | None:
    """x for −1 · x, else None."""
    if isinstance(e, Mul) and e.factors[0] is MINUS_ONE and len(e.factors) > 1:
        rest = e.factors[1:]
        return rest[0] if len(rest) == 1 else Mul(rest)
    return None


def _sorted_factors(e: Mul) -> tuple[tuple[Expr, ...], list[Expr], list[Expr], list[Expr]]:
    """The factors of a product: scalars, comparisons, vectors, and vectors to divide by."""
    scalars: list[Expr] = []
    conditions: list[Expr] = []
    above: list[Expr] = []
    below: list[Expr] = []
    pending = list(e.factors)
    while pending:
        factor = pending.pop(0)
        if isinstance(factor, Mul):
            pending[:0] = factor.factors
        elif is_scalar(factor):
            scalars.append(factor)
        elif isinstance(factor, Indicator):
            conditions.append(factor)
        elif isinstance(factor, Pow) and factor.exponent is MINUS_ONE:
            inner = factor.base
            if isinstance(inner, Mul):
                pending[:0] = [Pow(f, MINUS_ONE) for f in inner.factors]
            else:
                below.append(inner)
        else:
            above.append(factor)
    return tuple(scalars), conditions, above, below


def _repeated(w: Writer, x: Any, times: int) -> Any:
    value = x
    for _ in range(times - 1):
        value = w.b.fmul(value, x)
    return value


class Scalars:
    """Lowers an expression without indices to double precision, once a step.

    Args:
        w: The function being written.
        read: Gives the double of every scalar access, size and reduction.
    """

    def __init__(self, w: Writer, read: Reader) -> None:
        self.w, self.read = w, read
        self.known: dict[Expr, Any] = {}

    def __call__(self, e: Expr) -> Any:
        if e not in self.known:
            self.known[e] = self._lowered(e)
        return self.known[e]

    def _lowered(self, e: Expr) -> Any:
        b = self.w.b
        match e:
            case Const(value):
                return ir.Constant(DOUBLE, float(value))
            case Access() | Size() | Sum() | Reduce():
                return self.read(e)
            case Add(terms):
                value = self(terms[0])
                for term in terms[1:]:
                    value = b.fadd(value, self(term))
                return value
            case Mul(factors):
                value = self(factors[0])
                for factor in factors[1:]:
                    value = b.fmul(value, self(factor))
                return value
            case Pow(base, exponent) if exponent is MINUS_ONE:
                return b.fdiv(ir.Constant(DOUBLE, 1.0), self(base))
            case Pow(base, exponent):
                return self.library("pow", self(base), self(exponent))
            case Indicator(op, left, right):
                return b.uitofp(b.fcmp_ordered(op, self(left), self(right)), DOUBLE)
            case Apply("pi", ()):
                return ir.Constant(DOUBLE, 3.141592653589793)
            case Apply("relu", (x,)):
                return maximum(self.w, self(x), ir.Constant(DOUBLE, 0.0))
            case Apply("maximum" | "minimum" | "clip" | "abs" as fn, args):
                return apply(self.w, fn, [self(a) for a in args])
            case Apply("where", (condition, yes, no)):
                truth = b.fcmp_unordered("!=", self(condition), ir.Constant(DOUBLE, 0.0))
                return b.select(truth, self(yes), self(no))
            case Apply(("exp" | "log" | "sqrt" | "tanh" | "erf" | "log1p" | "expm1") as fn, (x,)):
                return self.library(fn, self(x))
        raise UnsupportedError(f"The compiled step has no code for {e}.", hint='Choose engine="auto".')

    def library(self, name: str, *arguments: Any) -> Any:
        """A function of the C library."""
        known = self.w.module.globals.get(name)
        if known is None:
            known = ir.Function(self.w.module, ir.FunctionType(DOUBLE, [DOUBLE] * len(arguments)), name)
        return self.w.b.call(known, list(arguments))


def whole_to_number(w: Writer, index: Any) -> Any:
    """A loop's index in all lanes, as a number; exact below 2^24."""
    if isinstance(index, int):
        return w.splat(float(index))
    return w.splat(w.b.sitofp(index if index.type == I64 else w.b.zext(index, I64), w.number))
