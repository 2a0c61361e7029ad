"""Kernels that combine panels: elementwise passes, sums over columns, statistics of the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.expressions import Slots, Vectors, whole_to_number
from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.parts import Each, Rows, Total
from chalkgrad.emit.kernels.schedule import ColumnKernel, PassKernel, Segment
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.writer import DOUBLE, I8, I64, Loop, Writer
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Access, Expr, Index, Tensor
from chalkgrad.expr.ops import tensors_in, walk

Known = Mapping[Tensor, list[Any]]
"""Values that are in registers: a vector per vector of the panel."""


def number_pointer(target: Target) -> Any:
    return (DOUBLE if target.double else ir.FloatType()).as_pointer()


def data_pointer(target: Target, t: Tensor) -> Any:
    """The user's array: numbers of the step's type, labels of 64 bits, a byte for true or false."""
    wholes = {"int": I64, "bool": I8}
    return wholes[t.dtype].as_pointer() if t.dtype in wholes else number_pointer(target)


def observed(
    w: Writer, layout: Layout, at: tuple[Any, Any, Any], vector: int, known: Known
) -> Callable[[Expr], Any]:
    """How an expression reads its operands where the lanes are observations.

    Args:
        at: The offset within features, the row (column of the value), and the panel.
        vector: Which vector of the panel.
        known: Values in registers.
    """
    offset, row, panel = at
    lanes, width = w.target.lanes, w.target.panel

    def read(e: Expr) -> Any:
        if isinstance(e, Index) and e.range is not layout.batch:
            return whole_to_number(w, row)
        if isinstance(e, Index):
            first = whole_to_number(w, w.add(w.mul(panel, width), vector * lanes))
            return w.b.fadd(first, ir.Constant(w.vector, [float(lane) for lane in range(lanes)]))
        if isinstance(e, Access):
            t = e.tensor
            if t in known:
                return known[t][vector]
            if t.axes and t.axes[0] is layout.batch:
                if len(t.axes) == 1:
                    return w.load(w["arena"], layout.rows(t), w.mul(panel, width), vector * lanes)
                return w.load(w["arena"], layout.features(t), offset, vector * lanes)
            if len(t.axes) == 1:
                return w.splat_at(w["arena"], layout.vector(t), row)
        raise UnsupportedError(f"The compiled step cannot read {e} here.", hint='Choose engine="auto".')

    return read


def observing(module: Any, layout: Layout, name: str) -> Writer:
    """A function over panels first … last − 1 of a batch of `count` observations."""
    pointer = number_pointer(layout.target)
    arguments = [("arena", pointer), ("slots", pointer), ("totals", DOUBLE.as_pointer())]
    return Writer(module, layout.target, name, [*arguments, ("first", I64), ("last", I64), ("count", I64)])


def write_pass(
    module: Any, layout: Layout, slots: Slots, kernel: PassKernel, stored: frozenset[Tensor],
    totals: Mapping[Tensor, int], name: str,
) -> Any:  # fmt: skip
    """The segments of a pass, one after the other for each panel.

    A `Total` leaves one double per panel at `totals[number · panels + panel]`, so that the sum over
    the panels has one order however many threads there are.
    """
    w = observing(module, layout, name)
    with w.loop(w["first"], w["last"]) as p:
        for segment in kernel.segments:
            if segment.range is None:
                _row_lines(w, layout, slots, segment, totals, p.index)
            else:
                _column_loop(w, layout, slots, segment, stored, p.index)
    return w.end()


def _row_lines(
    w: Writer, layout: Layout, slots: Slots, segment: Segment, totals: Mapping[Tensor, int], p: Any
) -> None:
    known: dict[Tensor, list[Any]] = {}
    lanes, panel = w.target.lanes, w.target.panel
    for op in segment.operations:
        assert isinstance(op, Each | Total)
        values = []
        for v in range(w.target.vectors):
            lower = Vectors(w, slots, w["slots"], observed(w, layout, (None, None, p), v, known))
            values.append(lower(op.body))
        if isinstance(op, Each):
            known[op.target] = values
            for v, value in enumerate(values):
                w.store(value, w["arena"], layout.rows(op.target), w.mul(p, panel), v * lanes)
            continue
        sums = [
            w.total(counted_lanes(w, value, w.add(w.mul(p, panel), v * lanes)))
            for v, value in enumerate(values)
        ]
        total = sums[0]
        for more in sums[1:]:
            total = w.b.fadd(total, more)
        w.b.store(total, w.at(w["totals"], totals[op.target] * layout.blocks, p))


def counted_lanes(w: Writer, value: Any, first: Any) -> Any:
    """Zero in the lanes of observations past `count`."""
    kind = ir.VectorType(I64, w.target.lanes)
    undefined = ir.Constant(kind, ir.Undefined)

    def spread(whole: Any) -> Any:
        one = w.b.insert_element(undefined, w.whole_value(whole), ir.Constant(ir.IntType(32), 0))
        return w.shuffle(one, undefined, [0] * w.target.lanes)

    lane = w.b.add(spread(first), ir.Constant(kind, list(range(w.target.lanes))))
    return w.b.select(w.b.icmp_signed("<", lane, spread(w["count"])), value, w.splat(0.0))


START = {"sum": 0.0, "max": float("-inf"), "min": float("inf")}


def _column_loop(
    w: Writer, layout: Layout, slots: Slots, segment: Segment, stored: frozenset[Tensor], p: Any
) -> None:
    lanes, panel, vectors = w.target.lanes, w.target.panel, w.target.vectors
    assert segment.range is not None
    size, padded = layout.sizes[segment.range], layout.padded(segment.range)
    reductions = [op for op in segment.operations if isinstance(op, Rows)]
    start = [w.splat(START[op.op]) for op in reductions for _ in range(vectors)]
    with w.loop(0, size, carried=start) as h:
        offset = w.mul(w.add(w.mul(p, padded), h.index), panel)
        _column(w, layout, slots, segment, (offset, h.index, p), stored, h)
    for n, op in enumerate(reductions):
        for v in range(vectors):
            value = h.carried[n * vectors + v]
            w.store(value, w["arena"], layout.rows(op.target), w.mul(p, panel), v * lanes)


def _column(
    w: Writer, layout: Layout, slots: Slots, segment: Segment, at: tuple[Any, Any, Any],
    stored: frozenset[Tensor], h: Loop,
) -> None:  # fmt: skip
    known: dict[Tensor, list[Any]] = {}
    vectors, number = w.target.vectors, 0
    for op in segment.operations:
        assert isinstance(op, Each | Rows)
        values = []
        for v in range(vectors):
            lower = Vectors(w, slots, w["slots"], observed(w, layout, at, v, known))
            values.append(lower(op.body))
        if isinstance(op, Rows):
            for v, value in enumerate(values):
                place = number * vectors + v
                h.after[place] = _combined(w, op.op, h.carried[place], value)
            number += 1
            continue
        known[op.target] = values
        if op.target in stored:
            for v, value in enumerate(values):
                w.store(value, w["arena"], layout.features(op.target), at[0], v * w.target.lanes)


def _combined(w: Writer, op: str, so_far: Any, value: Any) -> Any:
    if op == "sum":
        return w.b.fadd(so_far, value)
    # Unordered comparison keeps a NaN, so that a diverged score shows in the loss.
    return w.b.select(w.b.fcmp_unordered(">" if op == "max" else "<", value, so_far), value, so_far)


def write_columns(
    module: Any, layout: Layout, slots: Slots, kernel: ColumnKernel, name: str
) -> tuple[Any, int]:
    """Statistics of the batch for a share of the columns; a share is a vector of them. Also their number."""
    w = observing(module, layout, name)
    size, padded = layout.sizes[kernel.range], layout.padded(kernel.range)
    lanes, panel, vectors = w.target.lanes, w.target.panel, w.target.vectors
    low, high = w.mul(w["first"], lanes), w.mul(w["last"], lanes)
    blocks = w.divide(w.add(w["count"], panel - 1), panel)
    for op in kernel.operations:
        if isinstance(op, Each):
            with w.loop(low, high, lanes) as h:
                lower = Vectors(w, slots, w["slots"], _of_columns(w, layout, h.index))
                w.store(lower(op.body), w["arena"], layout.vector(op.target), h.index)
            continue
        with w.loop(low, w.least(high, size)) as h:
            with w.loop(0, blocks, carried=[w.splat(0.0)] * vectors) as p:
                offset = w.mul(w.add(w.mul(p.index, padded), h.index), panel)
                for v in range(vectors):
                    read = observed(w, layout, (offset, h.index, p.index), v, {})
                    value = Vectors(w, slots, w["slots"], read)(op.body)
                    counted = counted_lanes(w, value, w.add(w.mul(p.index, panel), v * lanes))
                    p.after[v] = w.b.fadd(p.carried[v], counted)
            total = w.total(p.carried[0])
            for v in range(1, vectors):
                total = w.b.fadd(total, w.total(p.carried[v]))
            if not w.target.double:
                total = w.b.fptrunc(total, w.number)
            w.b.store(total, w.at(w["arena"], layout.vector(op.target), h.index))
    return w.end(), -(-size // lanes)


def _of_columns(w: Writer, layout: Layout, h: Any) -> Callable[[Expr], Any]:
    """How an expression reads its operands where the lanes are columns."""

    def read(e: Expr) -> Any:
        if isinstance(e, Access) and len(e.tensor.axes) == 1:
            return w.load(w["arena"], layout.vector(e.tensor), h)
        raise UnsupportedError(f"The compiled step cannot read {e} here.", hint='Choose engine="auto".')

    return read


def write_total(module: Any, layout: Layout, slots: Slots, total: Total, number: int, name: str) -> Any:
    """Σ over the entries of a parameter, one double per panel of columns at `totals[number …]`."""
    w = observing(module, layout, name)
    (parameter,) = [t for t in tensors_in(total.body) if t.axes]
    flat = len(parameter.axes) == 1
    at = 0 if flat or parameter.name in layout.flipped else 1
    column, columns = _index_at(total, parameter, at), layout.panels(parameter.axes[at])
    rows = 1 if flat else layout.sizes[parameter.axes[1 - at]]
    depth = 1 if flat else layout.padded(parameter.axes[1 - at])
    lanes, panel, place = w.target.lanes, w.target.panel, layout.parameter(parameter)
    w.arguments["count"] = columns.size
    for start, number_of, vectors, _ in columns.parts():
        with w.loop(w.most(w["first"], start), w.least(w["last"], start + number_of)) as q:
            base = w.add(place, w.mul(q.index, panel * depth))
            with w.loop(0, rows, carried=[ir.Constant(DOUBLE, 0.0)]) as d:
                so_far = d.carried[0]
                for v in range(vectors):
                    entry = w.load(w["arena"], base, w.mul(d.index, vectors * lanes), v * lanes)

                    def read(e: Expr, entry: Any = entry) -> Any:
                        if isinstance(e, Access) and e.tensor is parameter and e.indices[at] is column:
                            return entry
                        raise UnsupportedError(
                            f"The compiled step cannot read {e} in a sum over a parameter."
                        )

                    value = Vectors(w, slots, w["slots"], read)(total.body)
                    counted = counted_lanes(w, value, w.add(w.mul(q.index, panel), v * lanes))
                    so_far = w.b.fadd(so_far, w.total(counted))
                d.after = [so_far]
            w.b.store(d.carried[0], w.at(w["totals"], number, q.index))
    return w.end(), columns.count


def _index_at(total: Total, parameter: Tensor, at: int) -> Index:
    """The index that runs over an axis of the parameter."""
    found = [e for e in walk(total.body) if isinstance(e, Access) and e.tensor is parameter]
    column = found[0].indices[at]
    if not isinstance(column, Index):
        raise UnsupportedError(f"The compiled step cannot sum {total.body}.")
    return column
