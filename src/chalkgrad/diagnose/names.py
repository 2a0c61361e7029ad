"""Which of a function's arguments, or keys of its result, stands for which input of a layer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

GREEK = {
    "γ": ("gamma", "g", "scale"),
    "β": ("beta", "b", "shift", "bias"),
    "x̂": ("xhat", "x_hat", "x_norm", "xnorm", "x_normalized", "normalized"),
    "μ": ("mu", "mean", "sample_mean", "running_mean"),
    "σ": ("sigma", "std"),
    "ε": ("eps", "epsilon"),
    "v": ("var", "sample_var", "running_var", "variance"),
    "f": ("scores", "logits", "x", "pred", "yhat", "y_pred", "y_hat", "out", "z"),
    "t": ("target", "targets", "y", "labels", "y_true", "idx", "ids", "index", "indices", "tokens"),
    "y": ("labels", "target", "targets", "t"),
    "x": ("X", "inputs", "input", "z", "a"),
    "W": ("w", "weights", "weight"),
    "b": ("bias",),
    "eps": ("epsilon", "ε"),
    "p": ("dropout", "rate", "drop", "prob", "keep_prob"),
    "delta": ("δ", "margin"),
    "lam": ("reg", "λ", "lambda_", "l2", "weight_decay"),
    "mask": ("m", "keep"),
    "slope": ("alpha", "negative_slope", "leak"),
    "tau": ("temperature", "τ"),
}
"""Usual other names of an input or parameter."""

CACHES = frozenset(
    {"cache", "ctx", "context", "saved", "residuals", "res", "caches", "tape", "state", "stored"}
)
"""Names that say that an argument holds what the forward saved."""

OUTPUTS = frozenset({"out", "output", "outputs", "activation"})
"""Names that say that an argument is what the forward returned."""

TARGETS = frozenset({"t", "target", "targets", "y_true"})
"""Inputs of a loss that are data rather than something trained."""

STATISTICS = frozenset({"μ", "v"})
"""Inputs of a normalisation that are stored statistics, where both are there."""

SELF = "self_"
"""How a variable begins that stands for an attribute; see `class_layers`."""

PREFIXES = ("", "d", "grad_", "d_", "∂", "g_", "dLd", "dL_d", "dld", "dl_d", "grad")
"""How the name of a gradient begins."""


def match(name: str, inputs: Sequence[str]) -> str | None:
    """The input that a name stands for: itself, in another case, or by a usual other name."""
    name = name.removeprefix(SELF)
    if name in inputs:
        return name
    lower = [n for n in inputs if n.lower() == name.lower()]
    if len(lower) == 1:
        return lower[0]
    alike = [n for n in inputs if name in GREEK.get(n, ()) or name.lower() in GREEK.get(n, ())]
    return alike[0] if len(alike) == 1 else None


def match_all(names: Sequence[str], inputs: Sequence[str]) -> dict[str, str] | None:
    """The input for each name, or None unless each finds one of its own.

    Exact names are given away first, so that `x, y` of a loss on f and y is read as f and y.
    """
    found: dict[str, str] = {n: n for n in names if n in inputs}
    for name in names:
        if name not in found:
            one = match(name, [i for i in inputs if i not in found.values()])
            if one is None:
                return None
            found[name] = one
    return found


def match_rest(names: Sequence[str], inputs: Sequence[str]) -> dict[str, str] | None:
    """As `match_all`; where all names but one are known, that one stands for the input that is left."""
    found = match_all(names, inputs)
    if found is None and len(names) == len(inputs) > 1:
        for odd in (n for n in names if match(n, inputs) is None):
            others = match_all([n for n in names if n != odd], inputs)
            if others is not None:
                (left,) = set(inputs) - set(others.values())
                return {n: others.get(n, left) for n in names}
    return found


def match_key(key: str, inputs: Sequence[str]) -> str | None:
    """The input whose gradient a dictionary's key names: `W`, `dW`, `grad_W`, `W_grad`, `dLdW`."""
    key = re.sub(r"^(.+)_grad(ient)?$", r"grad_\1", key.removeprefix(SELF))
    for prefix in PREFIXES:
        if key.startswith(prefix) and key[len(prefix) :] in inputs:
            return key[len(prefix) :]
    for prefix in PREFIXES:
        if key.startswith(prefix):
            found = match(key[len(prefix) :], inputs) if key[len(prefix) :] else None
            if found is not None:
                return found
    return None


def required(function: Callable[..., Any]) -> tuple[list[str], list[str], bool] | None:
    """Names of the arguments that must be given, of optional ones, and whether any number is taken.

    None where the signature cannot be read.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    must = [p.name for p in parameters if p.kind in plain and p.default is p.empty]
    may = [p.name for p in parameters if p.default is not p.empty or p.kind is p.KEYWORD_ONLY]
    many = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    return must, may, many


def settings(parameters: Mapping[str, float], statics: Mapping[str, Any]) -> dict[str, Any]:
    """A CS231n dictionary of settings (bn_param, dropout_param, conv_param, pool_param)."""
    found: dict[str, Any] = {"mode": "train", "seed": 0, **statics, **parameters}
    if "window" in found:
        window = found["window"]
        found |= {"pool_height": window, "pool_width": window, "stride": found.get("stride") or window}
    if "padding" in found:
        found["pad"] = found["padding"]
    return found


def is_settings(name: str) -> bool:
    """Whether an argument is a dictionary of settings by its name."""
    return name.endswith(("_param", "_params", "param", "params", "config", "_cfg"))


def keyed(arguments: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Arguments by name in order; a second one of a name is numbered."""
    found: dict[str, Any] = {}
    for name, value in arguments:
        key, number = name, 2
        while key in found:
            key, number = f"{name}{number}", number + 1
        found[key] = value
    return found
