"""What is timed in `training.py`: the same training step by everything that people train MLPs with.

Each contender runs in a process of its own, which waits while the others are timed:

    python benchmarks/contenders.py NAME SIZE THREADS        then lines "run SECONDS" on its input

Every contender starts from the same weights, sees the same batches in the same order, and takes Adam steps
of 1e-3 on the mean softmax loss in float32; `losses` are compared, scikit-learn's aside, which draws its
own weights (nobody else draws any). There is one function per contender: it gives a function that takes so
many steps.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

SIZES: dict[str, tuple[tuple[int, ...], int, int]] = {
    "A": ((64, 100, 10), 32, 64),
    "B": ((784, 256, 128, 10), 128, 48),
    "C": ((784, 1024, 1024, 10), 256, 24),
    "D": ((3072, 2048, 2048, 10), 512, 8),
}
"""Units per layer, rows per batch, batches in the data set."""

RATE = 1e-3
Run = Callable[[int], Any]


class Problem:
    """Data, initial weights and batches of one size, equal in every process."""

    def __init__(self, size: str) -> None:
        import numpy as np

        self.sizes, self.batch, self.batches = SIZES[size]
        generator = np.random.default_rng(0)
        rows = self.batch * self.batches
        self.x = generator.standard_normal((rows, self.sizes[0]), np.float32)
        self.y = generator.integers(0, self.sizes[-1], rows)
        self.order = generator.permutation(rows).reshape(self.batches, self.batch)
        self.weights = []
        for below, units in zip(self.sizes, self.sizes[1:], strict=False):
            w = generator.standard_normal((below, units), np.float32) * np.float32((2 / below) ** 0.5)
            self.weights.append((w, np.zeros(units, np.float32)))

    @property
    def parameters(self) -> int:
        return sum(w.size + b.size for w, b in self.weights)


def chalkgrad_engine(name: str, matmul_precision: str | None = None) -> Callable[[Problem], Run]:
    """An engine of chalkgrad's own."""

    def make(problem: Problem) -> Run:
        import numpy as np

        from chalkgrad.train.engines import make_engine
        from chalkgrad.train.network import Network
        from chalkgrad.train.optimisers import Optimiser
        from chalkgrad.train.threads import limited, threads_for

        given = enumerate(problem.weights, 1)
        params = {f"{kind}{layer}": a for layer, pair in given for kind, a in zip("Wb", pair, strict=True)}
        network = Network(problem.sizes, params=params)
        x, y = network.check(problem.x, problem.y)
        # As `fit` does: so many threads as the step is worth, of those that there are.
        threads = min(int(os.environ["THREADS"]), threads_for(problem.parameters, problem.batch))
        hold = limited(threads)
        hold.__enter__()
        data, rule = {"x": x, "y": y}, Optimiser("adam")
        engine = make_engine(
            name, network, rule, data, problem.batch, threads, matmul_precision=matmul_precision
        )
        place = 0

        def run(steps: int) -> Any:
            nonlocal place
            losses = np.empty(steps)
            chosen = (np.arange(steps) + place) % problem.batches
            place = (place + steps) % problem.batches
            done = 0
            while done < steps:  # as the loop does: an epoch at most in a call
                part = chosen[done : done + problem.batches]
                engine.run(problem.order[part], losses[done : done + len(part)], RATE)
                done += len(part)
            return losses

        return run

    return make


def sklearn_fit(problem: Problem) -> Run:
    """MLPClassifier.fit, without penalty, an epoch more each time that a round needs it."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)

    def run(steps: int) -> Any:
        epochs = max(1, steps // problem.batches)
        model = MLPClassifier(
            problem.sizes[1:-1], alpha=0.0, batch_size=problem.batch, max_iter=epochs, tol=0.0,
            n_iter_no_change=epochs + 1, random_state=0,
        )  # fmt: skip
        model.fit(problem.x, problem.y)
        run.steps = epochs * problem.batches  # type: ignore[attr-defined]

    return run


def _torch_parts(problem: Problem) -> Any:
    import torch

    torch.set_num_threads(int(os.environ["THREADS"]))
    layers: list[Any] = []
    for w, b in problem.weights:
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *w.shape)  # nor does it draw weights of its own
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    x, y, order = (torch.from_numpy(a) for a in (problem.x, problem.y, problem.order))
    return torch, model, optimiser, x, y, order


def torch_eager(problem: Problem, rounded: bool = False) -> Run:
    """PyTorch as people write it, with the fused Adam; `rounded` with autocast to bfloat16."""
    torch, model, optimiser, x, y, order = _torch_parts(problem)
    precision = partial(torch.autocast, "cpu", torch.bfloat16) if rounded else contextlib.nullcontext
    place = 0

    def run(steps: int) -> Any:
        nonlocal place
        losses = []
        for _ in range(steps):
            rows = order[place % problem.batches]
            place += 1
            optimiser.zero_grad()
            with precision():
                scores = model(x[rows])
            loss = torch.nn.functional.cross_entropy(scores.float() if rounded else scores, y[rows])
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return torch.stack(losses).numpy()

    return run


def torch_compiled(problem: Problem, rounded: bool = False) -> Run:
    """The whole step under torch.compile; `rounded` with autocast to bfloat16."""
    torch, model, optimiser, x, y, order = _torch_parts(problem)
    precision = partial(torch.autocast, "cpu", torch.bfloat16) if rounded else contextlib.nullcontext
    place = 0

    @torch.compile(dynamic=False)
    def forward_backward(rows: Any) -> Any:
        with precision():
            scores = model(x[rows])
        loss = torch.nn.functional.cross_entropy(scores.float() if rounded else scores, y[rows])
        loss.backward()
        return loss.detach()

    update = torch.compile(optimiser.step)

    def run(steps: int) -> Any:
        nonlocal place
        losses = []
        for _ in range(steps):
            rows = order[place % problem.batches]
            place += 1
            optimiser.zero_grad()
            losses.append(forward_backward(rows))
            update()
        return torch.stack(losses).numpy()

    return run


def _jax_parts(problem: Problem) -> Any:
    import jax
    import jax.numpy as jnp

    x, y, order = jnp.asarray(problem.x), jnp.asarray(problem.y), jnp.asarray(problem.order)
    params = [(jnp.asarray(w), jnp.asarray(b)) for w, b in problem.weights]
    zeros = jax.tree.map(jnp.zeros_like, params)

    def loss(params: Any, xb: Any, yb: Any) -> Any:
        h = xb
        for w, b in params[:-1]:
            h = jax.nn.relu(h @ w + b)
        w, b = params[-1]
        scores = jax.nn.log_softmax(h @ w + b)
        return -jnp.take_along_axis(scores, yb[:, None], 1).mean()

    def step(state: Any, rows: Any) -> Any:
        params, m, v, t = state
        value, g = jax.value_and_grad(loss)(params, x[rows], y[rows])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        scale, root = RATE / (1 - 0.9**t), 1 / (1 - 0.999**t)
        params = jax.tree.map(lambda p, m, v: p - scale * m / (jnp.sqrt(v * root) + 1e-8), params, m, v)
        return (params, m, v, t), value

    return jax, jnp, step, (params, zeros, jax.tree.map(jnp.zeros_like, params), jnp.float32(0)), order


def jax_jit(problem: Problem) -> Run:
    """One jitted step a call, state donated."""
    jax, jnp, step, state, order = _jax_parts(problem)
    compiled = jax.jit(step, donate_argnums=0)
    place = 0

    def run(steps: int) -> Any:
        nonlocal state, place
        losses = []
        for _ in range(steps):
            state, value = compiled(state, order[place % problem.batches])
            place += 1
            losses.append(value)
        return jnp.stack(losses).block_until_ready()

    return run


def jax_scan(problem: Problem) -> Run:
    """An epoch a call: `lax.scan` over the batches."""
    jax, jnp, step, state, order = _jax_parts(problem)
    compiled = jax.jit(lambda state, order: jax.lax.scan(step, state, order), donate_argnums=0)

    def run(steps: int) -> Any:
        nonlocal state
        losses = []
        for _ in range(max(1, steps // problem.batches)):
            state, values = compiled(state, order)
            losses.append(values)
        found = jnp.concatenate(losses).block_until_ready()
        run.steps = len(found)  # type: ignore[attr-defined]
        return found

    return run


def gemm(problem: Problem, clock: Callable[[], float] = time.perf_counter) -> Run:
    """The bare matrix products of a step, each by the faster of NumPy's OpenBLAS and PyTorch's MKL."""
    import numpy as np
    import torch

    torch.set_num_threads(int(os.environ["THREADS"]))
    calls: list[tuple[Callable[[], Any], Callable[[], Any]]] = []

    def product(a: Any, b: Any) -> None:
        out = np.empty((a.shape[0], b.shape[1]), a.dtype)
        ta, tb, to = torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(np.empty_like(out))
        calls.append((lambda: np.matmul(a, b, out=out), lambda: torch.mm(ta, tb, out=to)))

    h = problem.x[: problem.batch]
    for layer, (w, _) in enumerate(problem.weights):
        units = len(w[0])
        delta = np.ones((problem.batch, units), w.dtype)
        product(h, w)
        product(h.T, delta)
        if layer:
            product(delta, w.T)
        h = np.ones((problem.batch, units), w.dtype)

    def run(steps: int) -> Any:
        total = 0.0
        for pair in calls:
            best = []
            for call in pair:
                call()
                began = clock()
                for _ in range(steps):
                    call()
                best.append(clock() - began)
            total += min(best)
        run.seconds = total  # type: ignore[attr-defined]

    return run


CONTENDERS: dict[str, tuple[str, Callable[[Problem], Run]]] = {
    "gemm": ("bare matrix products", gemm),
    "llvm": ("chalkgrad, machine code", chalkgrad_engine("llvm")),
    "numpy": ("chalkgrad, NumPy with `out=`", chalkgrad_engine("numpy")),
    "plain": ("chalkgrad, readable NumPy", chalkgrad_engine("plain")),
    "sklearn": ("scikit-learn `fit`", sklearn_fit),
    "torch": ("PyTorch eager, fused Adam", torch_eager),
    "compile": ("torch.compile, whole step", torch_compiled),
    "jit": ("JAX jit", jax_jit),
    "scan": ("JAX scan over an epoch", jax_scan),
    "llvm16": ("chalkgrad, machine code, bfloat16 products", chalkgrad_engine("llvm", "bfloat16")),
    "torch16": ("PyTorch eager, autocast to bfloat16", partial(torch_eager, rounded=True)),
    "compile16": ("torch.compile, autocast to bfloat16", partial(torch_compiled, rounded=True)),
}
"""Every row of the table: its label, and what makes the function that takes steps."""

ROUNDED = ("llvm16", "torch16", "compile16")
"""Those that round what matrix products multiply to bfloat16: another computation, beside itself only."""

IMPORTS = {
    "gemm": ("numpy", "torch"),
    "llvm": ("chalkgrad.train.loop", "chalkgrad.emit.kernels", "llvmlite", "threadpoolctl"),
    "numpy": ("chalkgrad.train.loop", "threadpoolctl"), "plain": ("chalkgrad.train.loop", "threadpoolctl"),
    "sklearn": ("sklearn.neural_network",), "torch": ("torch",), "compile": ("torch", "torch._dynamo"),
    "jit": ("jax",), "scan": ("jax",),
    "llvm16": ("chalkgrad.train.loop", "chalkgrad.emit.kernels", "llvmlite", "threadpoolctl"),
    "torch16": ("torch",), "compile16": ("torch", "torch._dynamo"),
}  # fmt: skip


def serve(name: str, size: str, threads: int) -> None:
    """Answer "run SECONDS" with the time of a step until the input ends."""
    if hasattr(os, "sched_setaffinity") and threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # JAX has no other switch
    for module in IMPORTS[name]:
        __import__(module)
    problem = Problem(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    run = CONTENDERS[name][1](problem)
    losses = run(1)
    first = time.perf_counter() - began
    known = [float(v) for v in losses] if losses is not None else []
    if losses is not None:
        known += [float(v) for v in run(9)][: 10 - len(known)]
    _say({"first": first, "losses": known[:10], "before": before})
    steps = 1
    for line in sys.stdin:
        seconds = float(line.split()[1])
        for _ in range(12):  # find how many steps fill the time
            took, done = _timed(run, steps)
            if took > 0.6 * seconds:
                break
            steps = max(steps + 1, int(steps * min(8.0, seconds / max(took, 1e-6))))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _say({"step": took / done, "peak": peak})


def _timed(run: Run, steps: int) -> tuple[float, int]:
    # Of the process, where asked for: on one thread a busy machine disturbs that less.
    clock = time.process_time if os.environ.get("CLOCK") == "process" else time.perf_counter
    began = clock()
    run(steps)
    took = getattr(run, "seconds", None) or clock() - began
    return took, getattr(run, "steps", steps)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
