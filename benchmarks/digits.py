"""Accuracy on handwritten digits, 64-100-10, over twenty stratified splits: `python benchmarks/digits.py`.

Each split holds 359 of the 1,797 rows out; split, initial weights and order of the rows all change with
the seed. Forward, backward and update rule are derived and emitted code.
"""

from __future__ import annotations

import platform
import statistics

from chalkgrad.train.data import load_digits
from chalkgrad.train.loop import fit
from chalkgrad.train.network import Network
from chalkgrad.train.split import split_rows

SEEDS = range(20)


def accuracy(seed: int) -> tuple[float, float]:
    """Held-out accuracy and training seconds for one seed."""
    digits = load_digits()
    parts = split_rows(digits.y, validation=0.1, test=0.2, seed=seed)
    network = Network((64, 100, 10), l2=1e-3, seed=seed)
    history = fit(
        network,
        digits.rows(parts.train),
        validation=digits.rows(parts.validation),
        optimiser="nesterov",
        epochs=40,
        batch_size=32,
        learning_rate=0.2,
        lr_decay=0.95,
        seed=seed,
    )
    test = digits.rows(parts.test)
    return network.score(test.x, test.y), history.seconds


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    results = [accuracy(seed) for seed in SEEDS]
    scores = [score for score, _ in results]
    print("seed  held-out accuracy  seconds")
    for seed, (score, seconds) in zip(SEEDS, results, strict=True):
        print(f"{seed:4d}  {score:17.2%}  {seconds:7.2f}")
    print(
        f"mean {statistics.mean(scores):.2%}, standard deviation {statistics.stdev(scores):.2%}, "
        f"lowest {min(scores):.2%}, highest {max(scores):.2%}, "
        f"at least 97 %: {sum(s >= 0.97 for s in scores)} of {len(scores)}"
    )


if __name__ == "__main__":
    main()
