"""LLVM IR into machine code, and machine code kept on disk, so that the next process need not compile."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from chalkgrad.emit.kernels.targets import Target, binding

_LINKERS: list[Any] = []
"""One linker for the process, made when the first code is loaded."""

_NUMBERS = itertools.count()
"""A name for each loaded object: the linker takes none twice."""


def optimiser_of(target: Target) -> Any:
    """LLVM's code generator for the target."""
    llvm = binding()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="default"
    )


def object_code(text: str, target: Target) -> bytes:
    """The machine code of a module of IR."""
    llvm = binding()
    module = llvm.parse_assembly(text)
    module.verify()
    code: bytes = optimiser_of(target).emit_object(module)
    return code


def load(code: bytes, name: str) -> tuple[Any, int]:
    """Machine code into memory: what keeps it there, and the address of the function `name`.

    Code and constants refer to each other by 32-bit distances. So they are placed by LLVM's JITLink, which
    puts all parts of an object side by side; MCJIT maps each part wherever the process has a hole, and
    where two holes lie further apart than 2 GB, it aborts the process.
    """
    llvm = binding()
    if not _LINKERS:
        _LINKERS.append(llvm.create_lljit_compiler(use_jit_link=True))
    library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(name)
    tracker = library.link(_LINKERS[0], f"{name}{next(_NUMBERS)}")
    return tracker, tracker[name]


def key(parts: str, target: Target) -> str:
    """What identifies cached code: the source, the versions, the processor."""
    import llvmlite

    versions = f"{sys.version_info[:2]} {llvmlite.__version__} {binding().llvm_version_info}"
    text = "\n".join([parts, versions, repr(target), _own_sources()])
    return hashlib.sha256(text.encode()).hexdigest()


def _own_sources() -> str:
    """A digest of the generator, so that a changed one never finds the code of the former."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path | None:
    """Where code is kept: CHALKGRAD_CACHE, else the user's cache folder; None when that is unsafe.

    The folder must belong to this user and be writable by nobody else. An empty CHALKGRAD_CACHE
    switches the cache off.
    """
    named = os.environ.get("CHALKGRAD_CACHE")
    if named == "":
        return None
    base = (
        Path(named)
        if named
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chalkgrad"
    )
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        return base if _own(base.lstat(), stat.S_ISDIR) else None
    except OSError:
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
    with suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        os.replace(temporary, folder / name)
        temporary = None
    if temporary is not None:
        with suppress(OSError):
            os.unlink(temporary)
