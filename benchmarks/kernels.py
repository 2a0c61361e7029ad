"""The compiled step against the bare matrix products that it needs, in interleaved rounds.

    python benchmarks/kernels.py [--sizes A,B,C,D] [--rules adam] [--threads 1] [--rounds 7]

A ratio of 1 means that forward, loss, backward, update and row gather took as long as the matrix
products alone take in the faster of the BLAS libraries at hand (NumPy's, and PyTorch's if installed).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from itertools import pairwise

SIZES = {
    "A": ((64, 100, 10), 32, 400),
    "B": ((784, 256, 128, 10), 128, 20),
    "C": ((784, 1024, 1024, 10), 256, 3),
    "D": ((3072, 2048, 2048, 10), 512, 1),
}
"""Widths of the network, rows per step, steps per timed call."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="A,B,C,D")
    parser.add_argument("--rules", default="adam")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--activation", default="relu")
    parser.add_argument("--dtype", default="float32")
    return parser.parse_args()


if __name__ == "__main__":
    ASKED = arguments()
    # The BLAS libraries read these when they are loaded.
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(ASKED.threads)

import numpy as np  # noqa: E402

from chalkgrad.diff.derive import for_code  # noqa: E402
from chalkgrad.emit.kernels import compile_step  # noqa: E402
from chalkgrad.train.network import loss_program  # noqa: E402
from chalkgrad.train.optimisers import RULES  # noqa: E402


def products(widths, batch):
    """(left, right) shapes of every matrix product: forward, dW, and dX but for the first layer."""
    shapes = []
    for layer, (a, b) in enumerate(pairwise(widths)):
        shapes += [((batch, a), (a, b), "nn"), ((batch, a), (batch, b), "tn")]
        if layer:
            shapes.append(((batch, b), (a, b), "nt"))
    return shapes


def blas(shapes, dtype):
    """Every product as a call, in each library."""
    rng = np.random.default_rng(0)
    libraries = {"numpy": [], "torch": []}
    try:
        import torch

        torch.set_num_threads(ASKED.threads)
    except ImportError:
        torch = None
    for left, right, kind in shapes:
        a, b = (rng.standard_normal(s).astype(dtype) for s in (left, right))
        op = {"nn": (a, b), "tn": (a.T, b), "nt": (a, b.T)}[kind]
        out = op[0] @ op[1]
        libraries["numpy"].append(lambda p=op[0], q=op[1], o=out: np.matmul(p, q, out=o))
        if torch is not None:
            ta, tb = torch.from_numpy(a), torch.from_numpy(b)
            top = {"nn": (ta, tb), "tn": (ta.T, tb), "nt": (ta, tb.T)}[kind]
            held = torch.from_numpy(out.copy())
            libraries["torch"].append(lambda p=top[0], q=top[1], o=held: torch.mm(p, q, out=o))
    return {name: calls for name, calls in libraries.items() if calls}


def compiled(widths, batch, rule, steps):
    """One timed call of the compiled step."""
    rng = np.random.default_rng(1)
    program = loss_program(len(widths) - 1, ASKED.activation, False)
    wrt = tuple(t.name for t in program.inputs if t.name not in ("x", "y"))
    shapes = {"x": (batch, widths[0]), "y": (batch,)}
    values = {}
    for layer, (a, b) in enumerate(pairwise(widths), 1):
        values[f"W{layer}"] = rng.standard_normal((a, b)) * np.sqrt(2 / a)
        values[f"b{layer}"] = np.zeros(b)
    shapes |= {name: v.shape for name, v in values.items()}
    update = RULES[rule]
    step = compile_step(
        *for_code(program, wrt),
        update.program,
        shapes=shapes,
        memories=update.memories,
        dtype=ASKED.dtype,
        threads=ASKED.threads,
    )
    step.load(values)
    rows = max(4 * batch, 4096)
    data = {
        "x": rng.standard_normal((rows, widths[0])).astype(ASKED.dtype),
        "y": rng.integers(0, widths[-1], rows),
    }
    order = rng.integers(0, rows, batch * steps)
    scalars = {"lr": 1e-3, **dict(update.constants)}
    return lambda: step.run(data, order, batch, scalars=scalars)


def seconds(call):
    """Processor time of this thread where one thread works, so that a busy machine disturbs less."""
    clock = time.thread_time if ASKED.threads == 1 else time.perf_counter
    start = clock()
    call()
    return clock() - start


def compare(name, rule):
    widths, batch, steps = SIZES[name]
    step = compiled(widths, batch, rule, steps)
    shapes = products(widths, batch)
    libraries = blas(shapes, ASKED.dtype)
    # The second core needs load before it runs at full speed, and every first call allocates.
    end = time.perf_counter() + 0.4
    while time.perf_counter() < end:
        step()
    for calls in libraries.values():
        [call() for call in calls]
    ours, ratios, bare_times = [], [], []
    for _ in range(ASKED.rounds):
        best_each = [
            min(
                min(seconds(calls[n]) for _ in range(3))
                if steps < 100
                else seconds(lambda c=calls[n]: [c() for _ in range(50)]) / 50
                for calls in libraries.values()
            )
            for n in range(len(shapes))
        ]
        own = min(seconds(step) / steps for _ in range(3))
        bare = sum(best_each)
        ours.append(own)
        bare_times.append(bare)
        ratios.append(own / bare)
    flops = sum(2 * a[0] * a[1] * (b[1] if kind != "nt" else b[0]) for a, b, kind in shapes)
    own, bare = statistics.median(ours), statistics.median(bare_times)
    print(
        f"{name} {rule:9} ×{ASKED.threads}  step {own * 1e6:10.1f} µs  bare GEMM {bare * 1e6:10.1f} µs  "
        f"ratio {statistics.median(ratios):5.2f} ({min(ratios):.2f}–{max(ratios):.2f})  "
        f"{flops / own / 1e9:5.0f} GF/s (bare {flops / bare / 1e9:.0f})"
    )


if __name__ == "__main__":
    for size in ASKED.sizes.split(","):
        for rule_name in ASKED.rules.split(","):
            compare(size, rule_name)
    sys.exit(0)
