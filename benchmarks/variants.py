"""Networks other than the plain one: norms, dropout, activations, losses, rules, types, batches.

    python benchmarks/variants.py [--quick] [--size B] [--only tanh,dropout]

Each row is a process of its own on one core, in which the compiled step, JAX's scan over an epoch of the
same network and the bare matrix products take turns. A figure is the median over the rounds of the step's
processor time over that of the products.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from contenders import RATE, SIZES, Problem, gemm  # noqa: E402
from machine import machine_line  # noqa: E402

EPS, DECAY, MOMENTUM = 1e-5, 0.01, 0.9


@dataclass(frozen=True)
class Variant:
    """What differs from the plain network."""

    label: str
    activation: str = "relu"
    norm: str = ""
    drop: float = 0.0
    loss: str = "softmax"
    rule: str = "adam"
    dtype: str = "float32"
    batch: int = 0
    clip: float = 0.0


VARIANTS = {
    "plain": Variant("relu, softmax loss, Adam"),
    "tanh": Variant("tanh", activation="tanh"),
    "sigmoid": Variant("sigmoid", activation="sigmoid"),
    "gelu": Variant("GELU (erf)", activation="gelu"),
    "silu": Variant("SiLU", activation="silu"),
    "dropout": Variant("dropout 0.5", drop=0.5),
    "batch": Variant("batch norm", norm="batch"),
    "layer": Variant("layer norm", norm="layer"),
    "mse": Variant("regression, squared loss", loss="mse"),
    "adamw": Variant("AdamW", rule="adamw"),
    "momentum": Variant("momentum SGD", rule="momentum"),
    "clip": Variant("Adam, gradient clipped to norm 1", clip=1.0),
    "float64": Variant("float64", dtype="float64"),
    "one": Variant("batch of 1", batch=1),
    "large": Variant("batch of 4096", batch=4096),
}

NORMS = {
    "": "z{n}[i,{h}] = f{n}[i,{h}]",
    "batch": """mu{n}[{h}] = mean(i, f{n}[i,{h}])
        c{n}[i,{h}] = f{n}[i,{h}] - mu{n}[{h}]
        s{n}[{h}] = (mean(i, c{n}[i,{h}]^2) + 1/100000)^(-1/2)
        z{n}[i,{h}] = g{n}[{h}] * c{n}[i,{h}] * s{n}[{h}] + e{n}[{h}]""",
    "layer": """mu{n}[i] = mean({h}, f{n}[i,{h}])
        c{n}[i,{h}] = f{n}[i,{h}] - mu{n}[i]
        s{n}[i] = (mean({h}, c{n}[i,{h}]^2) + 1/100000)^(-1/2)
        z{n}[i,{h}] = g{n}[{h}] * c{n}[i,{h}] * s{n}[i] + e{n}[{h}]""",
}
LOSSES = {
    "softmax": "p[i,k] = exp(f{n}[i,k]) / sum(j, exp(f{n}[i,j]))\nL = -mean(i, log(p[i,y[i]]))",
    "mse": "L = mean(i, mean(k, (f{n}[i,k] - t[i,k])^2))",
}


def formula(variant: Variant, layers: int) -> str:
    """The network's loss, in index notation."""
    lines, below, source = [], "d", "x"
    if variant.loss == "softmax":
        lines.append("y: N int")
    if variant.drop:
        lines.append("parameter drop: 1/2")
    for n in range(1, layers):
        h = f"h{n}"
        lines.append(f"f{n}[i,{h}] = sum({below}, {source}[i,{below}] * W{n}[{below},{h}]) + b{n}[{h}]")
        lines += NORMS[variant.norm].format(n=n, h=h).splitlines()
        dropped = f" * mask{n}[i,{h}] / (1 - drop)" if variant.drop else ""
        lines.append(f"a{n}[i,{h}] = {variant.activation}(z{n}[i,{h}]){dropped}")
        below, source = h, f"a{n}"
    lines.append(f"f{layers}[i,k] = sum({below}, {source}[i,{below}] * W{layers}[{below},k]) + b{layers}[k]")
    return "\n".join(line.strip() for line in [*lines, *LOSSES[variant.loss].format(n=layers).splitlines()])


def problem_of(variant: Variant, size: str) -> Problem:
    """The data of a size in the variant's type and batches."""
    problem = Problem(size)
    if variant.batch:
        import numpy as np

        rows = len(problem.x) if variant.batch < len(problem.x) else 2 * variant.batch
        problem.x = np.resize(problem.x, (rows, problem.x.shape[1]))
        problem.y = np.resize(problem.y, rows)
        problem.batch, problem.batches = variant.batch, min(rows // variant.batch, 512)
        order = np.random.default_rng(0).permutation(rows)[: problem.batch * problem.batches]
        problem.order = order.reshape(problem.batches, problem.batch)
    problem.x = problem.x.astype(variant.dtype)
    problem.weights = [(w.astype(variant.dtype), b.astype(variant.dtype)) for w, b in problem.weights]
    return problem


def parameters(variant: Variant, problem: Problem) -> dict[str, Any]:
    """Initial parameters by name."""
    import numpy as np

    found = {}
    for n, (w, b) in enumerate(problem.weights, 1):
        found |= {f"W{n}": w, f"b{n}": b}
        if variant.norm and n < len(problem.weights):
            found |= {f"g{n}": np.ones_like(b), f"e{n}": np.zeros_like(b)}
    return found


def targets(variant: Variant, problem: Problem) -> tuple[str, Any]:
    """The name and the values of what the loss compares with."""
    import numpy as np

    if variant.loss == "softmax":
        return "y", problem.y
    rng = np.random.default_rng(2)
    return "t", rng.standard_normal((len(problem.x), problem.sizes[-1])).astype(variant.dtype)


def ours(variant: Variant, problem: Problem) -> Callable[[int], Any]:
    """The compiled step, an epoch at most in a call."""
    import numpy as np

    from chalkgrad.frontend.text_formula import read_formula
    from chalkgrad.train.engines import make_engine
    from chalkgrad.train.objective import Objective
    from chalkgrad.train.optimisers import Optimiser

    layers, given = len(problem.weights), parameters(variant, problem)
    masks = {f"mask{n}": 1 - variant.drop for n in range(1, layers)} if variant.drop else {}
    objective = Objective(
        read_formula(formula(variant, layers), "network"), {n: v.shape for n, v in given.items()},
        variant.dtype, {"drop": variant.drop} if variant.drop else {}, masks,
    )  # fmt: skip
    for name, value in given.items():
        objective.params[name][...] = value
    name, value = targets(variant, problem)
    own = {"adamw": {"decay": DECAY}, "momentum": {"mu": MOMENTUM}}.get(variant.rule, {})
    rule = Optimiser(variant.rule, clip_norm=variant.clip or None, **own)
    engine = make_engine("llvm", objective, rule, {"x": problem.x, name: value}, problem.batch, 1)

    def run(epochs: int) -> Any:
        losses = np.empty(problem.batches)
        for _ in range(epochs):
            engine.run(problem.order, losses, RATE)
        return losses

    return run


def theirs(variant: Variant, problem: Problem) -> Callable[[int], Any]:
    """JAX: jit of a scan over the batches, state donated."""
    import jax
    import jax.numpy as jnp

    _, value = targets(variant, problem)
    x, t, order = jnp.asarray(problem.x), jnp.asarray(value), jnp.asarray(problem.order)
    layers = len(problem.weights)
    act = {
        "relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "silu": jax.nn.silu,
        "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    }[variant.activation]  # fmt: skip

    def loss(params: Any, rows: Any, key: Any) -> Any:
        h = x[rows]
        for n in range(1, layers):
            h = h @ params[f"W{n}"] + params[f"b{n}"]
            if variant.norm:
                axis = 0 if variant.norm == "batch" else 1
                c = h - h.mean(axis, keepdims=True)
                h = c * jax.lax.rsqrt((c * c).mean(axis, keepdims=True) + EPS)
                h = params[f"g{n}"] * h + params[f"e{n}"]
            h = act(h)
            if variant.drop:
                key, own = jax.random.split(key)
                h = h * jax.random.bernoulli(own, 1 - variant.drop, h.shape) / (1 - variant.drop)
        h = h @ params[f"W{layers}"] + params[f"b{layers}"]
        if variant.loss == "mse":
            return ((h - t[rows]) ** 2).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(h), t[rows][:, None], 1).mean()

    def step(state: Any, rows: Any) -> Any:
        params, m, v, count = state
        key = jax.random.fold_in(jax.random.key(0), count.astype(int)) if variant.drop else None
        value, g = jax.value_and_grad(loss)(params, rows, key)
        count = count + 1
        if variant.clip:
            norm = jnp.sqrt(sum(jnp.vdot(part, part) for part in jax.tree.leaves(g)))
            factor = variant.clip / jnp.maximum(norm + 1e-6, variant.clip)
            g = jax.tree.map(lambda part: part * factor, g)
        if variant.rule == "momentum":
            m = jax.tree.map(lambda m, g: MOMENTUM * m - RATE * g, m, g)
            return (jax.tree.map(jnp.add, params, m), m, v, count), value
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        scale, root = RATE / (1 - 0.9**count), 1 / (1 - 0.999**count)
        keep = 1 - RATE * DECAY if variant.rule == "adamw" else 1.0
        params = jax.tree.map(
            lambda p, m, v: keep * p - scale * m / (jnp.sqrt(v * root) + 1e-8), params, m, v
        )
        return (params, m, v, count), value

    compiled = jax.jit(lambda state, order: jax.lax.scan(step, state, order), donate_argnums=0)
    start = {n: jnp.asarray(a) for n, a in parameters(variant, problem).items()}
    zeros = jax.tree.map(jnp.zeros_like, start)
    state = (start, zeros, jax.tree.map(jnp.zeros_like, start), jnp.asarray(0.0, x.dtype))

    def run(epochs: int) -> Any:
        nonlocal state
        for _ in range(epochs):
            state, values = compiled(state, order)
        return values.block_until_ready()

    return run


def measure(name: str, size: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Medians of one row, in this process."""
    variant, found = VARIANTS[name], {}
    problem = problem_of(variant, size)
    runs: dict[str, Callable[[int], Any]] = {"ours": ours(variant, problem)}
    try:
        import jax

        jax.config.update("jax_enable_x64", variant.dtype == "float64")
        runs["jax"] = theirs(variant, problem)
    except ImportError:
        pass
    losses = {n: [float(v) for v in run(1)] for n, run in runs.items()}
    if "jax" in losses and not variant.drop:  # masks come from different generators
        worst = max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(*losses.values(), strict=True))
        if worst > 2e-2:
            raise SystemExit(f"{name}: the losses differ by {worst:.1e}, so something else is computed")
    bare = gemm(problem, time.process_time)
    epochs = {}
    for n, run in runs.items():
        began = time.process_time()
        run(1)
        epochs[n] = max(1, round(seconds / max(time.process_time() - began, 1e-6)))
    bare(1)
    repeats = max(1, round(seconds / 2 / bare.seconds))  # type: ignore[attr-defined]
    ratios: dict[str, list[float]] = {n: [] for n in runs}
    for _ in range(rounds):
        bare(repeats)
        base = bare.seconds / repeats  # type: ignore[attr-defined]
        for n, run in runs.items():
            began = time.process_time()
            run(epochs[n])
            ratios[n].append((time.process_time() - began) / epochs[n] / problem.batches / base)
    for n, values in ratios.items():
        found[n] = statistics.median(values)
        found[n + " spread"] = (max(values) - min(values)) / 2
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--size", default="B", choices=tuple(SIZES))
    parser.add_argument("--only", default=",".join(VARIANTS))
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    rounds, seconds = (3, 0.2) if options.quick else (9, 0.4)
    if unknown := set(options.only.split(",")) - set(VARIANTS):
        parser.error(f"no row is called {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    if options.row:
        print(json.dumps(measure(options.row, options.size, rounds, seconds)))
        return
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "THREADS": "1"}
    environment |= {f"{lib}_NUM_THREADS": "1" for lib in ("OMP", "OPENBLAS", "MKL")}
    sizes, batch, _ = SIZES[options.size]
    print(f"{machine_line()}. {'–'.join(map(str, sizes))}, batch {batch}, one thread, {rounds} rounds.\n")
    print("| step over its bare matrix products | chalkgrad, machine code | JAX scan |\n|---|---|---|")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # JAX has no other switch
    for name in options.only.split(","):
        command = [sys.executable, __file__, "--row", name, "--size", options.size]
        command += ["--quick"] if options.quick else []
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(f"| {VARIANTS[name].label} | failed: {reason[:60]} | |", flush=True)
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        cells = [f"{row[n]:.2f} ± {row[n + ' spread']:.2f}" if n in row else "–" for n in ("ours", "jax")]
        print(f"| {VARIANTS[name].label} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
