"""Work shared among threads that live as long as the call."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress

LOOK_SECONDS = 0.005
"""How often one looks while others work."""


def together(work: Callable[[int], None], threads: int, look: Callable[[], None] | None = None) -> None:
    """Call `work` with 0 … threads − 1, each in a thread of its own, 0 in this one; wait for all.

    Args:
        work: What each does.
        threads: How many.
        look: Called now and then in this thread, which then does no work of its own but hears of signals.

    Raises:
        Whatever one of the calls raised, or this thread while it waited, when all have ended.
    """
    if threads == 1 and look is None:
        work(0)
        return
    failed: list[BaseException] = []
    cores = _cores(threads)

    def watched(number: int) -> None:
        try:
            _go_to(cores, number)
            work(number)
        except BaseException as error:  # noqa: BLE001 (raised again below)
            failed.append(error)

    first = 1 if look is None else 0
    helpers = [threading.Thread(target=watched, args=(n,)) for n in range(first, threads)]
    for helper in helpers:
        helper.start()
    if look is None:
        watched(0)
    for helper in helpers:
        while helper.is_alive():
            # Whatever happens here, nobody may go on while somebody still writes into the shared memory.
            try:
                helper.join(LOOK_SECONDS)
                if look is not None:
                    look()
            except BaseException as error:  # noqa: BLE001 (raised again below)
                failed.append(error)
    if failed:
        raise failed[0]


def _cores(threads: int) -> list[int]:
    """The cores that may be used, this thread's first; none where the system does not say or has too few."""
    if threads == 1 or not hasattr(os, "sched_setaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    with suppress(OSError, AttributeError, ValueError):
        place = allowed.index(ctypes.CDLL(None).sched_getcpu())
        return allowed[place:] + allowed[:place] if threads <= len(allowed) else []
    return []


def _go_to(cores: list[int], number: int) -> None:
    """Move this thread to a core of its own, from which the system may move it again.

    A new thread may begin on its maker's core, or wake it there. Both then wait for each other in turns, look
    busy, and are left where they are: two took as long as one, for as long as they ran.
    """
    if cores:
        with suppress(OSError):
            os.sched_setaffinity(0, {cores[number]})
            os.sched_setaffinity(0, cores)
