"""How many spoiled backwards are caught and named, how many right ones accused; what gradient checkers say.

python benchmarks/diagnosis.py --faulty 1500 --right 500
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import random
import statistics
import time
import warnings
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from corpus import Bench, Program, faulty, functions, right
from machine import machine_line

import chalkgrad as cg
from chalkgrad.layers import GALLERY

CHECKED = 60
"""How many programs the gradient checkers of other packages are run on; they take long."""


def programs(kept: Path | None) -> tuple[list[Program], list[Program]]:
    """All spoiled and all right programs; generating them takes minutes, so a file may keep them."""
    if kept is None or not kept.is_file():
        every, sound = list(faulty()), list(right())
        if kept is not None:
            data = [
                [(p.layer, p.text, [sorted(x) for x in p.labels], p.edit) for p in g] for g in (every, sound)
            ]
            kept.write_text(json.dumps(data), encoding="utf-8")
        return every, sound
    spoiled, fine = (
        [
            Program(layer, text, tuple(frozenset(x) for x in labels), edit)
            for layer, text, labels, edit in group
        ]
        for group in json.loads(kept.read_text(encoding="utf-8"))
    )
    return spoiled, fine


@dataclass(frozen=True)
class Verdict:
    """What a check said of one program, and how long it took."""

    ok: bool
    causes: list[str]
    said: str
    seconds: float


def judged(p: Program) -> Verdict:
    """The check of one program."""
    warnings.simplefilter("ignore")
    forward, backward = functions(p.text)
    began = time.perf_counter()
    found = cg.check(backward, GALLERY[p.layer], forward=forward)
    seconds = time.perf_counter() - began
    said = str(found.faults[0]) if found.faults else "not caught"
    return Verdict(found.ok, sorted({f.cause for f in found.faults}), said, seconds)


def judge(programs: list[Program], jobs: int, kept: Path | None) -> list[Verdict]:
    """All programs, in the order given; what a file has from an earlier run is not judged again."""
    known: dict[str, Verdict] = {}
    if kept is not None and kept.is_file():
        lines = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
        known = {line.pop("key"): Verdict(**line) for line in lines}
    waiting = sorted((p for p in programs if key(p) not in known), key=lambda p: p.layer)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for p, verdict in zip(waiting, pool.imap(judged, waiting), strict=True):
            known[key(p)] = verdict
            if kept is not None:
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key(p), **asdict(verdict)}) + "\n")
    return [known[key(p)] for p in programs]


def key(p: Program) -> str:
    """A name for a program."""
    return hashlib.sha1(f"{p.layer}\n{p.text}".encode()).hexdigest()


def named(p: Program, v: Verdict) -> bool:
    """Whether every edit's cause is among those reported."""
    return all(label & set(v.causes) for label in p.labels)


def in_order(gradients: Any) -> Any:
    """A dictionary of gradients as a tuple, as the other checkers want it."""
    return tuple(gradients.values()) if isinstance(gradients, dict) else gradients


def gradcheck(p: Program) -> bool | None:
    """Whether torch.autograd.gradcheck accepts the program; None where it cannot run it."""
    try:
        import torch
    except ImportError:
        return None
    forward, backward = functions(p.text)
    bench = Bench.of(p.layer)
    if len(bench.upstreams) > 1 or any(isinstance(a, float) for a in bench.inputs):
        return None

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            out, ctx.cache = forward(*(a.detach().numpy() for a in inputs))
            return torch.as_tensor(np.array(out))

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            up = grad.numpy() if grad.ndim else grad.item()
            return tuple(
                None if g is None else torch.as_tensor(np.array(g)) for g in in_order(backward(up, ctx.cache))
            )

    inputs = [torch.as_tensor(a).requires_grad_(a.dtype.kind == "f") for a in bench.inputs]
    try:
        return bool(torch.autograd.gradcheck(Wrapped.apply, inputs, raise_exception=False))
    except Exception:  # noqa: BLE001 (a spoiled program may raise anything: that is a refusal)
        return False


def check_grads(p: Program) -> bool | None:
    """Whether jax.test_util.check_grads accepts the program, as a custom_vjp of callbacks."""
    try:
        import jax
        from jax.test_util import check_grads as jax_check
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    forward, backward = functions(p.text)
    bench = Bench.of(p.layer)
    if len(bench.upstreams) > 1 or any(isinstance(a, float) or a.dtype.kind != "f" for a in bench.inputs):
        return None
    shape = np.shape(forward(*bench.inputs)[0])

    def value(*a: Any) -> Any:
        return jax.pure_callback(
            lambda *x: np.asarray(forward(*map(np.array, x))[0]), jax.ShapeDtypeStruct(shape, float), *a
        )

    def gradients(up: Any, *a: Any) -> Any:
        def run(u: Any, *x: Any) -> Any:
            _, cache = forward(*map(np.array, x))
            found = backward(np.array(u) if np.ndim(u) else float(u), cache)
            return tuple(np.broadcast_to(g, np.shape(i)) for g, i in zip(in_order(found), x, strict=True))

        return jax.pure_callback(run, tuple(jax.ShapeDtypeStruct(np.shape(i), float) for i in a), up, *a)

    wrapped = jax.custom_vjp(value)
    wrapped.defvjp(lambda *a: (value(*a), a), lambda saved, up: gradients(up, *saved))
    try:
        jax_check(wrapped, bench.inputs, order=1, modes=["rev"])
    except Exception:  # noqa: BLE001 (an assertion or whatever the program raises: a refusal)
        return False
    return True


def others(spoiled: list[Program], sound: list[Program]) -> None:
    for name, checker in (("torch.autograd.gradcheck", gradcheck), ("jax check_grads", check_grads)):
        caught = [checker(p) for p in spoiled[:CHECKED]]
        alarms = [checker(p) for p in sound[:CHECKED]]
        ran, well = [c for c in caught if c is not None], [a for a in alarms if a is not None]
        if ran and well:
            alarmed = f"false alarms {well.count(False)}/{len(well)}"
            print(f"  {name}: caught {ran.count(False)}/{len(ran)}, {alarmed}, causes named 0")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faulty", type=int, default=1500)
    parser.add_argument("--right", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--misses", type=int, default=0, help="print this many programs whose cause was not named"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--results", type=Path, help="add each verdict to this file, and go on from it")
    parser.add_argument("--corpus", type=Path, help="keep the generated programs in this file, or read them")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = random.Random(options.seed)
    every, sound = programs(options.corpus)
    print(f"Diagnosis of spoiled backwards. {machine_line()}")
    print(f"  corpus: {len(every)} spoiled and {len(sound)} right programs")
    every = rng.sample(every, min(options.faulty, len(every)))
    sound = rng.sample(sound, min(options.right, len(sound)))
    found = judge(every, options.jobs, options.results)
    right_found = judge(sound, options.jobs, options.results)
    seconds, right_seconds = [v.seconds for v in found], [v.seconds for v in right_found]
    caught = sum(not d.ok for d in found)
    good = [named(p, d) for p, d in zip(every, found, strict=True)]
    single = [g for g, p in zip(good, every, strict=True) if len(p.labels) == 1]
    double = [g for g, p in zip(good, every, strict=True) if len(p.labels) == 2]
    print(f"  caught {caught}/{len(every)} = {caught / len(every):.1%}")
    print(f"  cause named {sum(good)}/{len(good)} = {sum(good) / len(good):.1%}"
          f" (one edit {sum(single)}/{len(single)}, two edits {sum(double)}/{len(double)})")  # fmt: skip
    print(f"  false alarms {sum(not d.ok for d in right_found)}/{len(sound)}")
    medians = f"{statistics.median(seconds):.2f} s spoiled, {statistics.median(right_seconds):.2f} s right"
    print(f"  median time {medians}, longest {max(seconds):.1f} s")
    by_cause: dict[str, Counter[bool]] = defaultdict(Counter)
    for p, g in zip(every, good, strict=True):
        if len(p.labels) == 1:
            by_cause["|".join(sorted(p.labels[0]))][g] += 1
    for cause, counts in sorted(by_cause.items()):
        print(f"    {cause:<42} {counts[True]:4d} of {sum(counts.values()):4d}")
    others(every, sound)
    shown = 0
    for p, d, g in zip(every, found, good, strict=True):
        if not g and shown < options.misses:
            shown += 1
            print(f"miss: {p.layer} {[sorted(x) for x in p.labels]} {p.edit}\n  -> {d.said}")


if __name__ == "__main__":
    main()
