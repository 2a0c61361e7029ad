"""Python's search for unreachable cycles, put off while code is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Nothing is searched inside, which takes an eighth of the time of deriving and emitting.

    Both make hundreds of thousands of objects that live on, and the search looks at all of them again and
    again. What little is unreachable is found afterwards.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
