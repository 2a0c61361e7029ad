"""Every rule that a step can name: its equation, its condition, its reason, and a worked example.

The engine's functions apply the rules; this table says what each one is. Tests hold it to three
things: every step of every gallery derivation names a rule of this table, every example's two sides
have the same value, and every derivation given as an example uses the rule and verifies.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalkgrad.rules.calculus import RULES
from chalkgrad.rules.identities import NEATER, STABLE


@dataclass(frozen=True, slots=True)
class Rule:
    """One named rule.

    Attributes:
        name: As written in `Step.rule`.
        lhs, rhs: The rule as an equation for people.
        when: The condition under which it holds; "" where it always does.
        because: Why it holds.
        example: Either "formula = formula" over arrays, with equal values on both sides, or
            "derive FORMULA", a derivation that uses the rule.
    """

    name: str
    lhs: str
    rhs: str
    when: str
    because: str
    example: str


SUMS = (
    Rule(
        "contract-indicator", "Σ_j 1(j = e) f(j)", "f(e)", "j runs over the range that e has its values in",
        "only the term j = e is not zero", "a[i,j] = sum(k, 1(j == k) * a[i,k])",
    ),
    Rule(
        "one-label", "Σ_k 1(k = y_i)", "1", "y holds labels of k's range",
        "a label is exactly one of the values", "sum(k, a[i,k] * 0 + 1(k == y[i])) = 1 + sum(k, 0 * a[i,k])",
    ),
    Rule(
        "solve-index", "Σ_h 1(u = s h + p) f(h)", "1((u − p) mod s = 0) 1(0 ≤ (u − p)/s < |H|) f((u − p)/s)",
        "s is a whole number", "the equation has one solution, if that is whole and in range",
        "derive y[n,o,h] = sum(c p, x[n,c,2*h+p] * W[o,c,p])",
    ),
    Rule(
        "distribute", "a (b + c), Σ_i (b + c)", "a b + a c, Σ_i b + Σ_i c", "", "sums are linear",
        "sum(k, a[i,k] * (b[k] + c[k])) = sum(k, a[i,k] * b[k]) + sum(k, a[i,k] * c[k])",
    ),
    Rule(
        "un-distribute", "a b + a c", "a (b + c)", "", "common factors go in front",
        "a[i,j] * b[j] + a[i,j] * c[j] = a[i,j] * (b[j] + c[j])",
    ),
    Rule(
        "one-fraction", "1/p + 1/(1 − p)", "1/(p (1 − p))", "p is neither 0 nor 1",
        "over one denominator the numerators cancel",
        "derive L = -sum(i, t[i] * log(p[i]) + (1 - t[i]) * log(1 - p[i]))",
    ),
    Rule(
        "absorb", "f_k (a + 1(k = e) / f_e)", "f_k a + 1(k = e)", "f_e is not zero",
        "where the indicator is not zero, k is e",
        "b[j] * (a[i,j] + 1(j == y[i]) / b[y[i]]) = a[i,j] * b[j] + 1(j == y[i])",
    ),
    Rule(
        "choose", "1(c) a + 1(not c) b", "where(c, a, b)", "c compares values",
        "of a condition and its opposite one holds",
        "1(b[j] > 0) * a[i,j] + (1 - 1(b[j] > 0)) * c[j] = where(b[j] <= 0, c[j], a[i,j])",
    ),
    Rule(
        "sign", "1(c a > d a)", "1(a > 0)", "c − d is a positive number",
        "what compares two multiples of a value compares it with zero",
        "derive y[i] = maximum(x[i], 0.1 * x[i])",
    ),
    Rule(
        "trichotomy", "1(a > b) + 1(a = b) + 1(a < b)", "1", "",
        "one of larger, equal and smaller holds",
        "a[i,j] * (1(a[i,j] > b[j]) + 1(a[i,j] == b[j]) + 1(a[i,j] < b[j])) = a[i,j]",
    ),
    Rule(
        "masked-value", "1(a < b) min(a, b)", "1(a < b) a", "the comparison is of the same two values",
        "where it holds, the smaller one is known",
        "derive c[i] = minimum(x[i], w[i])\nL = sum(i, c[i] * (x[i] - c[i] / 2))",
    ),
    Rule(
        "collect", "a + a, a − a, Σ_i c", "2 a, 0, |N| c", "c does not depend on i",
        "equal terms are added, opposite ones cancel", "a[i,j] + b[j] + a[i,j] - b[j] = 2 * a[i,j]",
    ),
    Rule(
        "arithmetic", "2 · a · 3, a · a⁻¹", "6 a, 1", "the factor is not zero where it cancels",
        "bookkeeping: order, constants, powers", "2 * a[i,j] * 3 * a[i,j] = 6 * a[i,j]^2",
    ),
    Rule(
        "sum-over-parts", "Σ_i Σ_k …", "Σ_i (the part of i)", "", "the total adds the parts",
        "derive f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]",
    ),
)  # fmt: skip
"""Σ and indicators, and the algebra around them."""

NAMES = (
    Rule(
        "definition", "f_ik", "its formula", "", "f is defined so",
        "derive y[i] = tanh(x[i])",
    ),
    Rule(
        "re-substitute", "e_k / z", "p_k", "p is defined as e/z", "the factors have a name",
        "derive p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))",
    ),
    Rule(
        "sum-is-named", "Σ_j e_j", "z", "z is defined as that sum", "the sum has a name",
        "derive m[d] = mean(i, x[i,d])\nc[i,d] = x[i,d] - m[d]\nv[d] = mean(i, c[i,d]^2)\n"
        "s[d] = (v[d] + 1)^(-1/2)\nh[i,d] = c[i,d] * s[d]",
    ),
    Rule(
        "lemma", "Σ_i x̂_id", "0", "proved by putting definitions in", "the lemma",
        "derive m[d] = mean(i, x[i,d])\nc[i,d] = x[i,d] - m[d]\nv[d] = mean(i, c[i,d]^2)\n"
        "s[d] = (v[d] + 1)^(-1/2)\nh[i,d] = c[i,d] * s[d]",
    ),
    Rule(
        "substitute", "∂L/∂p", "its formula", "", "found above",
        "derive p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))",
    ),
)  # fmt: skip
"""Names put in and taken back."""

GRAPH = (
    Rule(
        "chain-rule", "∂L/∂t", "Σ_c Σ_ι ∂L/∂c_ι · ∂c_ι/∂t", "c runs over what t is used in",
        "t acts on L through its consumers only", "derive f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]",
    ),
    Rule(
        "loss", "∂L/∂L", "1", "the output is a number", "the output is the loss itself",
        "derive L = sum(i, x[i]^2)",
    ),
    Rule(
        "no-path", "∂L/∂t", "0", "nothing that leads to the output reads t", "no path leads from t to L",
        "derive x: N\nz: N\ny[i] = x[i]^2\nL = sum(i, y[i])",
    ),
)  # fmt: skip
"""The computational graph."""

SAFETY = (
    Rule(
        "log-of-quotient", "log(e/z)", "f − log z", "e = exp f", "log(exp f) = f",
        "derive p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\nL = -sum(i, log(p[i,y[i]]))",
    ),
    Rule(
        "shift-by-maximum", "exp f_k / Σ_j exp f_j", "exp(f_k − m) / Σ_j exp(f_j − m)",
        "m does not depend on k", "the factor exp(−m) cancels",
        "derive p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))",
    ),
)  # fmt: skip
"""Shifts that make the forward safe for large numbers."""

_CALCULUS_EXAMPLES = {
    "independent": "derive y[i] = x[i] + 3", "linearity": "derive y[i] = x[i] + x[i]^2",
    "constant-factor": "derive y[i] = 3 * x[i]", "product-rule": "derive y[i] = x[i] * tanh(x[i]) * x[i]",
    "power-rule": "derive y[i] = x[i]^3", "chain-rule": "derive y[i] = sin(x[i])",
    "maximum-rule": "derive m[i] = max(k, x[i,k])", "product-over-index": "derive q[i] = prod(k, x[i,k])",
    "matrix-function": "derive L = logdet(i j, A[i,j])",
    "piecewise-constant": "derive y[i] = x[i] * 1(x[i] > 0)",
    "same-array": "derive y[i] = x[i]^2",
}  # fmt: skip


def _calculus() -> tuple[Rule, ...]:
    found: dict[str, Rule] = {}
    for rule in RULES:
        left, _, right = rule.display.partition(" = ")
        if rule.name not in found:
            example = _CALCULUS_EXAMPLES[rule.name]
            found[rule.name] = Rule(rule.name, left, right, "", "a rule of differentiation", example)
    return tuple(found.values())


def _identities() -> tuple[Rule, ...]:
    return tuple(
        Rule(row.name, row.lhs, row.rhs, "", row.because, f"derive y[i] = {formula}")
        for row, formula in [
            *((row, row.lhs.replace("a", "x[i]")) for row in STABLE),
            *((row, _NEATER_EXAMPLES[row.name]) for row in NEATER),
        ]
    )


_NEATER_EXAMPLES = {"tanh": "x[i] + softplus(-2 * x[i])"}
"""Formulas whose derivative meets the left side of an identity."""


CATALOGUE: tuple[Rule, ...] = (*GRAPH, *_calculus(), *SUMS, *NAMES, *SAFETY, *_identities())
"""Every rule, in the order in which a derivation meets them."""

NAMES_KNOWN: frozenset[str] = frozenset(rule.name for rule in CATALOGUE)
"""The names that a step may carry, alone or joined by "and"."""
