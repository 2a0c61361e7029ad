"""The table of elementwise functions: everything about one function in one record.

A record holds the function's derivative (as text in the formula grammar, in the argument and, where
that is cheaper, in the value y), its spelling in each backend and in LaTeX, where to sample it, its
kinks, a slow reference, and a source. Adding a function is adding a record.

Arguments are called `x` in functions of one argument and `a`, `b`, `c` otherwise; `y` is the value.
At a kink the derivative's text is the convention: relu'(0) = 0, |x|'(0) = 0, and a tie of
maximum(a, b) gives half to each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Primitive:
    """One elementwise function.

    Attributes:
        name: As written in formulas.
        derivatives: d y / d argument, one text per argument; "0" where it is piecewise constant.
        in_value: The same in terms of `y` (and perhaps arguments), or None where that is no better.
        numpy, torch, jax: Spellings with `{0}`, `{1}` for the arguments' code.
        latex: LaTeX with the same places.
        domain: Interval to draw test points from.
        above: Where the function ends: it and its derivatives are finite for larger arguments alone, of
            which 1 is one. None where there is no such end.
        values: An interval that holds all values.
        kinks: Points where the derivative jumps; sampling stays away. For functions of several
            arguments they are points of the first minus the second.
        holomorphic: Whether the complex step may be used.
        reference: Slow and obvious evaluation on NumPy arrays, complex ones where holomorphic.
        because: The reason printed beside the derivative.
        source: Where the formula and its derivative can be looked up.
    """

    name: str
    derivatives: tuple[str, ...]
    numpy: str
    torch: str
    jax: str
    latex: str
    reference: Callable[..., Any]
    in_value: tuple[str | None, ...] = ()
    domain: tuple[float, float] = (-2.0, 2.0)
    above: float | None = None
    values: tuple[float, float] = (-math.inf, math.inf)
    kinks: tuple[float, ...] = ()
    holomorphic: bool = True
    because: str = ""
    source: str = "https://dlmf.nist.gov/4"

    @property
    def arity(self) -> int:
        return len(self.derivatives)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments in `derivatives`."""
        return ("x",) if self.arity == 1 else ("a", "b", "c")[: self.arity]

    def value_derivative(self, argument: int) -> str | None:
        """The derivative in terms of y, if the record has one."""
        return self.in_value[argument] if self.in_value else None


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


_erf = np.vectorize(math.erf, otypes=[float])
NO_SPELLING = ""

# Of the forms without overflow: 3 (double) to 13 (single) times faster than exp(-logaddexp(0, -x)), and
# right to 3e-16 relative down to -700, where 0.5 * (1 + tanh(x / 2)) keeps no digit below -37.
SIGMOID = "np.exp(np.minimum({0}, 0)) / (1 + np.exp(-np.abs({0})))"

POSITIVE, UNIT = (0.0, math.inf), (-1.0, 1.0)

_RECORDS = (
    Primitive(
        "exp", ("exp(x)",), "np.exp({0})", "torch.exp({0})", "jnp.exp({0})",
        r"\exp\left({0}\right)", np.exp, in_value=("y",), values=POSITIVE, because="the exponential is its own derivative",
    ),
    Primitive(
        "expm1", ("exp(x)",), "np.expm1({0})", "torch.expm1({0})", "jnp.expm1({0})",
        r"\left(e^{{{0}}} - 1\right)", lambda x: np.exp(x) - 1, in_value=("y + 1",),
        values=(-1.0, math.inf),
    ),
    Primitive(
        "log", ("1 / x",), "np.log({0})", "torch.log({0})", "jnp.log({0})",
        r"\log\left({0}\right)", np.log, domain=(0.3, 3.0), above=0.0, because="(log x)' = 1/x",
    ),
    Primitive(
        "log1p", ("1 / (1 + x)",), "np.log1p({0})", "torch.log1p({0})", "jnp.log1p({0})",
        r"\log\left(1 + {0}\right)", lambda x: np.log(1 + x), domain=(-0.6, 2.0), above=-1.0,
    ),
    Primitive(
        "sqrt", ("1 / (2 * sqrt(x))",), "np.sqrt({0})", "torch.sqrt({0})", "jnp.sqrt({0})",
        r"\sqrt{{{0}}}", np.sqrt, in_value=("1 / (2 * y)",), domain=(0.3, 3.0), above=0.0, values=POSITIVE,
    ),
    Primitive(
        "tanh", ("1 - tanh(x)^2",), "np.tanh({0})", "torch.tanh({0})", "jnp.tanh({0})",
        r"\tanh\left({0}\right)", np.tanh, in_value=("1 - y^2",), values=UNIT,
        because="tanh' = 1 − tanh², and the forward value is tanh itself",
    ),
    Primitive(
        "sigmoid", ("sigmoid(x) * (1 - sigmoid(x))",), SIGMOID,
        "torch.sigmoid({0})", "jax.nn.sigmoid({0})", r"\sigma\left({0}\right)", _sigmoid,
        in_value=("y * (1 - y)",), values=(0.0, 1.0), because="σ' = σ(1 − σ), and the forward value is σ itself",
        source="https://en.wikipedia.org/wiki/Logistic_function",
    ),
    Primitive(
        "softplus", ("sigmoid(x)",), "np.maximum({0}, 0) + np.log1p(np.exp(-np.abs({0})))", "torch.nn.functional.softplus({0})",
        "jax.nn.softplus({0})", r"\operatorname{{softplus}}\left({0}\right)", lambda x: np.log(1 + np.exp(x)),
        values=POSITIVE, because="log(1 + eˣ) has the derivative eˣ/(1 + eˣ) = σ(x)",
    ),
    Primitive(
        "relu", ("1(x > 0)",), "np.maximum({0}, 0)", "torch.relu({0})", "jax.nn.relu({0})",
        r"\operatorname{{relu}}\left({0}\right)", lambda x: np.where(x > 0, x, 0.0),
        in_value=("1(y > 0)",), kinks=(0.0,), holomorphic=False, values=POSITIVE,
        because="relu passes what is positive; at 0 the subgradient 0 is chosen",
        source="https://cs231n.github.io/neural-networks-1/#actfun",
    ),
    Primitive(
        "silu", ("sigmoid(x) * (1 + x * (1 - sigmoid(x)))",), "({0}) * " + SIGMOID,
        "torch.nn.functional.silu({0})", "jax.nn.silu({0})", r"\operatorname{{silu}}\left({0}\right)",
        lambda x: x * _sigmoid(x), in_value=("sigmoid(x) + y * (1 - sigmoid(x))",),
        because="(x σ)' = σ + x σ (1 − σ), and the forward value is x σ", source="https://arxiv.org/abs/1710.05941",
    ),
    Primitive(
        "erf", ("2 / sqrt(pi) * exp(-x^2)",), "erf({0})", "torch.erf({0})", "jax.scipy.special.erf({0})",
        r"\operatorname{{erf}}\left({0}\right)", _erf, holomorphic=False, values=UNIT, source="https://dlmf.nist.gov/7.2",
    ),
    Primitive(
        "gelu", ("1/2 * (1 + erf(x / sqrt(2))) + x * exp(-x^2 / 2) / sqrt(2 * pi)",),
        "0.5 * ({0}) * (1 + erf(({0}) / 2**0.5))", "torch.nn.functional.gelu({0})",
        "jax.nn.gelu({0}, approximate=False)", r"\operatorname{{gelu}}\left({0}\right)",
        lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), holomorphic=False,
        because="x Φ(x) by the product rule, Φ the normal distribution function",
        source="https://arxiv.org/abs/1606.08415",
    ),
    Primitive(
        "sin", ("cos(x)",), "np.sin({0})", "torch.sin({0})", "jnp.sin({0})", r"\sin\left({0}\right)", np.sin,
        values=UNIT,
    ),
    Primitive(
        "cos", ("-sin(x)",), "np.cos({0})", "torch.cos({0})", "jnp.cos({0})", r"\cos\left({0}\right)", np.cos,
        values=UNIT,
    ),
    Primitive(
        "tan", ("1 + tan(x)^2",), "np.tan({0})", "torch.tan({0})", "jnp.tan({0})", r"\tan\left({0}\right)",
        np.tan, in_value=("1 + y^2",), domain=(-1.2, 1.2),
    ),
    Primitive(
        "sinh", ("cosh(x)",), "np.sinh({0})", "torch.sinh({0})", "jnp.sinh({0})", r"\sinh\left({0}\right)", np.sinh,
    ),
    Primitive(
        "cosh", ("sinh(x)",), "np.cosh({0})", "torch.cosh({0})", "jnp.cosh({0})", r"\cosh\left({0}\right)", np.cosh,
        values=(1.0, math.inf),
    ),
    Primitive(
        "arctan", ("1 / (1 + x^2)",), "np.arctan({0})", "torch.arctan({0})", "jnp.arctan({0})",
        r"\arctan\left({0}\right)", np.arctan, domain=(-0.9, 0.9),
    ),
    Primitive(
        "abs", ("sign(x)",), "np.abs({0})", "torch.abs({0})", "jnp.abs({0})", r"\left|{0}\right|", np.abs,
        values=POSITIVE, kinks=(0.0,), holomorphic=False, because="|x|' = sign x; at 0 the subgradient 0 is chosen",
    ),
    Primitive(
        "sign", ("0",), "np.sign({0})", "torch.sign({0})", "jnp.sign({0})",
        r"\operatorname{{sign}}\left({0}\right)", np.sign, kinks=(0.0,), holomorphic=False, values=UNIT,
        because="sign is constant away from 0",
    ),
    Primitive(
        "maximum", ("1(a > b) + 1/2 * 1(a == b)", "1(b > a) + 1/2 * 1(a == b)"), "np.maximum({0}, {1})",
        "torch.maximum({0}, {1})", "jnp.maximum({0}, {1})", r"\max\left({0},\, {1}\right)", np.maximum,
        kinks=(0.0,), holomorphic=False, because="the larger argument passes; a tie gives half to each",
    ),
    Primitive(
        "minimum", ("1(a < b) + 1/2 * 1(a == b)", "1(b < a) + 1/2 * 1(a == b)"), "np.minimum({0}, {1})",
        "torch.minimum({0}, {1})", "jnp.minimum({0}, {1})", r"\min\left({0},\, {1}\right)", np.minimum,
        kinks=(0.0,), holomorphic=False, because="the smaller argument passes; a tie gives half to each",
    ),
    Primitive(
        "clip", ("1(b < a) * 1(a < c)", "1(a <= b) * 1(b < c)", "1(maximum(a, b) >= c)"),
        "np.clip({0}, {1}, {2})", "torch.clamp({0}, {1}, {2})", "jnp.clip({0}, {1}, {2})",
        r"\operatorname{{clip}}\left({0},\, {1},\, {2}\right)", lambda a, b, c: np.minimum(np.maximum(a, b), c),
        in_value=("1(y > b) * 1(y < c)", None, None), kinks=(0.0,), holomorphic=False,
        because="clip passes what is strictly between its bounds; at a bound the subgradient 0 is chosen",
        source="https://numpy.org/doc/stable/reference/generated/numpy.clip.html",
    ),
    Primitive(
        "where", ("0", "a", "1 - a"), "np.where({0}, {1}, {2})", "torch.where({0}, {1}, {2})",
        "jnp.where({0}, {1}, {2})", r"\operatorname{{where}}\left({0},\, {1},\, {2}\right)",
        lambda a, b, c: np.where(np.asarray(a, bool), b, c),
        because="the chosen branch passes; the condition is piecewise constant",
    ),
    Primitive(
        "floordiv", ("0", "0"), "({0}) // ({1})", "({0}) // ({1})", "({0}) // ({1})",
        r"\left\lfloor {0} / {1} \right\rfloor", lambda a, b: np.floor_divide(np.real(a), np.real(b)),
        holomorphic=False, because="a whole quotient is piecewise constant", source="https://dlmf.nist.gov/1.1",
    ),
    Primitive(
        "mod", ("1", "-floordiv(a, b)"), "({0}) % ({1})", "({0}) % ({1})", "({0}) % ({1})",
        r"{0} \bmod {1}", lambda a, b: np.mod(np.real(a), np.real(b)),
        holomorphic=False, because="of whole numbers", source="https://dlmf.nist.gov/27.2",
    ),
    Primitive(
        "pi", (), "np.pi", "torch.pi", "jnp.pi", r"\pi", lambda: math.pi, source="https://dlmf.nist.gov/3.12",
    ),
)  # fmt: skip

PRIMITIVES: dict[str, Primitive] = {p.name: p for p in _RECORDS}
"""Every elementwise function by name."""
