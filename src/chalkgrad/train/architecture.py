"""Fully-connected networks as formulas: the scores, the probabilities and the loss.

For sizes D – H1 – … – K, with i over observations:

    f1[i,h1] = sum(d, x[i,d] * W1[d,h1]) + b1[h1]          scores of the first layer
    a1[i,h1] = relu(f1[i,h1])                              its activation
    …
    L = mean over i of -log p[i, y[i]]  +  l2/2 * (sum of all squared weights)

The regulariser is CS231n's: half λ times the sum of squares of every W, no bias.
"""

from __future__ import annotations

from functools import lru_cache

from chalkgrad.errors import DataError, suggestion
from chalkgrad.expr.nodes import Program
from chalkgrad.frontend.text_formula import read_formula

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus", "silu")
LOSSES = ("softmax",)


def check_choice(kind: str, value: str, known: tuple[str, ...]) -> None:
    """`value` is one of the known names.

    Raises:
        DataError: With the nearest name otherwise.
    """
    if value not in known:
        raise DataError(
            f"There is no {kind} '{value}'.{suggestion(value, known)}", hint=f"Known: {', '.join(known)}."
        )


def scores_formula(layers: int, activation: str) -> str:
    """Definitions of all scores and activations of a network with this many affine layers."""
    lines = []
    below, source = "d", "x"
    for layer in range(1, layers + 1):
        unit = "k" if layer == layers else f"h{layer}"
        product = f"{source}[i,{below}] * W{layer}[{below},{unit}]"
        lines.append(f"f{layer}[i,{unit}] = sum({below}, {product}) + b{layer}[{unit}]")
        if layer < layers:
            lines.append(f"a{layer}[i,{unit}] = {activation}(f{layer}[i,{unit}])")
        below, source = unit, f"a{layer}"
    return "\n".join(lines)


@lru_cache(None)
def loss_program(layers: int, activation: str, regularised: bool) -> Program:
    """The mean softmax loss of the network, with the L2 term where it is wanted.

    Inputs are x, y, W1, b1, …; the scalar `l2` is there when `regularised`.
    """
    last = f"f{layers}"
    penalty = " + ".join(_sum_of_squares(layer, layers) for layer in range(1, layers + 1))
    loss = f"-1/size(i) * sum(i, log(exp({last}[i,y[i]]) / sum(j, exp({last}[i,j]))))"
    text = f"y: N int\n{scores_formula(layers, activation)}\nL = {loss}"
    if regularised:
        text += f" + l2/2 * ({penalty})"
    return read_formula(text, f"network_{layers}_{activation}")


def _sum_of_squares(layer: int, layers: int) -> str:
    below = "d" if layer == 1 else f"h{layer - 1}"
    unit = "k" if layer == layers else f"h{layer}"
    return f"sum({below}, {unit}, W{layer}[{below},{unit}]^2)"


@lru_cache(None)
def probabilities_program(layers: int, activation: str) -> Program:
    """The class probabilities; scores are shifted by their maximum, so none is too large."""
    last = f"f{layers}"
    text = f"""{scores_formula(layers, activation)}
    top[i] = max(j, {last}[i,j])
    e[i,k] = exp({last}[i,k] - top[i])
    p[i,k] = e[i,k] / sum(j, e[i,j])"""
    return read_formula(text, f"probabilities_{layers}_{activation}")
