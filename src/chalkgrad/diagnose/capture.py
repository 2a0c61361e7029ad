"""Calls of somebody else's function: what it returned, raised, printed and changed."""

from __future__ import annotations

import contextlib
import copy
import io
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chalkgrad.verify.environment import Array


class TooSlowError(Exception):
    """The time allowed for one call is over."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function.

    Attributes:
        value: What it returned.
        error: What it raised, as "ValueError: ..."; empty if nothing.
        line: The number of the function's own line that raised, 0 if unknown.
        printed: What it wrote to standard output and standard error.
        seconds: How long it took.
        mutated: Names of arguments whose contents it changed.
        contents: The arguments after the call.
    """

    value: Any
    error: str
    line: int
    printed: str
    seconds: float
    mutated: tuple[str, ...]
    contents: Mapping[str, Any]


def call(
    function: Callable[[dict[str, Any]], Any], arguments: Mapping[str, Any], timeout: float | None = None
) -> Call:
    """Call `function(arguments)` on copies of the arguments, and see what happens to them."""
    given = {name: duplicate(value) for name, value in arguments.items()}
    heard = io.StringIO()
    value, error, line = None, "", 0
    began = time.perf_counter()
    try:
        with (
            contextlib.redirect_stdout(heard),
            contextlib.redirect_stderr(heard),
            np.errstate(all="ignore"),
            _limited(timeout),
        ):
            value = function(given)
    except KeyboardInterrupt:
        raise
    except TooSlowError:
        error = f"it did not finish within {timeout:g} s"
    except (Exception, SystemExit) as problem:  # noqa: BLE001 (the user's code may raise anything)
        error = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
        frames = traceback.extract_tb(problem.__traceback__)
        own = [f for f in frames if "chalkgrad/diagnose" not in f.filename.replace("\\", "/")]
        line = (own[0].lineno or 0) if own else 0
    seconds = time.perf_counter() - began
    mutated = tuple(name for name in given if not same(given[name], arguments[name]))
    return Call(value, error, line, heard.getvalue(), seconds, mutated, given)


@contextlib.contextmanager
def _limited(timeout: float | None) -> Iterator[None]:
    """Raise in the running code when the time is over, where the system can do that."""
    if timeout is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(_number: int, _frame: Any) -> None:
        raise TooSlowError

    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Settings(dict[str, Any]):
    """A dictionary of settings, such as conv_param, that notes which of them are read."""

    def __init__(self, values: Mapping[str, Any], read: set[str]) -> None:
        super().__init__(values)
        self.read = read

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:  # f(**conv_param) reads all of them
        self.read.update(super().keys())
        return super().__iter__()


def duplicate(value: Any) -> Any:
    """A deep copy that keeps what cannot be copied."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(duplicate(v) for v in value)
    if isinstance(value, list):
        return [duplicate(v) for v in value]
    if isinstance(value, dict):
        copied = {k: duplicate(v) for k, v in value.items()}
        return Settings(copied, value.read) if isinstance(value, Settings) else copied
    if isinstance(value, int | float | str | bytes | None):
        return value
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 (an object that cannot be copied is shared)
        return value


def same(a: Any, b: Any) -> bool:
    """Whether two structures hold the same numbers, bit by bit; what has no numbers counts as the same."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(v, dict.__getitem__(b, k)) for k, v in a.items())
    if hasattr(a, "detach") and hasattr(b, "detach"):
        return same(a.detach().cpu().numpy(), b.detach().cpu().numpy())
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b or (a != a and b != b)
    return True


def repeats(a: Array, b: Array) -> bool:
    """Whether two calls gave the same gradient, but for the order of a sum."""
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-12, atol=1e-14, equal_nan=True))


def as_array(value: Any) -> Array | None:
    """A gradient as a NumPy array; None if it is no array of numbers."""
    if value is None or isinstance(value, str | bytes | dict):
        return None
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    return array if array.dtype.kind in "fiub" else None
