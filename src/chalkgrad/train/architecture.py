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

ACTIVATIONS = ("relu", "tanh", "sigmoid", "softplus", "silu", "gelu")
LOSSES = ("softmax",)

OBJECTIVES: dict[str, tuple[str, str]] = {
    # name: (the declaration of the data, the loss of one observation)
    "softmax": ("y: N int", "-log(p[i,y[i]])"),
    "sigmoid": ("t: N K", "sum(k, softplus({f}[i,k]) - t[i,k] * {f}[i,k])"),
    "squares": ("t: N K", "1/2 * sum(k, ({f}[i,k] - t[i,k])^2)"),
    "absolute": ("t: N K", "sum(k, abs({f}[i,k] - t[i,k]))"),
    "huber": (
        "t: N K",
        "sum(k, where(abs({f}[i,k] - t[i,k]) <= 1, 1/2 * ({f}[i,k] - t[i,k])^2, "
        "abs({f}[i,k] - t[i,k]) - 1/2))",
    ),
    "poisson": ("t: N K", "sum(k, exp({f}[i,k]) - t[i,k] * {f}[i,k])"),
}
"""What `objective_program` averages over the observations, by name; t are targets, f scores."""


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
            value = f"f{layer}[i,{unit}]"
            lines.append(
                f"a{layer}[i,{unit}] = {value if activation == 'identity' else f'{activation}({value})'}"
            )
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
def objective_program(layers: int, activation: str, loss: str, *, weighted: bool = False) -> Program:
    """A network's mean loss, and a penalty on its weights.

        L = 1/N Σ_i l_i + λ/2 Σ W²,    or with weights    L = (Σ_i s_i l_i + λ/2 Σ W²) / Σ_i s_i

    The inputs are y (labels) or t (targets), perhaps s (weights of the observations), x, W1, b1, …; the
    parameter is `l2`. The activation "identity" leaves the scores as they are.
    """
    last = f"f{layers}"
    declared, one = OBJECTIVES[loss]
    lines = [declared, *(["s: N"] if weighted else []), scores_formula(layers, activation)]
    if loss == "softmax":
        lines.append(f"p[i,k] = exp({last}[i,k]) / sum(j, exp({last}[i,j]))")
    one = one.format(f=last)
    squares = " + ".join(_sum_of_squares(layer, layers) for layer in range(1, layers + 1))
    if weighted:
        lines += ["total = sum(i, s[i])", f"data = sum(i, s[i] * ({one})) / total"]
        lines += [f"penalty = l2/2 * ({squares}) / total"]
    else:
        lines += [f"data = sum(i, {one}) / size(i)", f"penalty = l2/2 * ({squares})"]
    lines.append("L = data + penalty")
    name = f"{loss}_{layers}_{activation}"
    return _with_parameter(read_formula("\n".join(lines), name), "l2", 0.0)


@lru_cache(None)
def probabilities_program(layers: int, activation: str) -> Program:
    """The class probabilities; scores are shifted by their maximum, so none is too large."""
    last = f"f{layers}"
    text = f"""{scores_formula(layers, activation)}
    top[i] = max(j, {last}[i,j])
    e[i,k] = exp({last}[i,k] - top[i])
    p[i,k] = e[i,k] / sum(j, e[i,j])"""
    return read_formula(text, f"probabilities_{layers}_{activation}")
