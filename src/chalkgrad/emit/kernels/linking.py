"""Machine code into memory without LLVM, where an object file is as plain as ours are.

Most processes find their code made: for them to load a compiler of 180 MB would cost more time and memory
than everything else before the first step. An object of ELF for x86-64 with nothing in it but distances
between its own parts, and calls of the C library, is placed here:

    [ addresses of library functions ][ a jump through each ][ sections ]

Anything else gives None, and LLVM's linker does it.

Reference: System V ABI, AMD64 supplement, chapter 4.4 (relocation).
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")
X86_64, OBJECT = 62, 1
CONTENT, SYMBOLS, RELOCATIONS = 1, 2, 4
IN_MEMORY, WRITABLE = 2, 1
DISTANCES = (2, 4)
"""R_X86_64_PC32 and R_X86_64_PLT32: target + addend − place, in 32 bits."""

JUMP = b"\xff\x25"
"""jmp [rip + distance], by which a library function that lies far away is reached."""

READ_AND_RUN = 5


@dataclass(frozen=True, slots=True)
class _Section:
    name: int
    kind: int
    flags: int
    address: int
    start: int
    size: int
    link: int
    info: int
    align: int
    entry: int


def load(code: bytes, name: str) -> tuple[Any, int] | None:
    """What keeps the code in memory, and the address of the function `name`; None for LLVM to do it."""
    if not code.startswith(b"\x7fELF\x02\x01") or not hasattr(mmap, "MAP_PRIVATE"):
        return None
    head = HEADER.unpack_from(code)
    if head[1:3] != (OBJECT, X86_64):
        return None
    try:
        return _Image(code, head).placed(name)
    except (_Unknown, OSError, AttributeError):
        return None


class _Unknown(Exception):  # noqa: N818 (never leaves this file)
    """Something that LLVM must place."""


class _Image:
    """An object file and where its parts go."""

    def __init__(self, code: bytes, head: tuple[Any, ...]) -> None:
        self.code, first, number = code, head[6], head[12]
        self.sections = [
            _Section(*SECTION.unpack_from(code, first + n * SECTION.size)) for n in range(number)
        ]
        (table,) = (s for s in self.sections if s.kind == SYMBOLS)
        self.names = self.sections[table.link]
        self.symbols = list(SYMBOL.iter_unpack(code[table.start : table.start + table.size]))
        own = [n for n, s in enumerate(self.sections) if s.flags & IN_MEMORY and s.size]
        if any(self.sections[n].kind != CONTENT or self.sections[n].flags & WRITABLE for n in own):
            raise _Unknown
        self.library: dict[str, int] = {}
        for symbol in self.symbols[1:]:
            if symbol[3] == 0:
                self.library[self._name(symbol)] = len(self.library)
        self.jumps = 8 * len(self.library)
        end = self.jumps + 8 * len(self.library)
        self.places: dict[int, int] = {}
        for n in own:
            section = self.sections[n]
            self.places[n] = end = -(-end // max(section.align, 1)) * max(section.align, 1)
            end += section.size
        self.size = end

    def _name(self, symbol: tuple[Any, ...]) -> str:
        start = self.names.start + symbol[0]
        return self.code[start : self.code.index(b"\0", start)].decode()

    def _place(self, symbol: tuple[Any, ...]) -> int:
        """Where a symbol lies in the image; that of a library function is its jump."""
        if symbol[3] == 0:
            return self.jumps + 8 * self.library[self._name(symbol)]
        if symbol[3] not in self.places:
            raise _Unknown
        return int(self.places[symbol[3]] + symbol[4])

    def _content(self) -> bytearray:
        image = bytearray(self.size)
        for n, place in self.places.items():
            section = self.sections[n]
            image[place : place + section.size] = self.code[section.start : section.start + section.size]
        for name, number in self.library.items():
            struct.pack_into("<Q", image, 8 * number, _address_of(name))
            at = self.jumps + 8 * number
            image[at : at + 2] = JUMP
            struct.pack_into("<i", image, at + 2, 8 * number - (at + 6))
        for place, target, addend in self._distances():
            struct.pack_into("<i", image, place, target + addend - place)
        return image

    def _distances(self) -> Iterator[tuple[int, int, int]]:
        """Where each distance stands, to which place it is, and what is added to it."""
        for section in self.sections:
            if section.kind != RELOCATIONS or section.info not in self.places:
                continue
            base = self.places[section.info]
            for at, about, addend in RELOCATION.iter_unpack(
                self.code[section.start : section.start + section.size]
            ):
                if about & 0xFFFFFFFF not in DISTANCES:
                    raise _Unknown
                yield base + at, self._place(self.symbols[about >> 32]), addend

    def placed(self, name: str) -> tuple[Any, int]:
        """The image in memory that may be read and run, and no longer changed."""
        content = self._content()
        (wanted,) = (s for s in self.symbols if s[3] and self._name(s) == name)
        memory = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory[:] = bytes(content)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        if protect(start, self.size, READ_AND_RUN) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
        return memory, start + self._place(wanted)


def _address_of(name: str) -> int:
    """A function of the C library.

    Raises:
        AttributeError: When the process has none of this name.
    """
    return int(ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0)
