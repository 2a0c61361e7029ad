"""Constants that keep their formula: in a trace np.sqrt(2 / np.pi) is √(2/π), not sixteen digits."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

from chalkgrad.expr import arithmetic
from chalkgrad.expr.nodes import Add, Apply, Expr, Mul, Pow, as_expr


class Exact(float):
    """A float that knows the expression it is the value of."""

    expr: Expr

    def __new__(cls, value: float, expr: Expr) -> Exact:
        made = super().__new__(cls, value)
        made.expr = expr
        return made

    def __neg__(self) -> Exact:
        return Exact(-float(self), arithmetic.negate(self.expr))

    def __reduce__(self) -> tuple[Any, ...]:
        return Exact, (float(self), self.expr)


def formula_of(value: Any) -> Expr | None:
    """The expression of a plain number; None if it is no finite plain number."""
    if isinstance(value, Exact):
        return value.expr
    if type(value) not in (int, float) or not math.isfinite(value):
        return None
    return as_expr(value)


def _binary(name: str, build: Callable[[Expr, Expr], Expr]) -> None:
    plain = getattr(float, f"__{name}__")
    reverse = getattr(float, f"__r{name}__")

    def forward(self: Exact, other: Any) -> Any:
        written = formula_of(other)
        value = plain(self, other)
        return (
            value if written is None or value is NotImplemented else _made(value, build(self.expr, written))
        )

    def backward(self: Exact, other: Any) -> Any:
        written = formula_of(other)
        value = reverse(self, other)
        return (
            value if written is None or value is NotImplemented else _made(value, build(written, self.expr))
        )

    setattr(Exact, f"__{name}__", forward)
    setattr(Exact, f"__r{name}__", backward)


def _made(value: Any, expr: Expr) -> Any:
    return Exact(float(value), expr) if isinstance(value, Real) else value


_binary("add", lambda a, b: Add((a, b)))
_binary("sub", lambda a, b: arithmetic.add((a, arithmetic.negate(b))))
_binary("mul", lambda a, b: Mul((a, b)))
_binary("truediv", arithmetic.divide)
_binary("pow", Pow)

PI = Exact(math.pi, Apply("pi", ()))
E = Exact(math.e, Apply("exp", (as_expr(1),)))


def function(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which of a plain number gives an exact constant: np.log(2)."""

    def apply(x: Any, *args: Any, **kwargs: Any) -> Any:
        written = None if args or kwargs else formula_of(x)
        value = real(x, *args, **kwargs)
        if written is None or not math.isfinite(value) or float(value).is_integer():
            return value
        return Exact(float(value), Apply(name, (written,)))

    return apply
