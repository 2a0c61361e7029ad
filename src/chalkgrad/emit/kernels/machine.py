"""LLVM IR into machine code, and what identifies machine code that is kept on disk."""

from __future__ import annotations

import itertools
from typing import Any

from chalkgrad.emit import disk_cache
from chalkgrad.emit.disk_cache import cache_folder, read_cached, write_cached
from chalkgrad.emit.kernels import linking
from chalkgrad.emit.kernels.targets import Target, binding

__all__ = [
    "cache_folder",
    "key",
    "linked",
    "load",
    "object_code",
    "optimiser_of",
    "read_cached",
    "write_cached",
]

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

    Code and constants refer to each other by 32-bit distances. So they are placed by `linking`, or else by
    LLVM's JITLink, which put all parts of an object side by side; MCJIT maps each part wherever the process
    has a hole, and where two holes lie further apart than 2 GB, it aborts the process.
    """
    placed = linking.load(code, name)
    return placed if placed is not None else linked(code, name)


def linked(code: bytes, name: str) -> tuple[Any, int]:
    """`load` by LLVM's own linker."""
    llvm = binding()
    if not _LINKERS:
        _LINKERS.append(llvm.create_lljit_compiler(use_jit_link=True))
    library = llvm.JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(name)
    tracker = library.link(_LINKERS[0], f"{name}{next(_NUMBERS)}")
    return tracker, tracker[name]


def key(parts: str, target: Target) -> str:
    """What identifies cached code: the source, the versions, the processor."""
    import llvmlite  # its version says LLVM's, and loading LLVM to ask takes longer than a first step

    return disk_cache.key(parts, llvmlite.__version__, repr(target))
