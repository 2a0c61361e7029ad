"""Work shared among threads that live as long as the call."""

from __future__ import annotations

import threading
from collections.abc import Callable


def together(work: Callable[[int], None], threads: int) -> None:
    """Call `work` with 0 … threads − 1, each in a thread of its own, 0 in this one; wait for all.

    Raises:
        Whatever one of the calls raised, when all have ended.
    """
    failed: list[BaseException] = []

    def watched(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 (raised again below)
            failed.append(error)

    helpers = [threading.Thread(target=watched, args=(n,)) for n in range(1, threads)]
    for helper in helpers:
        helper.start()
    watched(0)
    for helper in helpers:
        helper.join()
    if failed:
        raise failed[0]
