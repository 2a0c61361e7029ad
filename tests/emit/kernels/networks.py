"""Networks, data and the NumPy step that compiled steps are held to."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalkgrad.emit.kernels import CompiledStep, compile_step, reference
from chalkgrad.expr.nodes import Program
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.train.emitted import derived, gradient_code
from chalkgrad.train.optimisers import CLIPS, RULES, Optimiser, UpdateRule

ACTIVATIONS = {
    "relu": "a1[i,h1] = relu(f1[i,h1])",
    "tanh": "a1[i,h1] = tanh(f1[i,h1])",
    "sigmoid": "a1[i,h1] = sigmoid(f1[i,h1])",
    "softplus": "a1[i,h1] = softplus(f1[i,h1])",
    "silu": "a1[i,h1] = silu(f1[i,h1])",
    "gelu": "a1[i,h1] = gelu(f1[i,h1])",
    "layer norm": """mu[i] = mean(h1, f1[i,h1])
        c[i,h1] = f1[i,h1] - mu[i]
        s[i] = (mean(h1, c[i,h1]^2) + 1/100000)^(-1/2)
        q[i,h1] = c[i,h1] * s[i]
        a1[i,h1] = relu(g1[h1] * q[i,h1] + e1[h1])""",
    "batch norm": """mu[h1] = mean(i, f1[i,h1])
        c[i,h1] = f1[i,h1] - mu[h1]
        s[h1] = (mean(i, c[i,h1]^2) + 1/100000)^(-1/2)
        q[i,h1] = c[i,h1] * s[h1]
        a1[i,h1] = relu(g1[h1] * q[i,h1] + e1[h1])""",
    "batch norm in one": """mu[h1] = mean(i, f1[i,h1])
        c[i,h1] = f1[i,h1] - mu[h1]
        s[h1] = (mean(i, c[i,h1]^2) + 1/100000)^(-1/2)
        a1[i,h1] = relu(g1[h1] * c[i,h1] * s[h1] + e1[h1])""",
}

LOSSES = {
    "softmax": "p[i,k] = exp(f2[i,k]) / sum(j, exp(f2[i,j]))\nL = -mean(i, log(p[i,y[i]]))",
    "soft targets": "p[i,k] = exp(f2[i,k]) / sum(j, exp(f2[i,j]))\n"
    "L = -mean(i, sum(k, t[i,k] * log(p[i,k])))",
    "weighted": "p[i,k] = exp(f2[i,k]) / sum(j, exp(f2[i,j]))\nL = -mean(i, w[i] * log(p[i,y[i]]))",
    "mse": "L = mean(i, mean(k, (f2[i,k] - t[i,k])^2))",
    "mae": "L = mean(i, mean(k, abs(f2[i,k] - t[i,k])))",
    "huber": "r[i,k] = f2[i,k] - t[i,k]\n"
    "L = mean(i, mean(k, where(abs(r[i,k]) <= 1, r[i,k]^2 / 2, abs(r[i,k]) - 1/2)))",
    "sigmoid": "L = mean(i, sum(k, softplus(f2[i,k]) - t[i,k] * f2[i,k]))",
    "poisson": "L = mean(i, mean(k, exp(f2[i,k]) - t[i,k] * f2[i,k]))",
    "hinge": "L = mean(i, sum(k, 1(k != y[i]) * maximum(0, f2[i,k] - f2[i,y[i]] + 1)))",
    "penalty": "p[i,k] = exp(f2[i,k]) / sum(j, exp(f2[i,j]))\n"
    "L = -mean(i, log(p[i,y[i]])) + 1/100 * (sum(d, h1, W1[d,h1]^2) + sum(h1, k, W2[h1,k]^2))",
}
DATA = ("x", "y", "t", "w")
CLIPPED = RULES["momentum"].clipped(CLIPS["clip_norm"])
"""A rule that needs all gradients before anything is updated; a norm of 1 is less than most."""
COUNTING = UpdateRule(
    "counting",
    """
    far = mean(j, (g[j] - 1)^2)
    near = max(j, -abs(w[j]))
    w2[i] = w[i] - lr * g[i] * far / (1 + far - near)
    """,
    (),
    (),
    "",
)
"""Its sums are wrong as soon as anything is taken for a parameter that is none, a zero included."""
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}


def two_layers(activation: str, loss: str) -> Program:
    """x W1 + b1, the activation, W2 + b2, the loss."""
    head = "y: N int\n" if "y[i]" in LOSSES[loss] else ""
    text = f"""{head}f1[i,h1] = sum(d, x[i,d] * W1[d,h1]) + b1[h1]
        {ACTIVATIONS[activation]}
        f2[i,k] = sum(h1, a1[i,h1] * W2[h1,k]) + b2[k]
        {LOSSES[loss]}"""
    return read_formula("\n".join(line.strip() for line in text.splitlines()), "net")


class Rounded(np.ndarray):
    """Numbers whose products of matrices round what they multiply to bfloat16, and are exact else."""

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **options: Any) -> Any:
        plain = [np.asarray(a) for a in given]
        product = ufunc is np.matmul and all(a.ndim == 2 for a in plain)
        if product:
            plain = [reference.rounded(a).astype(np.float64) for a in plain]
            options["dtype"] = np.float64
        if "out" in options:
            options |= {"out": tuple(np.asarray(a) for a in options["out"]), "casting": "same_kind"}
        found = getattr(ufunc, method)(*plain, **options)
        if product:
            found = found.astype(np.float32)
        return found.view(Rounded) if isinstance(found, np.ndarray) else found


@dataclass
class Case:
    """A program with parameters and data of given sizes.

    Attributes:
        sizes: Features, hidden units, classes.
        rows: Rows of the data.
        batch: Rows per step.
        rule: An update rule, or the name of one.
        paired: Whether what products multiply is rounded to bfloat16.
    """

    program: Program
    sizes: tuple[int, int, int]
    rows: int
    batch: int
    rule: str | UpdateRule = "adam"
    dtype: Any = np.float32
    seed: int = 0
    paired: bool = False

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        d, h, k = self.sizes
        everything = {
            "W1": rng.standard_normal((d, h)) / np.sqrt(d), "b1": 0.1 * rng.standard_normal(h),
            "W2": rng.standard_normal((h, k)) / np.sqrt(h), "b2": 0.1 * rng.standard_normal(k),
            "g1": 1 + 0.1 * rng.standard_normal(h), "e1": 0.1 * rng.standard_normal(h),
            "x": rng.standard_normal((self.rows, d)), "y": rng.integers(0, k, self.rows),
            "t": np.abs(rng.standard_normal((self.rows, k))), "w": rng.random(self.rows),
        }  # fmt: skip
        names = [t.name for t in self.program.inputs]
        typed = {n: v if n == "y" else v.astype(self.dtype) for n, v in everything.items() if n in names}
        self.data = {n: v for n, v in typed.items() if n in DATA}
        self.parameters = {n: v for n, v in typed.items() if n not in DATA}
        self.order = rng.permutation(self.rows)
        self.scalars = {"lr": 0.01, **dict(self.update.constants)}

    @property
    def update(self) -> UpdateRule:
        """The rule itself."""
        return RULES[self.rule] if isinstance(self.rule, str) else self.rule

    def compile(self, **options: Any) -> CompiledStep:
        """The compiled step with the parameters loaded."""
        rule = self.update
        shapes = {n: (self.batch, *v.shape[1:]) for n, v in self.data.items()}
        shapes |= {n: v.shape for n, v in self.parameters.items()}
        parts = derived(self.program, tuple(self.parameters))
        step = compile_step(
            *parts, rule.program, shapes=shapes, memories=rule.memories, dtype=self.dtype, paired=self.paired,
            **options,
        )  # fmt: skip
        step.load(self.parameters)
        return step

    def run(self, step: CompiledStep) -> tuple[Any, dict[str, Any]]:
        """Losses and the parameters afterwards."""
        losses = step.run(self.data, self.order, self.batch, scalars=self.scalars)
        after = {n: np.empty_like(v) for n, v in self.parameters.items()}
        step.store(after)
        return losses, after

    def flips(self) -> Any:
        """What the losses may be off by where a number's last digit decides which way bfloat16 rounds it.

        Sums in another order have another last digit, and of thousands of numbers one lies on such an edge
        now and then. Three terms of one row's sums may move by a part in 256 each.
        """
        if not self.paired:
            return 0.0
        starts = np.arange(0, self.rows, self.batch)
        rows = np.minimum(self.batch, self.rows - starts)
        return 3 / 256 / (rows * min(self.sizes[:2]))

    def expected(self) -> tuple[Any, dict[str, Any]]:
        """The same by the emitted NumPy code."""
        gradient = gradient_code(self.program, tuple(self.parameters))
        values, losses, rule = dict(self.parameters), [], Optimiser(self.update)
        cuts = np.cumsum([v.size for v in values.values()])[:-1]
        for start in range(0, self.rows, self.batch):
            rows = self.order[start : start + self.batch]
            given = {**{n: v[rows] for n, v in self.data.items()}, **values}
            if self.paired:
                given = {n: v.view(Rounded) if v.dtype.kind == "f" else v for n, v in given.items()}
            loss, gradients = gradient(given)
            losses.append(loss)
            flat, g = (np.concatenate([d[n].ravel() for n in values]) for d in (values, gradients))
            parts = np.split(rule.step(flat, g.astype(flat.dtype), 0.01), cuts)
            values = {n: p.reshape(v.shape) for (n, v), p in zip(values.items(), parts, strict=True)}
        return np.array(losses), values


def assert_same(case: Case, step: CompiledStep) -> None:
    """Losses within the tolerance of the type at every step."""
    losses, after = case.run(step)
    wanted, values = case.expected()
    # Of a loss that is a small difference of numbers near one, the digits are those of the numbers.
    tolerance = TOLERANCE[case.dtype] + case.flips()
    assert (np.abs(losses - wanted) <= tolerance * (1 + np.abs(wanted))).all(), (losses, wanted)
    for name, value in values.items():
        # Adam's quotient amplifies a last digit where the gradient is almost zero.
        assert np.abs(after[name] - value).max() <= (1e-3 if case.dtype == np.float32 else 1e-9), name


def assert_same_bits(case: Case, step: CompiledStep, other: CompiledStep) -> None:
    """Two steps give equal losses and equal parameters, bit by bit."""
    losses, after = case.run(step)
    again, values = case.run(other)
    assert list(losses) == list(again)
    assert all((after[n] == values[n]).all() for n in after)


def assert_given_up_steps_leave_nothing(case: Case, threads: int) -> None:
    """What `ended` breaks off at its tenth look equals a run of just the steps that were taken."""
    assert gives_up_whole_steps(case, threads)


def gives_up_whole_steps(case: Case, threads: int, **options: Any) -> bool:
    """Whether the parameters, after `ended` broke off a run at its tenth look, are those of the steps that
    were taken. Their losses must be."""
    step, order = case.compile(threads=threads), np.tile(case.order, 4000)
    looks = itertools.count(1)
    losses = step.run(
        case.data, order, case.batch, scalars=case.scalars, ended=lambda: next(looks) >= 10, **options
    )
    assert 0 < len(losses) < len(order) // case.batch
    other = case.compile(threads=threads)
    taken = order[: case.batch * len(losses)]
    again = other.run(case.data, taken, case.batch, scalars=case.scalars)
    np.testing.assert_array_equal(losses, again)
    after, values = ({n: np.empty_like(v) for n, v in case.parameters.items()} for _ in range(2))
    step.store(after)
    other.store(values)
    return all((after[n] == values[n]).all() for n in after)
