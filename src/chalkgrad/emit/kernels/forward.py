"""Predicting as machine code: a whole forward pass for one row or many, with the columns in the lanes.

Rows stay as the user has them, one after the other, so that nothing is turned on the way in or out:

    one row     f[h] += Σ_k x[k] W[k,h], `TOGETHER` rows of the user's W at a time: it is read once, in order
    many rows   every W is copied into panels once a call; then, a chunk of rows at a time, register tiles of
                some rows × a panel, with the lines that follow a product worked out on its tiles

The other lines (softmax) go through one row after the other. Values between products lie in memory that the
caller gives, in rows of whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.expressions import Slots, Vectors, whole_to_number
from chalkgrad.emit.kernels.layout import Panels
from chalkgrad.emit.kernels.machine import object_code
from chalkgrad.emit.kernels.parts import Each, Operation, Operations, Rows
from chalkgrad.emit.kernels.passes import START, _combined, number_pointer
from chalkgrad.emit.kernels.products import _flags, block_depth
from chalkgrad.emit.kernels.schedule import PassKernel, ProductKernel, Segment, schedule
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.tile import Shape, write_tile
from chalkgrad.emit.kernels.writer import I64, Writer, whole_constant
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Access, Expr, Index, Range, Tensor

TOGETHER = 8
"""Rows of a weight that one row's product reads at a time: so many streams does the processor look ahead."""

FEW = 4
"""Up to so many rows one by one: copying the weights into panels would take longer."""

NEAR = 1 << 15
"""Numbers of a chunk's widest value, about, so that chunks stay in the second-level cache."""

ARGUMENTS = ("x", "rows", "out", "memory", "table")
"""Of the compiled function: the rows and how many they are, where the output goes, memory between, and the
addresses of the parameters."""


class Places:
    """Where everything lies in the memory between: a chunk of every value, copies of the parameters.

    Attributes:
        chunk: Rows that are worked on at a time.
        total: Numbers in all.
    """

    def __init__(self, target: Target, sizes: Mapping[Range, int], found: Operations) -> None:
        self.target, self.sizes = target, sizes
        widest = max(self.padded(t.axes[-1]) for t in (*found.data, *found.parameters) if t.axes)
        whole = 2 * target.most
        self.chunk = max(1, NEAR // (widest * whole)) * whole
        self.total = 0
        self._known: dict[object, int] = {}

    def padded(self, r: Range) -> int:
        """The size in whole vectors."""
        return -(-self.sizes[r] // self.target.lanes) * self.target.lanes

    def _place(self, key: object, numbers: int) -> int:
        if key not in self._known:
            self._known[key] = self.total
            self.total += -(-numbers // self.target.lanes) * self.target.lanes
        return self._known[key]

    def value(self, t: Tensor) -> int:
        """A value with a row per row of the chunk, or with one number per row."""
        return self._place(t, self.chunk * (self.padded(t.axes[1]) if len(t.axes) == 2 else 1))

    def parameter(self, t: Tensor) -> int:
        """A copy: a vector, or a weight in panels of columns."""
        depth = self.sizes[t.axes[0]] if len(t.axes) == 2 else 1
        return self._place(t, depth * self.padded(t.axes[-1]))

    def sums(self, kind: str, numbers: int) -> int:
        """Sums that are not complete yet."""
        return self._place((kind, numbers), numbers)


def write_forward(target: Target, sizes: Mapping[Range, int], found: Operations) -> tuple[bytes, int]:
    """The machine code, and how many numbers of zeroed memory it works in.

    Raises:
        UnsupportedError: When the formula has a line that these kernels do not cover.
    """
    module = ir.Module("chalkgrad")
    module.triple = target.triple
    forward = _Forward(module, target, sizes, found)
    forward.write()
    return object_code(str(module), target), forward.places.total


def _refusal(what: object) -> UnsupportedError:
    return UnsupportedError(f"The compiled forward pass has no kernel for {what}.", hint="NumPy has.")


class _Forward:
    """The functions of one network, written into a module."""

    def __init__(
        self, module: Any, target: Target, sizes: Mapping[Range, int], found: Operations
    ) -> None:
        self.module, self.target, self.sizes, self.found = module, target, sizes, found
        self.order = schedule(found)
        self.stored = self.order.stored | {found.loss}
        self.places = Places(target, sizes, found)
        self.slots = Slots()
        self.pointer = number_pointer(target)
        (self.data,) = found.data

    def write(self) -> None:
        one, chunk, copies = self._one(), self._chunk(), self._copies()
        w = self._function("predict")
        b, width = w.b, self.sizes[self.data.axes[1]]
        across = self.sizes[self.found.loss.axes[1]]
        w.call(copies[0], w["memory"], w["table"])
        few, many, done = (b.append_basic_block(n) for n in ("few", "many", "finished"))
        b.cbranch(b.icmp_signed("<=", w["rows"], whole_constant(FEW)), few, many)
        b.position_at_end(few)
        with w.loop(0, w["rows"]) as i:
            x, out = w.at(w["x"], w.mul(i.index, width)), w.at(w["out"], w.mul(i.index, across))
            w.call(one, x, 1, out, w["memory"], w["table"])
        b.branch(done)
        b.position_at_end(many)
        w.call(copies[1], w["memory"], w["table"])
        with w.loop(0, w["rows"], self.places.chunk) as i:
            rows = w.least(self.places.chunk, b.sub(w["rows"], i.index))
            x, out = w.at(w["x"], w.mul(i.index, width)), w.at(w["out"], w.mul(i.index, across))
            w.call(chunk, x, rows, out, w["memory"], w["table"])
        b.branch(done)
        b.position_at_end(done)
        w.end()
        if self.slots.of:
            raise _refusal(next(iter(self.slots.of)))

    def _function(self, name: str) -> Writer:
        kinds = {"rows": I64, "table": I64.as_pointer()}
        return Writer(self.module, self.target, name, [(a, kinds.get(a, self.pointer)) for a in ARGUMENTS])

    def _address(self, w: Writer, t: Tensor) -> Any:
        """The user's array of a parameter."""
        number = self.found.parameters.index(t)
        return w.b.inttoptr(w.number_at(w["table"], number), w.pointer)

    # -- copies of the parameters

    def _copies(self) -> tuple[Any, Any]:
        """Functions that copy the vectors, and the weights into panels; padding stays zero."""
        functions = []
        for axes, name in ((1, "vectors"), (2, "weights")):
            w = Writer(
                self.module, self.target, name, [("memory", self.pointer), ("table", I64.as_pointer())]
            )
            for t in self.found.parameters:
                if len(t.axes) == axes:
                    self._copy(w, t)
            functions.append(w.end())
        return functions[0], functions[1]

    def _copy(self, w: Writer, t: Tensor) -> None:
        source, columns = self._address(w, t), self.sizes[t.axes[-1]]
        depth = self.sizes[t.axes[0]] if len(t.axes) == 2 else 1
        goal, panels = self.places.parameter(t), Panels(columns, self.target)
        for first, count, vectors, used in panels.parts():
            width = vectors * self.target.lanes
            with w.loop(first, first + count) as q, w.loop(0, depth) as k:
                start = w.at(source, w.mul(k.index, columns), w.mul(q.index, panels.panel))
                place = w.add(goal, w.mul(q.index, panels.panel * depth), w.mul(k.index, width))
                _copy_row(w, start, w.at(w["memory"], place), used)

    # -- lines

    def _read(
        self, w: Writer, row: Any, column: Any, known: Mapping[Tensor, Any]
    ) -> Callable[[Expr], Any]:
        """How an expression reads its operands where the lanes are columns."""

        def read(e: Expr) -> Any:
            if isinstance(e, Index) and e.range is not self.found.batch:
                lanes = ir.Constant(w.vector, [float(n) for n in range(self.target.lanes)])
                return w.b.fadd(whole_to_number(w, column), lanes)
            if isinstance(e, Access):
                t = e.tensor
                if t in known:
                    return known[t]
                if t in self.found.parameters and len(t.axes) == 1:
                    return w.load(w.at(w["memory"], self.places.parameter(t)), column)
                if t.axes[:1] == (self.found.batch,) and t is not self.data:
                    if len(t.axes) == 1:
                        return w.splat_at(w["memory"], self.places.value(t), row)
                    return w.load(w["memory"], self._at(w, t, row), column)
            raise _refusal(e)

        return read

    def _at(self, w: Writer, t: Tensor, row: Any) -> Any:
        return w.add(self.places.value(t), w.mul(row, self.places.padded(t.axes[1])))

    def _line(self, w: Writer, body: Expr, row: Any, column: Any, known: Mapping[Tensor, Any]) -> Any:
        return Vectors(w, self.slots, w["memory"], self._read(w, row, column, known))(body)

    def _lines(self, w: Writer, kernel: ProductKernel, total: Any, row: Any, column: Any) -> None:
        """The lines that follow a product, for one vector of its sums."""
        known = {kernel.product.target: total}
        for line in kernel.fused:
            known[line.target] = self._line(w, line.body, row, column, known)
        for t, value in known.items():
            if t in self.stored:
                w.store(value, w["memory"], self._at(w, t, row), column)

    # -- one row

    def _one(self) -> Any:
        w = self._function("one")
        for kernel in self.order.kernels:
            if isinstance(kernel, ProductKernel):
                self._row_product(w, kernel)
            elif isinstance(kernel, PassKernel):
                self._row_pass(w, kernel, 0)
            else:
                raise _refusal("a statistic of all rows")
        self._copy_out(w, 0)
        return w.end()

    def _row_product(self, w: Writer, kernel: ProductKernel) -> None:
        product, lanes = kernel.product, self.target.lanes
        inner, outer = (self.sizes[r] for r in product.weight.axes)
        padded = self.places.padded(product.weight.axes[1])
        sums = self.places.sums("a row's sums", padded)
        left = w["x"] if product.left is self.data else w.at(w["memory"], self.places.value(product.left))
        weight = self._address(w, product.weight)
        with w.loop(0, padded, lanes) as h:
            w.store(w.splat(0.0), w["memory"], sums, h.index)
        whole = inner // TOGETHER * TOGETHER
        for first, last, together in ((0, whole, TOGETHER), (whole, inner, 1)):
            if first == last:
                continue
            with w.loop(first, last, together) as k:
                factors = [w.splat_at(left, k.index, n) for n in range(together)]
                start = w.at(weight, w.mul(k.index, outer))
                _add_rows(w, factors, start, w.at(w["memory"], sums), outer)
        with w.loop(0, padded, lanes) as h:
            self._lines(w, kernel, w.load(w["memory"], sums, h.index), 0, h.index)

    # -- many rows

    def _chunk(self) -> Any:
        tiles = {
            n: self._tiles(kernel, f"product_{n}")
            for n, kernel in enumerate(self.order.kernels)
            if isinstance(kernel, ProductKernel)
        }
        w = self._function("chunk")
        for n, kernel in enumerate(self.order.kernels):
            if isinstance(kernel, ProductKernel):
                self._chunk_product(w, kernel, tiles[n])
            elif isinstance(kernel, PassKernel):
                with w.loop(0, w["rows"]) as i:
                    self._row_pass(w, kernel, i.index)
        with w.loop(0, w["rows"]) as i:
            self._copy_out(w, i.index)
        return w.end()

    def _height(self, vectors: int) -> int:
        """Rows of a tile; a narrow one has twice as many."""
        return self.target.most * (2 if 2 * vectors <= self.target.vectors else 1)

    def _tiles(self, kernel: ProductKernel, name: str) -> dict[tuple[int, int], Any]:
        """Tiles by rows and vectors: high ones, and of one row for what is left."""
        inner, outer = kernel.product.weight.axes
        depth = self.sizes[inner]
        pitch = depth if kernel.product.left is self.data else self.places.padded(inner)
        found: dict[tuple[int, int], Any] = {}
        for _, _, vectors, _ in Panels(self.sizes[outer], self.target).parts():
            for rows in (self._height(vectors), 1):
                blocked = depth > block_depth(depth, self.target.panel)
                shape = Shape(rows, vectors, "rows", pitch, blocked=blocked)
                found[rows, vectors] = write_tile(
                    self.module, self.target, f"{name}_{rows}_{vectors}", shape, self._epilogue(kernel)
                )
        return found

    def _epilogue(self, kernel: ProductKernel) -> Callable[[Writer, list[list[Any]]], None]:
        def write(w: Writer, rows: list[list[Any]]) -> None:
            w.arguments["memory"] = w["arena"]
            for r, row in enumerate(rows):
                for v, total in enumerate(row):
                    column = w.add(w["offset"], v * self.target.lanes)
                    self._lines(w, kernel, total, w.add(w["row"], r), column)

        return write

    def _chunk_product(self, w: Writer, kernel: ProductKernel, tiles: dict[tuple[int, int], Any]) -> None:
        product, lanes = kernel.product, self.target.lanes
        inner, outer = product.weight.axes
        depth, panels = self.sizes[inner], Panels(self.sizes[outer], self.target)
        if product.left is self.data:
            left, pitch = w["x"], depth
        else:
            left, pitch = w.at(w["memory"], self.places.value(product.left)), self.places.padded(inner)
        block = block_depth(depth, self.target.panel)
        sums = self.places.sums("sums of tiles", self.places.chunk * panels.panel)
        for first, count, vectors, _ in panels.parts():
            width, high = vectors * lanes, self._height(vectors)
            with w.loop(first, first + count) as q, w.loop(0, depth, block) as k:
                panel = w.add(self.places.parameter(product.weight), w.mul(q.index, panels.panel * depth))
                vector = w.at(w["memory"], panel, w.mul(k.index, width))
                deep = w.least(block, w.add(w.mul(k.index, -1), depth))
                flags = _flags(w, k.index, block, depth)

                def tile(rows: int, i: Any) -> None:
                    scalar = w.at(left, w.mul(i, pitch), k.index)
                    w.call(
                        tiles[rows, vectors], w["memory"], w["memory"], vector, scalar, deep, 0,
                        w.at(w["memory"], sums, w.mul(i, width)), flags, w.mul(q.index, panels.panel), i, 0,
                    )  # fmt: skip

                whole = w.mul(w.divide(w["rows"], high), high)
                with w.loop(0, whole, high) as i:
                    tile(high, i.index)
                with w.loop(whole, w["rows"]) as i:
                    tile(1, i.index)

    # -- what is neither a product nor follows one

    def _row_pass(self, w: Writer, kernel: PassKernel, row: Any) -> None:
        for segment in kernel.segments:
            if segment.range is None:
                for op in segment.operations:
                    if not isinstance(op, Each):
                        raise _refusal(op)
                    self._keep(w, op.target, self._line(w, op.body, row, 0, {}), row)
            else:
                self._columns(w, segment, segment.range, row)

    def _keep(self, w: Writer, t: Tensor, value: Any, row: Any) -> None:
        """One number of a row, the same in all lanes."""
        first = w.b.extract_element(value, whole_constant(0, 32))
        w.b.store(first, w.at(w["memory"], self.places.value(t), row))

    def _columns(self, w: Writer, segment: Segment, over: Range, row: Any) -> None:
        lanes, size = self.target.lanes, self.sizes[over]
        reductions = [op for op in segment.operations if isinstance(op, Rows)]
        so_far = [w.splat(START[op.op]) for op in reductions]
        whole = size // lanes * lanes
        if whole:
            with w.loop(0, whole, lanes, carried=so_far) as c:
                c.after = self._column(w, segment.operations, row, c.index, c.carried, lanes)
            so_far = c.carried
        if size % lanes:
            so_far = self._column(w, segment.operations, row, whole, so_far, size % lanes)
        for op, value in zip(reductions, so_far, strict=True):
            self._keep(w, op.target, _across_lanes(w, op.op, value), row)

    def _column(
        self, w: Writer, operations: tuple[Operation, ...], row: Any, column: Any, so_far: list[Any], used: int
    ) -> list[Any]:
        """The operations for one vector of columns, of which the first `used` count."""
        known: dict[Tensor, Any] = {}
        after: list[Any] = []
        for op in operations:
            if isinstance(op, Rows):
                value = self._line(w, op.body, row, column, known)
                if used < self.target.lanes:
                    value = w.b.select(_first(w, used), value, w.splat(START[op.op]))
                after.append(_combined(w, op.op, so_far[len(after)], value))
            elif isinstance(op, Each):
                known[op.target] = self._line(w, op.body, row, column, known)
                if op.target in self.stored:
                    w.store(known[op.target], w["memory"], self._at(w, op.target, row), column)
            else:
                raise _refusal(op)
        return after

    def _copy_out(self, w: Writer, row: Any) -> None:
        out = self.found.loss
        size = self.sizes[out.axes[1]]
        source = w.at(w["memory"], self._at(w, out, row))
        _copy_row(w, source, w.at(w["out"], w.mul(row, size)), size)


def _add_rows(w: Writer, factors: list[Any], start: Any, sums: Any, columns: int) -> None:
    """sums[h] += Σ_n factors[n] · start[n · columns + h]; nothing past the last column is read."""
    lanes = w.target.lanes
    whole = columns // lanes * lanes

    def add(h: Any, load: Callable[[Any], Any]) -> None:
        total = w.load(sums, h)
        for n, factor in enumerate(factors):
            total = w.fma(load(w.at(start, n * columns, h)), factor, total)
        w.store(total, sums, h)

    if whole:
        with w.loop(0, whole, lanes) as h:
            add(h.index, lambda place: w.load(place, aligned=False))
    if columns % lanes:
        add(whole, lambda place: _partial(w, place, columns % lanes))


def _partial(w: Writer, place: Any, used: int) -> Any:
    """The first `used` numbers at an address and zeros; no others are touched."""
    mask = _first(w, used)
    name = f"llvm.masked.load.v{w.target.lanes}f{8 * w.target.item}.p0"
    known = w.module.globals.get(name) or ir.Function(
        w.module, ir.FunctionType(w.vector, [w.vector.as_pointer(), ir.IntType(32), mask.type, w.vector]), name
    )
    where = w.b.bitcast(place, w.vector.as_pointer())
    return w.b.call(known, [where, whole_constant(w.target.item, 32), mask, w.splat(0.0)])


def _first(w: Writer, used: int) -> Any:
    """Which lanes count, where the first `used` do."""
    lanes = w.target.lanes
    return ir.Constant(ir.VectorType(ir.IntType(1), lanes), [int(n < used) for n in range(lanes)])


def _across_lanes(w: Writer, op: str, value: Any) -> Any:
    """The sum, or the largest or smallest, of all lanes, in all lanes."""
    lanes, half = w.target.lanes, w.target.lanes // 2
    while half:
        order = [(n + half) % lanes for n in range(lanes)]
        value = _combined(w, op, value, w.shuffle(value, value, order))
        half //= 2
    return value


def _copy_row(w: Writer, source: Any, goal: Any, numbers: int) -> None:
    """So many numbers from one place to another, of which neither need lie on a vector's boundary."""
    lanes = w.target.lanes
    whole = numbers // lanes * lanes
    if whole:
        with w.loop(0, whole, lanes) as n:
            place = w.b.bitcast(w.at(goal, n.index), w.vector.as_pointer())
            w.b.store(w.load(source, n.index, aligned=False), place, align=w.target.item)
    for n in range(whole, numbers):
        w.b.store(w.number_at(source, n), w.at(goal, n))
