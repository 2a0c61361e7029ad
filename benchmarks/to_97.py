"""Train on handwritten digits, 64–100–10, until 97 % of the held-out rows are right; prints the epochs.

Called by `training.py`, which times the whole process. The recipe is the same for all: Adam at 3e-3, batches
of 32, the accuracy worked out after each epoch, at most 60 epochs.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

SIZES, BATCH, RATE, MOST = (64, 100, 10), 32, 3e-3, 60


def digits() -> Any:
    """Training and held-out rows in float32, scaled to 0 … 1."""
    import numpy as np

    # The file itself: importing scikit-learn would take longer than the training of most.
    folder = Path(find_spec("sklearn").submodule_search_locations[0])  # type: ignore[union-attr, index]
    table = np.loadtxt(folder / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.float32)
    x, y = table[:, :-1] / 16, table[:, -1].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    return x[order[:1437]], y[order[:1437]], x[order[1437:]], y[order[1437:]]


def chalkgrad(engine: str) -> int:
    import numpy as np

    from chalkgrad.train.engines import make_engine
    from chalkgrad.train.network import Network
    from chalkgrad.train.optimisers import Optimiser
    from chalkgrad.train.sampler import Sampler

    x, y, xt, yt = digits()
    network = Network(SIZES)
    runner = make_engine(engine, network, Optimiser("adam"), {"x": x, "y": y}, BATCH)
    sampler = Sampler(len(y), BATCH, 0)
    for epoch in range(1, MOST + 1):
        while not sampler.epoch_done:
            order = sampler.next_batches(1000)
            runner.run(order, np.empty(len(order)), RATE)
        sampler.start_epoch()
        runner.sync()
        if network.score(xt, yt) >= 0.97:
            return epoch
    return 0


def sklearn() -> int:
    from sklearn.neural_network import MLPClassifier

    x, y, xt, yt = digits()
    model = MLPClassifier(SIZES[1:-1], batch_size=BATCH, learning_rate_init=RATE, random_state=0)
    for epoch in range(1, MOST + 1):
        model.partial_fit(x, y, classes=list(range(10)))
        if model.score(xt, yt) >= 0.97:
            return epoch
    return 0


def torch() -> int:
    import torch as t

    x, y, xt, yt = (t.from_numpy(a) for a in digits())
    t.manual_seed(0)
    t.set_num_threads(1)
    model = t.nn.Sequential(t.nn.Linear(64, 100), t.nn.ReLU(), t.nn.Linear(100, 10))
    rule = t.optim.Adam(model.parameters(), lr=RATE, fused=True)
    for epoch in range(1, MOST + 1):
        for rows in t.randperm(len(y)).split(BATCH):
            rule.zero_grad()
            t.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            rule.step()
        with t.no_grad():
            if (model(xt).argmax(1) == yt).float().mean() >= 0.97:
                return epoch
    return 0


def jit() -> int:
    import jax
    import jax.numpy as jnp
    import numpy as np

    x, y, xt, yt = (jnp.asarray(a) for a in digits())
    generator = np.random.default_rng(0)
    params = [
        (jnp.asarray(generator.standard_normal((d, k)) * (2 / d) ** 0.5, jnp.float32), jnp.zeros(k))
        for d, k in pairwise(SIZES)
    ]

    def scores(params: Any, x: Any) -> Any:
        (w1, b1), (w2, b2) = params
        return jax.nn.relu(x @ w1 + b1) @ w2 + b2

    def loss(params: Any, x: Any, y: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(scores(params, x)), y[:, None], 1).mean()

    def step(state: Any, rows: Any) -> Any:
        params, m, v, t = state
        g = jax.grad(loss)(params, x[rows], y[rows])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        update = lambda p, m, v: p - RATE / (1 - 0.9**t) * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)  # noqa: E731
        return (jax.tree.map(update, params, m, v), m, v, t), None

    epoch_of = jax.jit(lambda state, order: jax.lax.scan(step, state, order)[0])
    right = jax.jit(lambda params: (scores(params, xt).argmax(1) == yt).mean())
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = (params, zeros, zeros, jnp.float32(0))
    for epoch in range(1, MOST + 1):
        order = generator.permutation(len(y))[: len(y) // BATCH * BATCH].reshape(-1, BATCH)
        state = epoch_of(state, jnp.asarray(order))
        if right(state[0]) >= 0.97:
            return epoch
    return 0


if __name__ == "__main__":
    name = sys.argv[1]
    epochs = chalkgrad(name) if name in ("llvm", "numpy") else globals()[name]()
    print(epochs or f"not reached in {MOST}")
