"""Emitted code kept on disk, so that the next process neither derives nor emits nor compiles it.

A file is found by what its code was made from: the formula, the versions, the processor, and the sources
of chalkgrad itself. It is read only when it is whole and nobody but this user could have written it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from chalkgrad.emit.collector import collector_paused


def kept(kind: str, parts: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, as JSON holds it: from the disk where an earlier process left it.

    Args:
        kind: What sort of code; the end of the file's name.
        parts: Everything that the code is made from: see `structure`.
        make: Derives and emits.
    """
    name = f"{key(structure(parts))}.{kind}"
    content = read_cached(name)
    if content is not None:
        found: dict[str, Any] = json.loads(content)
        return found
    # Through JSON at once, so that the first process sees what the second one will.
    with collector_paused():
        text = json.dumps(make()).encode()
    write_cached(name, text)
    made: dict[str, Any] = json.loads(text)
    return made


def structure(value: Any) -> str:
    """A value's whole structure as text: what differs anywhere differs in the text.

    Example:
        >>> from chalkgrad.expr.nodes import Index, Range
        >>> structure((Index("i", Range("N")), 3))
        "(Index('i',Range('N',None)),3)"
    """
    if isinstance(value, tuple | list):
        return f"({','.join(map(structure, value))})"
    if isinstance(value, dict):
        return structure(tuple(value.items()))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inside = ",".join(structure(getattr(value, f.name)) for f in dataclasses.fields(value))
        return f"{type(value).__name__}({inside})"
    return repr(value)


def key(*parts: str) -> str:
    """A name for code that was made from `parts` by this chalkgrad, this Python and this NumPy."""
    versions = f"{sys.version_info[:2]} {np.__version__}"
    return hashlib.sha256("\n".join([*parts, versions, own_sources()]).encode()).hexdigest()


@lru_cache(None)
def own_sources() -> str:
    """A digest of chalkgrad's own files, so that a changed one never finds the code of the former.

    By place, length and time of change, as Python finds its compiled modules: to read them would take
    longer than everything else that a process does before its first step.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return hashlib.sha256("\n".join(sorted(_stamps(package))).encode()).hexdigest()


def _stamps(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                status = entry.stat()
                yield f"{entry.path} {status.st_size} {status.st_mtime_ns}"
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _stamps(entry.path)


def cache_folder() -> Path | None:
    """Where code is kept: CHALKGRAD_CACHE, else the user's cache folder; None when that is unsafe.

    The folder must belong to this user and be writable by nobody else. An empty CHALKGRAD_CACHE
    switches the cache off.
    """
    named = os.environ.get("CHALKGRAD_CACHE")
    if named == "":
        return None
    try:
        base = (
            Path(named)
            if named
            else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chalkgrad"
        )
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        return base if _own(base.lstat(), stat.S_ISDIR) else None
    except (OSError, RuntimeError):  # no home, or none that can be written
        return None


def _own(status: os.stat_result, kind: Any) -> bool:
    if not kind(status.st_mode):
        return False
    if not hasattr(os, "getuid"):
        return True  # Windows: the profile's folders are the user's alone
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read_cached(name: str) -> bytes | None:
    """The content of a cached file, if it is whole and nobody else could have written it."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        handle = os.open(folder / name, flags)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        if not _own(os.fstat(file.fileno()), stat.S_ISREG):
            return None
        digest, _, content = file.read().partition(b"\n")
    return content if hashlib.sha256(content).hexdigest().encode() == digest else None


def write_cached(name: str, content: bytes) -> None:
    """Keep the content; whoever reads at the same time finds the old file, the new one, or none."""
    folder = cache_folder()
    if folder is None:
        return
    temporary = None
    # A cache that cannot be written costs time, not correctness.
    try:
        with suppress(OSError):
            handle, temporary = tempfile.mkstemp(dir=folder)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            os.replace(temporary, folder / name)
            temporary = None
    finally:  # after Ctrl-C, too
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
