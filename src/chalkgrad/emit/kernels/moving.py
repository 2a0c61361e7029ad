"""Kernels that move panels: gathering rows, turning deltas or activations."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.emit.kernels.layout import PAGE, Layout
from chalkgrad.emit.kernels.passes import data_pointer, number_pointer, observing
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.writer import I64, Writer
from chalkgrad.expr.nodes import Tensor

GATHER_AHEAD = 64
"""How many numbers ahead the rows that are gathered are asked for."""


def write_gather(module: Any, layout: Layout, t: Tensor, name: str, turned: bool = False) -> Any:
    """Rows of the user's array, in the order given, into panels: features of rows transposed.

    With `turned`, into panels of columns as well, where they lie as they are; zeros past `count` there.

    Observations past `count` repeat the last one: their values are finite, and no sum reads them.
    """
    target = layout.target
    w = Writer(
        module, target, name,
        [("arena", number_pointer(target)), ("data", data_pointer(target, t)), ("order", I64.as_pointer()),
         ("first", I64), ("last", I64), ("count", I64)],
    )  # fmt: skip
    size = 1 if len(t.axes) == 1 else layout.sizes[t.axes[1]]
    with w.loop(w["first"], w["last"]) as p:
        if len(t.axes) == 2 and size >= target.lanes and t.dtype == "float":
            _gather_squares(w, layout, t, size, p.index, turned)
        else:
            assert not turned, "only rows of whole vectors are gathered both ways"
            _gather_numbers(w, layout, t, size, p.index)
    return w.end()


def _row(w: Writer, i: Any) -> Any:
    """The number of the user's row for observation i of the batch."""
    i = w.least(i, w.b.sub(w["count"], ir.Constant(I64, 1)))
    return w.number_at(w["order"], i)


def _gather_squares(w: Writer, layout: Layout, t: Tensor, size: int, p: Any, turned: bool) -> None:
    lanes, panel = w.target.lanes, w.target.panel
    base = w.add(layout.features(t), w.mul(p, panel * layout.padded(t.axes[1])))
    # A square of rows is then a part of one panel of columns as it is.
    whole = w.target.vectors == 1 and size % lanes == 0
    # Loops, where copies would run as fast: squares are what takes LLVM longest.
    with w.loop(0, w.target.vectors) as v:
        beside = w.mul(v.index, lanes)
        first = w.add(w.mul(p, panel), beside)
        rows = [w.at(w["data"], w.mul(_row(w, w.add(first, i)), size)) for i in range(lanes)]
        with w.loop(0, size, lanes) as step:
            # The last square begins early enough to end with the row.
            d = w.least(step.index, size - lanes) if size % lanes else step.index
            for row in rows:
                w.prefetch(row, d, GATHER_AHEAD, change=False)
            loaded = [w.load(row, d, aligned=False) for row in rows]
            if turned and whole:
                top = w.add(layout.turned(t), w.mul(d, layout.capacity), w.mul(p, lanes * lanes))
                for i, row in enumerate(loaded):
                    w.store(row, w["arena"], top, i * lanes)
            for c, column in enumerate(w.transposed(loaded)):
                w.store(column, w["arena"], base, w.mul(w.add(d, c), panel), beside)
        if turned and not whole:
            _copied_rows(w, layout, t, rows, (p, beside))
    if turned:
        for first, count, vectors, _ in layout.panels(t.axes[1]).parts():
            with w.loop(first, first + count) as q:
                top = w.add(layout.turned(t), w.mul(q.index, panel * layout.capacity))
                _cleared(w, w.add(top, w.mul(p, panel * vectors * lanes)), p, vectors)


def _copied_rows(w: Writer, layout: Layout, t: Tensor, rows: list[Any], place: tuple[Any, Any]) -> None:
    """A vector of rows into the turned panels of their columns."""
    (p, beside), lanes, panel = place, w.target.lanes, w.target.panel
    for first, count, vectors, used in layout.panels(t.axes[1]).parts():
        width = vectors * lanes
        with w.loop(first, first + count) as q:
            top = w.add(layout.turned(t), w.mul(q.index, panel * layout.capacity), w.mul(p, panel * width))
            start = w.mul(q.index, panel)
            for i, row in enumerate(rows):
                goal = w.at(w["arena"], top, w.mul(w.add(beside, i), width))
                for c in range(0, used - used % lanes, lanes):
                    w.store(w.load(row, start, c, aligned=False), goal, c)
                for c in range(used - used % lanes, used):
                    w.b.store(w.number_at(row, start, c), w.at(goal, c))


def _cleared(w: Writer, top: Any, p: Any, vectors: int) -> None:
    """Zeros for the observations of a turned panel past `count`, so that sums skip them."""
    lanes, panel = w.target.lanes, w.target.panel
    with w.loop(w.b.sub(w["count"], w.mul(p, panel)), panel) as i:
        for vector in range(vectors):
            w.store(w.splat(0.0), w["arena"], top, w.mul(i.index, vectors * lanes), vector * lanes)


def _gather_numbers(w: Writer, layout: Layout, t: Tensor, size: int, p: Any) -> None:
    panel, b = w.target.panel, w.b
    if len(t.axes) == 2:
        base = w.add(layout.features(t), w.mul(p, panel * layout.padded(t.axes[1])))
    else:
        base = w.add(layout.rows(t), w.mul(p, panel))
    with w.loop(0, panel) as i:
        row = _row(w, w.add(w.mul(p, panel), i.index))
        with w.loop(0, size) as d:
            value = w.number_at(w["data"], w.mul(row, size), d.index)
            if t.dtype != "float":
                value = (b.uitofp if t.dtype == "bool" else b.sitofp)(value, w.number)
            b.store(value, w.at(w["arena"], base, w.mul(d.index, panel), i.index))


def write_turn(module: Any, layout: Layout, t: Tensor, name: str) -> Any:
    """Features into turned panels; observations past `count` become zero, so that sums skip them."""
    target = layout.target
    square = _turn_square(module, target)
    w = observing(module, layout, name)
    lanes, panel = target.lanes, target.panel
    source, goal = layout.features(t), layout.turned(t)
    padded, columns = layout.padded(t.axes[1]), layout.panels(t.axes[1])
    with w.loop(w["first"], w["last"]) as p:
        begin = w.add(source, w.mul(p.index, padded * panel))
        for first, count, vectors, _ in columns.parts():
            width = vectors * lanes
            with w.loop(first, first + count) as q:
                top = w.add(goal, w.mul(q.index, panel * layout.capacity), w.mul(p.index, panel * width))
                if panel * layout.capacity * target.item >= PAGE:
                    # The next panel begins on another page, where the hardware does not look ahead.
                    with w.loop(0, panel * vectors * lanes, lanes) as n:
                        w.prefetch(w["arena"], top, panel * layout.capacity, n.index)
                with w.loop(0, width, lanes) as c:
                    above = w.add(begin, w.mul(w.add(w.mul(q.index, panel), c.index), panel))
                    with w.loop(0, panel, lanes) as v:
                        below = w.add(top, w.mul(v.index, width), c.index)
                        start = w.at(w["arena"], above, v.index)
                        w.call(square, start, w.at(w["arena"], below), width)
                _cleared(w, top, p.index, vectors)
    return w.end()


def _turn_square(module: Any, target: Target) -> Any:
    """A square from a panel of features into one of `width` columns: one function for the whole step."""
    name, pointer = "turn_square", number_pointer(target)
    known = module.globals.get(PREFIX + name)
    if known is not None:
        return known
    w = Writer(module, target, name, [("source", pointer), ("goal", pointer), ("width", I64)])
    columns = w.transposed([w.load(w["source"], r * target.panel) for r in range(target.lanes)])
    for i, column in enumerate(columns):
        w.store(column, w["goal"], w.mul(w["width"], i))
    return w.end()
