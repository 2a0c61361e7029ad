"""Identities that make a formula safe to compute with large or small numbers.

Each is a row of text in the formula grammar; `?a` is written as the scalar `a` and stands for any
expression. Both sides are equal for all real numbers; only the right one survives ±1e4. Each row's
right side is free of the row's left side, so applying them ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from chalkgrad.expr.grammar import scalar
from chalkgrad.expr.nodes import Access, Apply, Expr, Tensor
from chalkgrad.expr.ops import CACHE, children, map_children
from chalkgrad.rules.matching import instantiate, match
from chalkgrad.rules.polynomial import tidy


@dataclass(frozen=True, slots=True)
class Identity:
    """lhs = rhs for every value of `a`; `because` is the reason shown."""

    name: str
    lhs: str
    rhs: str
    because: str


STABLE: tuple[Identity, ...] = (
    Identity("softplus", "log(1 + exp(a))", "softplus(a)", "log(1 + eᵃ) overflows for large a"),
    Identity("sigmoid", "1 / (1 + exp(-a))", "sigmoid(a)", "e⁻ᵃ overflows for very negative a"),
    Identity("sigmoid-odds", "exp(a) / (1 + exp(a))", "sigmoid(a)", "eᵃ overflows for large a"),
    Identity("tanh", "(exp(a) - exp(-a)) / (exp(a) + exp(-a))", "tanh(a)", "∞/∞ for large a"),
    Identity("tanh-negative", "(exp(-a) - exp(a)) / (exp(a) + exp(-a))", "-tanh(a)", "∞/∞ for large a"),
    Identity("tanh-half", "(exp(a) - 1) / (exp(a) + 1)", "tanh(a / 2)", "∞/∞ for large a"),
    Identity("tanh-by-sigmoid", "(1 - exp(-a)) * sigmoid(a)", "tanh(a / 2)", "∞ · 0 for very negative a"),
    Identity("tanh-quotient", "sinh(a) / cosh(a)", "tanh(a)", "∞/∞ for large a"),
    Identity("log-sigmoid", "log(sigmoid(a))", "a - softplus(a)", "σ(a) underflows to 0"),
    Identity("log-one-minus-sigmoid", "log(1 - sigmoid(a))", "-softplus(a)", "1 − σ(a) is rounded to 0"),
)  # fmt: skip
"""Applied to a forward pass before code is emitted, each use a shown step."""

NEATER: tuple[Identity, ...] = (
    Identity("tanh", "1 - 2 * sigmoid(-2 * a)", "tanh(a)", "tanh is a sigmoid, stretched"),
)
"""Applied to a closed form, where one function stands for several operations."""

EXPONENTIALS = frozenset({"exp", "sigmoid", "sinh"})
"""Every left side of the tables applies one of these."""

VARIABLE = Access(Tensor("?a", ()), ())


@lru_cache(64)
def sides(identity: Identity) -> tuple[Expr, Expr]:
    """The identity's sides as expressions in `VARIABLE`."""
    names = {"a": VARIABLE}
    return tidy(scalar(identity.lhs, names)), scalar(identity.rhs, names)


def apply_identities(e: Expr, table: Sequence[Identity] = STABLE) -> tuple[Expr, list[Identity]]:
    """Every place in `e` where a left side fits, rewritten; with the identities used."""
    used: list[Identity] = []

    def visit(node: Expr) -> Expr:
        if functions_in(node).isdisjoint(EXPONENTIALS):
            return node  # most of a formula: nothing to look for
        new = map_children(node, visit)
        own, tidied = functions_in(new), tidy(new)
        for identity in table:
            lhs, rhs = sides(identity)
            if not functions_in(lhs) <= own:
                continue
            for binding in match(lhs, tidied, (VARIABLE,)):
                used.append(identity)
                return instantiate(rhs, binding)
        return new

    return visit(e), used


@lru_cache(CACHE)
def functions_in(e: Expr) -> frozenset[str]:
    """The elementwise functions that the expression applies."""
    own = frozenset((e.fn,)) if isinstance(e, Apply) else frozenset()
    return own.union(*map(functions_in, children(e)))
