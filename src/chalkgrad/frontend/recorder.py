"""The record of a running trace: one provisional definition per operation, and where in the user's
code it was made.

A value gets its name only when the function has returned, from the local variable that holds it; until
then it is called #1, #2, … . Values that no variable holds and that are used once are written into the
formula that uses them (`chalkgrad.frontend.naming`).
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Access, Apply, Const, Expr, Index, Range, Size, Tensor
from chalkgrad.expr.ops import canonical, map_children, substitute, walk
from chalkgrad.frontend.sizes import Sizes, in_order, size_form, sizes_in


@dataclass(frozen=True, slots=True)
class Temporary:
    """target[indices] = body, under a provisional name.

    Attributes:
        hint: The name to use where the user's code gives none.
        kept: Whether it stays a definition of its own even if it is used once.
    """

    target: Tensor
    indices: tuple[Index, ...]
    body: Expr
    hint: str = ""
    kept: bool = False


class Recorder:
    """What the operations of one trace have in common.

    Args:
        name: The traced function's name, for messages.
        code: The code of the traced function; its frame gives names and places.
    """

    def __init__(self, name: str, code: CodeType | None = None) -> None:
        self.name = name
        self.code = code
        self.frame: FrameType | None = None
        self.pytorch = False
        """Whether the function names PyTorch: then some of its methods may not mean NumPy's."""
        self.temporaries: dict[Tensor, Temporary] = {}
        self.sizes: dict[Range, Expr] = {}
        self.equal_sizes: dict[tuple[Expr, Expr], None] = {}
        self.range_names: set[str] = set()
        self.given: set[Range] = set()
        self._known: dict[tuple[object, ...], Tensor] = {}
        self._count = 0

    def fresh(self, of: Range) -> Index:
        """A new index over the range, named provisionally."""
        self._count += 1
        return Index(f"#{self._count}", of)

    def range_of(self, size: Expr, hint: str = "") -> Range:
        """The range of this size: one that is known, a fixed one, or a new one that follows from others.

        Raises:
            NoSizeError: The size holds more than integer arithmetic on sizes.
            ValueError: The size is a constant below one.
        """
        normal = size_form(self.in_arguments(size))
        match normal:
            case Size(of):
                return of
            case Const(number):
                if number < 1:
                    raise ValueError(f"an axis of size {number}")
                return Range(str(number), int(number))
        for of, known in self.sizes.items():
            if known is normal:
                return of
        base = hint or _named_after(normal).name.rstrip("0123456789") or "R"
        name, number = hint or f"{base}2", 1 if hint else 2
        while name in self.range_names:
            number += 1
            name = f"{base}{number}"
        found = Range(name)
        self.range_names.add(name)
        self.sizes[found] = normal
        return found

    def in_arguments(self, size: Expr) -> Expr:
        """A size with the derived ranges written out, so that equal sizes are seen to be equal."""
        if isinstance(size, Size) and size.range in self.sizes and size.range not in self.given:
            return self.in_arguments(self.sizes[size.range])
        return map_children(size, self.in_arguments)

    def require_equal(self, one: Expr, other: Expr) -> None:
        """Note that two sizes must come out equal, unless they always do."""
        pair = size_form(self.in_arguments(one)), size_form(self.in_arguments(other))
        if pair[0] is not pair[1]:
            self.equal_sizes[pair] = None

    def sizes_of(self, used: set[Range]) -> Sizes:
        """The derived sizes among these ranges, with those that they need."""
        needed, waiting = set(used), list(used)
        while waiting:
            more = sizes_in(self.sizes[of]) - needed if (of := waiting.pop()) in self.sizes else set()
            needed |= more
            waiting += more
        return in_order([(of, size) for of, size in self.sizes.items() if of in needed])

    def define(
        self, body: Expr, indices: tuple[Index, ...], dtype: str, hint: str = "", kept: bool = False
    ) -> Access:
        """An access to the value `body`, which is recorded once however often it is computed."""
        self._find_frame()
        places = {index: Index(f"#at{place}", index.range) for place, index in enumerate(indices)}
        key = (canonical(substitute(body, places)), tuple(i.range for i in indices), dtype)
        target = self._known.get(key)
        if target is None:
            self._count += 1
            target = Tensor(f"#{self._count}", tuple(i.range for i in indices), dtype, "value")
            self._known[key] = target
            self.temporaries[target] = Temporary(target, indices, body, hint, kept)
        elif (hint or kept) and not self.temporaries[target].hint:
            old = self.temporaries[target]
            self.temporaries[target] = Temporary(target, old.indices, old.body, hint, kept or old.kept)
        return Access(target, indices)

    def _find_frame(self) -> FrameType | None:
        """The frame of the traced function, found among the callers; it keeps its locals when it returns."""
        frame: FrameType | None = sys._getframe(1)
        while self.frame is None and frame is not None:
            if frame.f_code is self.code:
                self.frame = frame
            frame = frame.f_back
        return self.frame

    def local_name(self, value: object) -> str:
        """The name of the local variable that holds this very object, or the empty string."""
        frame = self._find_frame()
        if frame is None:
            return ""
        return next((name for name, found in frame.f_locals.items() if found is value), "")

    def locals(self) -> dict[str, Any]:
        """The local variables of the traced function as it left them."""
        return dict(self.frame.f_locals) if self.frame is not None else {}

    def error(self, kind: type[ChalkgradError], message: str, hint: str = "") -> ChalkgradError:
        """An error that points at the expression of the user's code that is being evaluated."""
        source, position, length = self._place()
        return kind(message, hint=hint, source=source, position=position, length=length)

    def _place(self) -> tuple[str | None, int | None, int]:
        frame = self._find_frame()
        if frame is None or self.code is None:
            return None, None, 1
        line, end_line, column, end_column = list(self.code.co_positions())[frame.f_lasti // 2]
        if line is None or column is None or end_column is None:
            return None, None, 1
        written = linecache.getline(self.code.co_filename, line).rstrip()
        if not written.strip():
            return None, None, 1
        # Positions count bytes of UTF-8, and Greek names have two.
        encoded = written.encode()
        start = len(encoded[:column].decode(errors="ignore"))
        stop = len(encoded[:end_column].decode(errors="ignore")) if end_line == line else len(written)
        indent = len(written) - len(written.lstrip())
        return written.strip(), start - indent, stop - start


def _named_after(size: Expr) -> Range:
    """The range that a new one is a part of: F for |B T F| // |2 B T|. Of several the shortest name, then the
    one that stands first: a set of ranges has another order in every run."""
    divisors = {r for node in walk(size) if isinstance(node, Apply) for r in sizes_in(node.args[1])}
    ranges = dict.fromkeys(node.range for node in walk(size) if isinstance(node, Size))
    return min(ranges, key=lambda r: (r in divisors, len(r.name)))


def ranges_text(axes: Sequence[Index | None]) -> str:
    """`N, D`, with 1 for an axis of length one."""
    return ", ".join("1" if axis is None else axis.range.name for axis in axes)
