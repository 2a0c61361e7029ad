"""The garbage collector, held while many nodes are made that all stay.

Nodes hold no cycles, and caches keep most of them. The collector looks through all of them again and again
and finds nothing, which takes a third of the time of a derivation.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_held() -> Iterator[None]:
    """The collector does not run while the block runs; it is as before behind it. Also a decorator."""
    ran = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if ran:
            if not gc.get_freeze_count():  # what was made stays: it counts as old without a look at each
                gc.freeze()
                gc.unfreeze()
            gc.enable()
