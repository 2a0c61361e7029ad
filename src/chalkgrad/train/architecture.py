"""Fully-connected networks as formulas: the scores, the probabilities and the loss.

For sizes D – H1 – … – K, with i over observations:

    f1[i,h1] = sum(d, x[i,d] * W1[d,h1]) + b1[h1]          scores of the first layer
    a1[i,h1] = relu(f1[i,h1])                              its activation
    …
    p[i,k] = exp(f2[i,k]) / sum(j, exp(f2[i,j]))           probabilities
    data = -1/size(i) * sum(i, log(p[i,y[i]]))             mean over the observations
    penalty = l2/2 * (sum of all squared weights)
    L = data + penalty

The regulariser is CS231n's: half λ times the sum of squares of every W, no bias.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from chalkgrad.errors import DataError, suggestion
from chalkgrad.expr.nodes import Access, Program, Tensor
from chalkgrad.expr.ops import replace_access
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

    The inputs are x, y, W1, b1, …, and the parameter is `l2` when `regularised`.
    """
    last = f"f{layers}"
    lines = [
        "y: N int",
        scores_formula(layers, activation),
        f"p[i,k] = exp({last}[i,k]) / sum(j, exp({last}[i,j]))",
    ]
    loss = "-1/size(i) * sum(i, log(p[i,y[i]]))"
    name = f"network_{layers}_{activation}"
    if not regularised:
        return read_formula("\n".join([*lines, f"L = {loss}"]), name)
    squares = " + ".join(_sum_of_squares(layer, layers) for layer in range(1, layers + 1))
    lines += [f"data = {loss}", f"penalty = l2/2 * ({squares})", "L = data + penalty"]
    return _with_parameter(read_formula("\n".join(lines), name), "l2", 0.0)


def _with_parameter(program: Program, name: str, default: float) -> Program:
    """The program with the scalar input `name` as a parameter, which nobody differentiates by."""
    scalar = next(t for t in program.inputs if t.name == name)
    access = Access(Tensor(name, (), "float", "parameter"), ())
    definitions = tuple(
        replace(d, body=replace_access(d.body, scalar, lambda _: access)) for d in program.definitions
    )
    inputs = tuple(t for t in program.inputs if t is not scalar)
    parameters = (*program.parameters, (access.tensor, default))
    return replace(program, inputs=inputs, parameters=parameters, definitions=definitions)


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
