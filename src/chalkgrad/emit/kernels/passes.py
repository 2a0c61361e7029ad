"""Kernels that move or combine panels: gathering rows, turning deltas, elementwise passes, bias sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.emit.kernels.expressions import Slots, Vectors, whole_to_number
from chalkgrad.emit.kernels.layout import PAGE, Layout
from chalkgrad.emit.kernels.parts import Each, Rows, Total
from chalkgrad.emit.kernels.schedule import ColumnKernel, PassKernel, Segment
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.writer import DOUBLE, I8, I64, Loop, Writer
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Access, Expr, Index, Tensor
from chalkgrad.expr.ops import tensors_in, walk

Known = Mapping[Tensor, list[Any]]
"""Values that are in registers: a vector per vector of the panel."""


GATHER_AHEAD = 64
"""How many numbers ahead the rows that are gathered are asked for."""


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
        raise UnsupportedError(f"The compiled step cannot read {e} here.", hint='Choose engine="numpy".')

    return read


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
            for c, column in enumerate(w.transposed(loaded)):
                w.store(column, w["arena"], base, w.mul(w.add(d, c), panel), beside)
        if turned:
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
    w = _kernel(module, layout, name)
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


def _kernel(module: Any, layout: Layout, name: str) -> Writer:
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
    w = _kernel(module, layout, name)
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
            w.total(counted_lanes(w, value, w.add(w.mul(p, panel), v * lanes))) for v, value in enumerate(values)
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
    w = _kernel(module, layout, name)
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
        raise UnsupportedError(f"The compiled step cannot read {e} here.", hint='Choose engine="numpy".')

    return read


def write_total(module: Any, layout: Layout, slots: Slots, total: Total, number: int, name: str) -> Any:
    """Σ over the entries of a parameter, one double per panel of columns at `totals[number …]`."""
    w = _kernel(module, layout, name)
    (parameter,) = [t for t in tensors_in(total.body) if t.axes]
    flat = len(parameter.axes) == 1
    at = 0 if flat or parameter.name in layout.flipped else 1
    column, columns = _index_at(total, parameter, at), layout.panels(parameter.axes[at])
    rows = 1 if flat else layout.sizes[parameter.axes[1 - at]]
    depth = 1 if flat else layout.padded(parameter.axes[1 - at])
    lanes, panel, place = w.target.lanes, w.target.panel, layout.parameter(parameter)
    w.arguments["count"] = columns.size
    for start, number_of, vectors, _ in columns.parts():
        low = w.b.select(
            w.b.icmp_signed(">", w["first"], ir.Constant(I64, start)), w["first"], ir.Constant(I64, start)
        )
        with w.loop(low, w.least(w["last"], start + number_of)) as q:
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
