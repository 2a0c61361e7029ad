"""Building expressions the way both front ends must: one meaning for a function, however it was written.

    maximum(e, 0)  is  relu(e)                  minimum(e, c)  is  c - relu(c - e)
    maximum(e, c)  is  c + relu(e - c)          square(e)      is  e^2
    minimum(maximum(e, b), c)  is  clip(e, b, c), in either order, for constants b < c
    mean(i, e)     is  1/|N| * sum(i, e)        reciprocal(e)  is  e^-1

Functions are those of `chalkgrad.primitives`; any other is refused by name.
"""

from __future__ import annotations

from fractions import Fraction

from chalkgrad.errors import UnsupportedError, suggestion
from chalkgrad.expr import arithmetic
from chalkgrad.expr.nodes import MINUS_ONE, ZERO, Add, Apply, Const, Expr, Index, Mul, Pow, Reduce, Size, Sum
from chalkgrad.expr.ops import map_children
from chalkgrad.primitives import PRIMITIVES

NAMED_POWERS = {"square": 2, "reciprocal": -1}
"""Functions that are powers, with their exponents."""

ALIASES = {
    "ln": "log", "absolute": "abs", "fabs": "abs", "atan": "arctan", "expit": "sigmoid",
    "logistic": "sigmoid", "swish": "silu",
}  # fmt: skip
"""Other names of functions in the table."""

FORMULAS = {
    "softmax": "exp(f[i,k]) / sum(j, exp(f[i,j]))",
    "log_softmax": "f[i,k] - log(sum(j, exp(f[i,j])))",
    "logsumexp": "log(sum(j, exp(f[i,j])))",
    "var": "mean(i, (x[i,d] - m[d])^2) with m[d] = mean(i, x[i,d])",
    "std": "sqrt(mean(i, (x[i,d] - m[d])^2)) with m[d] = mean(i, x[i,d])",
    "norm": "sqrt(sum(d, x[i,d]^2))",
    "dot": "sum(d, x[i,d] * W[d,k])",
    "matmul": "sum(d, x[i,d] * W[d,k])",
    "leaky_relu": "where(x[i] > 0, x[i], 0.01 * x[i])",
    "heaviside": "1(x[i] > 0)",
    "delta": "1(j == k)",
}
"""Functions that are not elementwise, or not primitive, with how to write them."""

divide = arithmetic.divide
negate = arithmetic.negate


def subtract(a: Expr, b: Expr) -> Expr:
    """a - b."""
    return arithmetic.add((a, arithmetic.negate(b)))


def maximum(a: Expr, b: Expr) -> Expr:
    """The larger of two values; with a constant c it is c + relu(e - c), so that relu's kink rules."""
    match a, b:
        case (Const(p), Const(q)):
            return a if p >= q else b
        case (Const() as c, e) | (e, Const() as c):
            return _shifted(c, Apply("relu", (_minus(e, c),)))
    return Apply("maximum", (a, b))


def minimum(a: Expr, b: Expr) -> Expr:
    """The smaller of two values; with a constant c it is c - relu(c - e)."""
    match a, b:
        case (Const(p), Const(q)):
            return a if p <= q else b
        case (Const() as c, e) | (e, Const() as c):
            return _shifted(c, arithmetic.negate(Apply("relu", (_minus(c, e),))))
    return Apply("minimum", (a, b))


def with_clips(e: Expr) -> Expr:
    """The expression with clip(u, b, c) for the smaller of c and the larger of b and u, constants b < c."""
    e = map_children(e, with_clips)
    upper = _at_most(e)
    inner = _at_least(upper[0]) if upper is not None else None
    if upper is not None and inner is not None and inner[1].value < upper[1].value:
        return Apply("clip", (inner[0], inner[1], upper[1]))
    lower = _at_least(e)
    inner = _at_most(lower[0]) if lower is not None else None
    if lower is not None and inner is not None and lower[1].value < inner[1].value:
        return Apply("clip", (inner[0], lower[1], inner[1]))
    return e


def _at_least(e: Expr) -> tuple[Expr, Const] | None:
    """For maximum(u, c) as `maximum` writes it: (u, c)."""
    match e:
        case Apply("relu", (u,)):
            return u, ZERO
        case Add((Const() as c, Apply("relu", (Add((*terms, Const(b))),)))) if b == -c.value and terms:
            return arithmetic.add(tuple(terms)), c
    return None


def _at_most(e: Expr) -> tuple[Expr, Const] | None:
    """For minimum(u, c) as `minimum` writes it: (u, c)."""
    match e:
        case Mul((Const(-1), Apply("relu", (u,)))):
            return negate(u), ZERO
        case Add((Const() as c, Mul((Const(-1), Apply("relu", (Add((Const(b), u)),)))))) if b == c.value:
            return negate(u), c
    return None


def _minus(a: Expr, b: Expr) -> Expr:
    """a - b, without a written zero."""
    if b is ZERO:
        return a
    return arithmetic.negate(b) if a is ZERO else subtract(a, b)


def _shifted(c: Expr, e: Expr) -> Expr:
    return e if c is ZERO else arithmetic.add((c, e))


def total(indices: tuple[Index, ...], body: Expr) -> Expr:
    """The sum of `body` over the indices."""
    return Sum(indices, body)


def mean(indices: tuple[Index, ...], body: Expr) -> Expr:
    """The average of `body` over the indices: 1/|R| for each range, times the sum."""
    weights = tuple(Pow(Size(i.range), MINUS_ONE) for i in indices)
    return Mul((*weights, Sum(indices, body)))


def reduction(op: str, indices: tuple[Index, ...], body: Expr) -> Expr:
    """`op` ("sum", "mean", "max", "min" or "prod") of `body` over the indices."""
    if op == "sum":
        return total(indices, body)
    return mean(indices, body) if op == "mean" else Reduce(op, indices, body)


def call(fn: str, args: tuple[Expr, ...]) -> Expr:
    """fn(args), for a function of the primitives table or one that is a power or a shifted relu.

    Raises:
        UnsupportedError: Naming the function, the nearest supported one and how to write it instead;
            or the number of arguments it takes.
    """
    fn = ALIASES.get(fn, fn)
    arity = 1 if fn in NAMED_POWERS else PRIMITIVES[fn].arity if fn in PRIMITIVES else None
    if arity is None:
        raise UnsupportedError(f"There is no function '{fn}'.{nearest(fn)}", hint=how_to_write(fn))
    if len(args) != arity:
        raise UnsupportedError(
            f"{fn} takes {_count(arity, 'argument')}, and {len(args)} {_are(len(args))} given."
        )
    if fn in NAMED_POWERS:
        return Pow(args[0], Const(Fraction(NAMED_POWERS[fn])))
    if fn == "maximum":
        return maximum(args[0], args[1])
    if fn == "minimum":
        return minimum(args[0], args[1])
    if fn == "clip":
        return minimum(maximum(args[0], args[1]), args[2])
    return Apply(fn, args)


def known_functions() -> tuple[str, ...]:
    """The names that `call` accepts, constants of no argument left out."""
    return (*(p.name for p in PRIMITIVES.values() if p.arity), *NAMED_POWERS, *ALIASES)


def nearest(fn: str) -> str:
    """`" Did you mean 'exp'?"`, or nothing."""
    return suggestion(fn.lower(), known_functions())


def how_to_write(fn: str) -> str:
    """What to write instead of an unsupported function."""
    if fn in FORMULAS:
        return f"{fn} is written out: {FORMULAS[fn]}."
    if fn in ("max", "min", "sum", "prod", "mean", "average"):
        return f"{fn} runs over an index: {fn}(d, x[i,d])."
    return "Supported: " + ", ".join(sorted(p.name for p in PRIMITIVES.values() if p.arity)) + "."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number or 'no'} {what}s"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
