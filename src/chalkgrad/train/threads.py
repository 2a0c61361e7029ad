"""How many threads the matrix products may use: as many as the step's size is worth, and never more than
this process has been given."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from chalkgrad.train.extras import optional

WORTH = 2e7
"""Floating-point operations a step that a second thread makes faster; below, handing over costs more."""

WORTH_ASKING = 4e9
"""Floating-point operations beside which asking the BLAS for its threads, some milliseconds, is little."""

_GRANTED = ContextVar("threads that this call may use", default=0)


def operations(parameters: int, batch: int) -> float:
    """What the matrix products of a step take: forward, and both products of the backward."""
    return 6.0 * parameters * batch


def threads_for(parameters: int, batch: int) -> int:
    """The threads for steps of this size."""
    return 1 if operations(parameters, batch) < WORTH else available()


def available() -> int:
    """The threads for work that is worth sharing.

    A worker of a pool and a thread beside the main one get one thread: their siblings use the other cores.
    Within `limited` there are as many as that allows.
    """
    if _GRANTED.get():
        return _GRANTED.get()
    if (
        multiprocessing.parent_process() is not None
        or threading.current_thread() is not threading.main_thread()
    ):
        return 1
    # Launchers of several processes per machine (torchrun, MPI) say how many there are.
    siblings = int(os.environ.get("LOCAL_WORLD_SIZE", "1") or "1")
    return max(1, _cores() // siblings)


def _cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def limited(threads: int) -> Iterator[int]:
    """Let the BLAS use at most so many threads, never more than it uses now; yields the number.

    Needs threadpoolctl, which scikit-learn brings; without it the BLAS goes on as before, and 0 is given.
    """
    control = optional("threadpoolctl")
    if control is None:
        with _granted(threads):
            yield 0
        return
    pools = control.ThreadpoolController()
    now = [pool["num_threads"] for pool in pools.info() if pool["user_api"] == "blas"]
    chosen = min([threads, *now])
    with pools.limit(limits=chosen, user_api="blas"), _granted(chosen):
        yield chosen


@contextmanager
def _granted(threads: int) -> Iterator[None]:
    before = _GRANTED.set(threads)
    try:
        yield
    finally:
        _GRANTED.reset(before)


@contextmanager
def shared(operations: float) -> Iterator[int]:
    """The threads for work of so many floating-point operations: one, or what was left to the BLAS."""
    if _GRANTED.get() or operations < WORTH_ASKING:
        yield available() if operations >= WORTH else 1
        return
    threads = available()
    with limited(threads) as allowed:
        yield allowed or threads
