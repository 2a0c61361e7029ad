"""Ctrl-C between steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self


class DeferredInterrupt:
    """Within this context the first Ctrl-C only sets `requested`; the second one stops at once.

    A step changes parameters, memories and counters together; an exception between two of them
    would leave a state that no checkpoint may hold. Outside the main thread nothing changes, as
    Python delivers Ctrl-C to the main thread alone.

    Args:
        kept: Whether what a step has made by then is still needed; if not, it may be broken off anywhere.
    """

    def __init__(self, kept: bool = True) -> None:
        self.requested, self.kept = False, kept
        self._previous: object = None
        self._at_once = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            # An embedding program (None) or one that ignores Ctrl-C keeps its own way.
            if previous is signal.default_int_handler:
                self._previous = previous
                signal.signal(signal.SIGINT, self._request)
                _ACTIVE.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._previous is not None:
            _ACTIVE.remove(self)
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested or self._at_once:
            raise KeyboardInterrupt
        self.requested = True

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, Ctrl-C is not put off."""
        if self.requested:
            raise KeyboardInterrupt
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False


_ACTIVE: list[DeferredInterrupt] = []
"""Those that hold Ctrl-C back now; the main thread's alone."""


@contextmanager
def promptly() -> Iterator[None]:
    """For long work that changes nothing, such as making code: Ctrl-C ends it, where else it is put off."""
    if not _ACTIVE or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _ACTIVE[-1].at_once():
        yield


def kept() -> bool:
    """Whether the parameters are needed after a Ctrl-C that is put off here."""
    return not _ACTIVE or _ACTIVE[-1].kept


def asked() -> Callable[[], bool] | None:
    """What tells whether Ctrl-C came since it is put off; None where nobody puts it off here."""
    if not _ACTIVE or threading.current_thread() is not threading.main_thread():
        return None
    active = _ACTIVE[-1]
    return lambda: active.requested
