"""Update rules: elementwise formulas, emitted as NumPy code like every layer.

A rule reads the parameters w, their gradient g and its own memory, all flat vectors of one length,
and defines w2 (the next parameters) and the next value of each memory. Scalars are the learning
rate lr, the step number t (from 1) and the rule's constants. A sum over all parameters is written as
one, and every engine works it out before anything is updated: norm = sqrt(sum(j, g[j]^2)).

Conventions: momentum, Nesterov, RMSProp and Adam are CS231n's formulas (velocity includes the
learning rate; ε is added outside the root), which give PyTorch's iterates at a constant learning
rate. When the learning rate changes, PyTorch rescales the whole velocity and CS231n only what is
added to it. AdamW is PyTorch's: decay is applied to the parameters, scaled by the learning rate.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from inspect import cleandoc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import DataError, suggestion
from chalkgrad.expr.nodes import Program
from chalkgrad.train.emitted import ForwardCode, forward_code
from chalkgrad.train.settings import is_number

Vector = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """One update rule.

    Attributes:
        name: As the user chooses it.
        formula: Definitions of w2 and of the next memories, each called like the memory plus "2".
        memories: The vectors that the rule keeps between steps, zero at the start.
        constants: Scalars and their defaults.
        source: Where the rule can be looked up.
    """

    name: str
    formula: str
    memories: tuple[str, ...]
    constants: tuple[tuple[str, float], ...]
    source: str

    def clipped(self, clip: Clip) -> UpdateRule:
        """The same rule, which reads the clipped gradient in place of g."""
        own = re.sub(r"\bg(?=\s*\[)", clip.target, cleandoc(self.formula))
        formula = f"{cleandoc(clip.formula)}\n{own}"
        constants = (*self.constants, (clip.name, 1.0))
        return dataclasses.replace(self, formula=formula, constants=constants)

    @property
    def program(self) -> Program:
        """The formula as a `Program` whose outputs are w2 and the next memories."""
        return _program(self)

    @property
    def code(self) -> ForwardCode:
        """The emitted NumPy function, made once."""
        return _code(self)


RULES: dict[str, UpdateRule] = {
    rule.name: rule
    for rule in (
        UpdateRule(
            "sgd",
            "w2[i] = w[i] - lr * g[i]",
            (),
            (),
            "https://cs231n.github.io/neural-networks-3/#sgd",
        ),
        UpdateRule(
            "momentum",
            """
            v2[i] = mu * v[i] - lr * g[i]
            w2[i] = w[i] + v2[i]
            """,
            ("v",),
            (("mu", 0.9),),
            "https://cs231n.github.io/neural-networks-3/#sgd",
        ),
        UpdateRule(
            "nesterov",
            """
            v2[i] = mu * v[i] - lr * g[i]
            w2[i] = w[i] - mu * v[i] + (1 + mu) * v2[i]
            """,
            ("v",),
            (("mu", 0.9),),
            "https://cs231n.github.io/neural-networks-3/#sgd",
        ),
        UpdateRule(
            "rmsprop",
            """
            c2[i] = rho * c[i] + (1 - rho) * g[i]^2
            w2[i] = w[i] - lr * g[i] / (sqrt(c2[i]) + eps)
            """,
            ("c",),
            (("rho", 0.99), ("eps", 1e-8)),
            "https://cs231n.github.io/neural-networks-3/#ada",
        ),
        UpdateRule(
            "adam",
            """
            m2[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v2[i] = beta2 * v[i] + (1 - beta2) * g[i]^2
            mhat[i] = m2[i] / (1 - beta1^t)
            vhat[i] = v2[i] / (1 - beta2^t)
            w2[i] = w[i] - lr * mhat[i] / (sqrt(vhat[i]) + eps)
            """,
            ("m", "v"),
            (("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8)),
            "https://arxiv.org/abs/1412.6980",
        ),
        UpdateRule(
            "adamw",
            """
            m2[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v2[i] = beta2 * v[i] + (1 - beta2) * g[i]^2
            mhat[i] = m2[i] / (1 - beta1^t)
            vhat[i] = v2[i] / (1 - beta2^t)
            w2[i] = w[i] - lr * (mhat[i] / (sqrt(vhat[i]) + eps) + decay * w[i])
            """,
            ("m", "v"),
            (("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8), ("decay", 0.01)),
            "https://arxiv.org/abs/1711.05101",
        ),
    )
}
"""Every update rule by name."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Something done to the gradient before a rule reads it.

    Attributes:
        name: The constant by which the user chooses it.
        target: What the clipped gradient is called.
        formula: Defines it from g.
        source: Where it can be looked up.
    """

    name: str
    target: str
    formula: str
    source: str


CLIPS: dict[str, Clip] = {
    clip.name: clip
    for clip in (
        # g · min(1, c / (‖g‖ + 10⁻⁶)) over all parameters together, as PyTorch has it; written so that
        # nothing is divided by zero and a small factor keeps its digits.
        Clip(
            "clip_norm",
            "g_scaled",
            """
            g_norm = sqrt(sum(j, g[j]^2))
            g_scaled[i] = g[i] * clip_norm / maximum(g_norm + 1e-6, clip_norm)
            """,
            "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html, "
            "after Pascanu et al., https://arxiv.org/abs/1211.5063",
        ),
        Clip(
            "clip_value",
            "g_bounded",
            "g_bounded[i] = minimum(maximum(g[i], -clip_value), clip_value)",
            "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html",
        ),
    )
}
"""Ways to clip a gradient by name. Each is put before what came before it: with both, entries are bounded
first, and the norm is that of the bounded gradient."""


@lru_cache(None)
def _program(rule: UpdateRule) -> Program:
    from chalkgrad.frontend.text_formula import read_formula

    program = read_formula(rule.formula, rule.name)
    outputs = []
    for name in ("w", *rule.memories):
        definition = program.definition(name + "2")
        assert definition is not None, f"the rule {rule.name} does not define {name}2"
        outputs.append(definition.target)
    return dataclasses.replace(program, outputs=tuple(outputs))


@lru_cache(None)
def _code(rule: UpdateRule) -> ForwardCode:
    return forward_code(rule.program)


class Optimiser:
    """An update rule with its constants, its memories and its step count.

    Args:
        rule: The name of a rule in `RULES`, or a rule of your own.
        clip_norm: Scale the gradient of all parameters together so that its norm is at most this:
            g · min(1, c / (‖g‖ + 10⁻⁶)), as `torch.nn.utils.clip_grad_norm_`. None clips nothing.
        clip_value: Bound every entry of the gradient by ± this, before its norm is looked at.
        constants: Values that replace the rule's defaults, such as mu=0.95.

    Attributes:
        memories: One flat vector per memory of the rule, made at the first step.
        steps: How many steps were taken.
        read: Whether anybody reads the memories: an engine may keep those that nobody reads to itself.

    Raises:
        DataError: For an unknown rule or constant, and for bounds that are not positive numbers.

    Example:
        >>> w, g = np.array([1.0, 2.0]), np.array([0.5, -0.5])
        >>> Optimiser("sgd").step(w, g, learning_rate=0.1).tolist()
        [0.95, 2.05]
        >>> Optimiser("sgd", clip_value=0.1).step(w, g, learning_rate=1.0).tolist()
        [0.9, 2.1]
        >>> Optimiser("sgd", clip_norm=1.0).step(w, np.array([3.0, 4.0]), learning_rate=1.0).round(4).tolist()
        [0.4, 1.2]
    """

    def __init__(
        self,
        rule: str | UpdateRule = "adam",
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        **constants: float,
    ) -> None:
        if not isinstance(rule, UpdateRule) and rule not in RULES:
            raise DataError(
                f"There is no update rule '{rule}'.{suggestion(rule, tuple(RULES))}",
                hint=f"The rules are: {', '.join(RULES)}.",
            )
        self.rule = rule if isinstance(rule, UpdateRule) else RULES[rule]
        for name, bound in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if bound is not None:
                constants[name] = _checked_bound(name, bound)
                if name not in dict(self.rule.constants):
                    self.rule = self.rule.clipped(CLIPS[name])
        known = dict(self.rule.constants)
        for name, value in constants.items():
            if name not in known:
                names = (*known, *CLIPS)
                raise DataError(
                    f"The rule '{self.rule.name}' has no constant '{name}'.{suggestion(name, names)}",
                    hint=f"It has: {', '.join(known) or 'none'}. Any rule takes {' and '.join(CLIPS)}.",
                )
            if not is_number(value) or not math.isfinite(value):
                raise DataError(f"{name} is {value!r}; it must be a finite number.")
        self.constants: dict[str, float] = {**known, **{k: float(v) for k, v in constants.items()}}
        self.memories: dict[str, Vector] = {}
        self.steps = 0
        self.read = True

    def step(self, w: Vector, g: Vector, learning_rate: float) -> Vector:
        """The parameters after one step; `w` and `g` (P,) are left as they are."""
        self.prepare(w)
        self.steps += 1
        scalars = {"lr": float(learning_rate), "t": float(self.steps), **self.constants}
        values: dict[str, Any] = {"w": w, "g": g, **self.memories, **scalars}
        after, *memories = self.rule.code(values)
        self.memories = dict(zip(self.rule.memories, memories, strict=True))
        return after

    def prepare(self, w: Vector) -> None:
        """Make the memories, before the first step."""
        if not self.memories:
            # Not zeros_like, which writes the zeros: an engine with memories of its own leaves these alone.
            self.memories = {name: np.zeros(w.shape, w.dtype) for name in self.rule.memories}

    def fresh(self, clip_norm: float | None = None, clip_value: float | None = None) -> Optimiser:
        """The same rule and constants, before the first step; bounds that are given replace its own."""
        given = {"clip_norm": clip_norm, "clip_value": clip_value}
        return Optimiser(self.rule, **{**self.constants, **{k: v for k, v in given.items() if v is not None}})

    def settings(self) -> dict[str, Any]:
        """What was chosen: rule and constants, as plain values."""
        return {"rule": self.rule.name, "constants": dict(self.constants)}

    def load(self, memories: Mapping[str, Vector], steps: int) -> None:
        """Continue from saved memories and step count."""
        if set(memories) != set(self.rule.memories) and steps > 0:
            raise DataError(f"The saved state does not belong to the rule '{self.rule.name}'.")
        self.memories = {name: memories[name].copy() for name in self.rule.memories if name in memories}
        self.steps = steps


def chosen_optimiser(
    optimiser: str | Optimiser, clip_norm: float | None = None, clip_value: float | None = None
) -> Optimiser:
    """What the user chose, before the first step: a run starts from empty memories."""
    chosen = optimiser if isinstance(optimiser, Optimiser) else Optimiser(optimiser)
    return chosen.fresh(clip_norm, clip_value)


def _checked_bound(name: str, bound: float) -> float:
    """A bound of the gradient, which must be a positive number."""
    if isinstance(bound, bool) or not isinstance(bound, int | float | np.number) or not 0 < bound < math.inf:
        raise DataError(
            f"{name} is {bound!r}; it must be a positive number.",
            hint=f"Try {name}=1.0, or leave it out to clip nothing.",
        )
    return float(bound)
