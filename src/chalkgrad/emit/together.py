"""Work shared among threads that live as long as the call."""

from __future__ import annotations

import threading
from collections.abc import Callable

LOOK_SECONDS = 0.02
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
    failed: list[BaseException] = []

    def watched(number: int) -> None:
        try:
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
