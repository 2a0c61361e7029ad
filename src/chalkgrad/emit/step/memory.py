"""Which values share memory: a buffer is free again when nobody reads its value any more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

from chalkgrad.emit.step.operations import ELEMENTWISE, Op, Section, Value, View
from chalkgrad.expr.nodes import Range

Shape = tuple[Range, ...]


@dataclass(slots=True)
class Buffer:
    """Memory for values of one kind.

    Attributes:
        kind: "float", "bool" or "int".
        shapes: The shapes of the values that live in it; it is as large as the largest.
        elements: Entries of the largest, at the sizes that the choice was made for.
    """

    kind: str
    shapes: dict[Shape, None] = field(default_factory=dict)
    elements: int = 0


@dataclass(slots=True)
class Layout:
    """Where every value of a section lives.

    Attributes:
        buffers: The step's own memory.
        place: The number of the buffer of a value, or the name of the caller's array.
        elided: Copies that are none, because source and target share a buffer.
        late: Copies to the caller's arrays whose old content was still read when the new one was made.
    """

    buffers: list[Buffer]
    place: dict[Value, int | str]
    elided: set[Op]
    late: list[Op]


def entries(shape: Shape, sizes: Mapping[Range, int]) -> int:
    """How many entries an array of this shape has."""
    return prod(r.size if r.size is not None else sizes[r] for r in shape)


def assign(section: Section, sizes: Mapping[Range, int]) -> Layout:
    """Give every value of the section its memory.

    Args:
        section: Its operations run in order.
        sizes: A size for every symbolic range, which decides what fits into what. The result is right
            for all other sizes too.
    """
    return _Assignment(section, sizes).layout


class _Assignment:
    """One pass over the operations."""

    def __init__(self, section: Section, sizes: Mapping[Range, int]) -> None:
        self.ops, self.sizes = section.ops, sizes
        self.first: dict[Value, int] = {}
        self.last: dict[Value, int] = {}
        for at, op in enumerate(self.ops):
            for v in op.reads():
                self.last[v] = at
            if op.out is not None:
                self.first.setdefault(op.out, at)
                self.last[op.out] = max(at, self.last.get(op.out, at))
        self.layout = Layout([], {}, set(), [])
        self.free: list[int] = []
        self._occupants = {v.home: v for v in self.last if v.given}
        for at, op in enumerate(self.ops):
            self._place(at, op)

    def _place(self, at: int, op: Op) -> None:
        out = op.out
        dying = [v for v in dict.fromkeys(op.reads()) if self.last[v] == at and v is not out]
        reused: Value | None = None
        if out is not None and out not in self.layout.place:
            if out.home and not self._home_is_free(out.home, at, op):
                home = Value(out.ranges, out.kind, out.home, out.home, given=True)
                self.layout.late.append(Op("copy", "np.copyto", (View(out, _plain(out)),), home))
                self.last[out] = len(self.ops)
                out.home = ""
            reused = self._choose(at, op, out, dying)
        for v in dying:
            where = self.layout.place.get(v)
            if isinstance(where, int) and v is not reused:
                self.free.append(where)
        if out is not None and self.last[out] == at and isinstance(self.layout.place[out], int):
            self.free.append(int(self.layout.place[out]))

    def _choose(self, at: int, op: Op, out: Value, dying: list[Value]) -> Value | None:
        """Put `out` somewhere; returns the value whose buffer it takes over, if any."""
        if out.home:
            self.layout.place[out] = out.home
            return None
        home = self._wanted_home(at, op, out)
        if home:
            self.layout.place[out] = home
            return None
        for v in dying:
            where = self.layout.place.get(v)
            if isinstance(where, int) and self._may_overwrite(op, v, out):
                self.layout.place[out] = where
                if op.kind == "copy":
                    self.layout.elided.add(op)
                return v
        self.layout.place[out] = self._buffer(out)
        return None

    def _may_overwrite(self, op: Op, v: Value, out: Value) -> bool:
        plain = all(a.plain for a in op.args if isinstance(a, View) and a.value is v)
        return op.kind in ELEMENTWISE and plain and v.ranges == out.ranges and v.kind == out.kind

    def _home_is_free(self, home: str, at: int, op: Op) -> bool:
        """Whether the old content of the caller's array is not needed after this operation."""
        old = self._occupants.get(home)
        if old is None or self.last[old] < at:
            return True
        return self.last[old] == at and all(
            a.plain for a in op.args if isinstance(a, View) and a.value is old
        ) and op.kind in ELEMENTWISE  # fmt: skip

    def _wanted_home(self, at: int, op: Op, out: Value) -> str:
        """The caller's array that a later elementwise operation makes of `out`, when it is free by now."""
        value, reader = out, at
        while True:
            reader = self.last[value]
            if reader >= len(self.ops) or reader == at:
                return ""
            after = self.ops[reader]
            if after.out is None or after.out is value or not self._may_overwrite(after, value, after.out):
                return ""
            if after.out.home:
                break
            if after.out in self.layout.place:
                return ""
            value, at_next = after.out, reader
            if self.last[value] <= at_next:
                return ""
        home = after.out.home
        used = [v for v, where in self.layout.place.items() if where == home and v is not out]
        if any(self.last[v] > at for v in used) or not self._home_is_free(home, at, op):
            return ""
        return home

    def _buffer(self, out: Value) -> int:
        """A free buffer that fits best, or a new one."""
        needed = entries(out.ranges, self.sizes)
        buffers = self.layout.buffers
        usable = [n for n in self.free if buffers[n].kind == out.kind]
        enough = [n for n in usable if buffers[n].elements >= needed]
        if enough:
            chosen = min(enough, key=lambda n: buffers[n].elements)
        elif usable:
            chosen = max(usable, key=lambda n: buffers[n].elements)
        else:
            buffers.append(Buffer(out.kind))
            chosen = len(buffers) - 1
        if chosen in self.free:
            self.free.remove(chosen)
        buffers[chosen].shapes[out.ranges] = None
        buffers[chosen].elements = max(buffers[chosen].elements, needed)
        return chosen


def _plain(v: Value) -> tuple[int, ...]:
    return tuple(range(len(v.ranges)))


def name_temporaries(section: Section, layout: Layout, unused: Callable[[str], str]) -> None:
    """Names for values without one: that of the line's result where they share its memory."""
    named = {op.out.name: op.out for op in section.ops if op.out is not None and op.out.name}
    shared: dict[tuple[int | str, Shape], str] = {}
    for op in section.ops:
        v = op.out
        if v is not None and isinstance(layout.place[v], str):
            v.name = str(layout.place[v])
        if v is None or v.name:
            continue
        final = named.get(v.label)
        where = layout.place[v]
        if final is not None and layout.place.get(final) == where and final.ranges == v.ranges:
            v.name = final.name
            continue
        key = (where, v.ranges)
        if key not in shared:
            shared[key] = unused("t")
        v.name = shared[key]
