"""Predicting as machine code: a whole forward pass for one row or many, with the columns in the lanes.

Rows stay as the user has them, one after the other, so that nothing is turned on the way in or out:

    one row     f[h] += Σ_k x[k] W[k,h], `TOGETHER` rows of the user's W at a time: it is read once, in order
    many rows   a chunk of rows at a time, register tiles of some rows × a panel of W, with the lines that
                follow a product worked out on its tiles; into panels W is copied by a call without rows

The other lines (softmax) go through one row after the other. Values between products lie in memory that the
caller gives, in rows of whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import gcd
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.expressions import Scalars, Slots, Vectors, whole_to_number
from chalkgrad.emit.kernels.layout import Panels
from chalkgrad.emit.kernels.machine import object_code
from chalkgrad.emit.kernels.parts import Each, Operation, Operations, Rows
from chalkgrad.emit.kernels.passes import START, _combined, number_pointer
from chalkgrad.emit.kernels.products import _flags, block_depth
from chalkgrad.emit.kernels.rows import MOST_SCALARS, Places, across_lanes, add_rows, copy_row, first_lanes
from chalkgrad.emit.kernels.schedule import PassKernel, ProductKernel, Segment, schedule
from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.tile import Shape, write_tile
from chalkgrad.emit.kernels.writer import DOUBLE, I64, Writer, whole_constant
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Access, Expr, Index, Range, Size, Tensor

TOGETHER = 8
"""Rows of a weight that one row's product reads at a time: so many streams does the processor look ahead."""

FEW = 4
"""Up to so many rows one by one: copying the weights into panels would take longer."""

ARGUMENTS = ("x", "rows", "out", "memory", "panels", "table")
"""Of the compiled function: the rows and how many they are, where the output goes, memory between, the
panels of the weights, and the addresses of the parameters."""


def write_forward(
    target: Target, sizes: Mapping[Range, int], found: Operations
) -> tuple[bytes, tuple[int, int]]:
    """The machine code, and how many numbers of zeroed memory it works in: each thread's, and all threads'.

    Raises:
        UnsupportedError: When the formula has a line that these kernels do not cover.
    """
    module = ir.Module("chalkgrad")
    module.triple = target.triple
    forward = _Forward(module, target, sizes, found)
    forward.write()
    return object_code(str(module), target), (forward.places.total, forward.places.shared)


def _refusal(what: object) -> UnsupportedError:
    return UnsupportedError(f"The compiled forward pass has no kernel for {what}.", hint="NumPy has.")


class _Forward:
    """The functions of one network, written into a module."""

    def __init__(self, module: Any, target: Target, sizes: Mapping[Range, int], found: Operations) -> None:
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
        none, some, few, many, done = (
            b.append_basic_block(n) for n in ("none", "some", "few", "many", "finished")
        )
        b.cbranch(b.icmp_signed("==", w["rows"], whole_constant(0)), none, some)
        b.position_at_end(none)
        w.call(copies[1], w["panels"], w["table"])
        b.branch(done)
        b.position_at_end(some)
        self._scalars(w)
        w.call(copies[0], w["memory"], w["table"])
        b.cbranch(b.icmp_signed("<=", w["rows"], whole_constant(FEW)), few, many)
        b.position_at_end(few)
        with w.loop(0, w["rows"]) as i:
            x, out = w.at(w["x"], w.mul(i.index, width)), w.at(w["out"], w.mul(i.index, across))
            w.call(one, x, 1, out, w["memory"], w["panels"], w["table"])
        b.branch(done)
        b.position_at_end(many)
        with w.loop(0, w["rows"], self.places.chunk) as i:
            rows = w.least(self.places.chunk, b.sub(w["rows"], i.index))
            x, out = w.at(w["x"], w.mul(i.index, width)), w.at(w["out"], w.mul(i.index, across))
            w.call(chunk, x, rows, out, w["memory"], w["panels"], w["table"])
        b.branch(done)
        b.position_at_end(done)
        w.end()

    def _scalars(self, w: Writer) -> None:
        """What depends on no index, such as 1/H, worked out once a call."""

        def read(e: Expr) -> Any:
            if isinstance(e, Size) and e.range in self.sizes:
                return ir.Constant(DOUBLE, float(self.sizes[e.range]))
            raise _refusal(e)

        lower, place = Scalars(w, read), self.places.scalars()
        if len(self.slots.of) > MOST_SCALARS:
            raise _refusal(f"{len(self.slots.of)} scalars")
        for e, number in self.slots.of.items():
            value = lower(e)
            value = value if self.target.double else w.b.fptrunc(value, w.number)
            w.b.store(value, w.at(w["memory"], place, number))

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
        goal = self.places.vector(t) if len(t.axes) == 1 else self.places.panels(t)
        panels = Panels(columns, self.target)
        for first, count, vectors, used in panels.parts():
            width = vectors * self.target.lanes
            with w.loop(first, first + count) as q, w.loop(0, depth) as k:
                start = w.at(source, w.mul(k.index, columns), w.mul(q.index, panels.panel))
                place = w.add(goal, w.mul(q.index, panels.panel * depth), w.mul(k.index, width))
                copy_row(w, start, w.at(w["memory"], place), used)

    # -- lines

    def _read(self, w: Writer, row: Any, column: Any, known: Mapping[Tensor, Any]) -> Callable[[Expr], Any]:
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
                    return w.load(w.at(w["memory"], self.places.vector(t)), column)
                if t.axes[:1] == (self.found.batch,) and t is not self.data:
                    if len(t.axes) == 1:
                        return w.splat_at(w["memory"], self.places.value(t), row)
                    return w.load(w["memory"], self._at(w, t, row), column)
            raise _refusal(e)

        return read

    def _at(self, w: Writer, t: Tensor, row: Any) -> Any:
        return w.add(self.places.value(t), w.mul(row, self.places.pitch(t.axes[1])))

    def _line(self, w: Writer, body: Expr, row: Any, column: Any, known: Mapping[Tensor, Any]) -> Any:
        scalars = w.at(w["memory"], self.places.scalars())
        return Vectors(w, self.slots, scalars, self._read(w, row, column, known))(body)

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
                add_rows(w, factors, start, w.at(w["memory"], sums), outer)
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
        if self.places.copied(self.data):
            width = self.sizes[self.data.axes[1]]
            with w.loop(0, w["rows"]) as i:
                goal = w.at(w["memory"], self._at(w, self.data, i.index))
                copy_row(w, w.at(w["x"], w.mul(i.index, width)), goal, width)
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
        direct = kernel.product.left is self.data and not self.places.copied(self.data)
        pitch = depth if direct else self.places.pitch(inner)
        found: dict[tuple[int, int], Any] = {}
        for _, _, vectors, _ in Panels(self.sizes[outer], self.target).parts():
            for rows in {self._height(vectors), 1}:
                if (rows, vectors) in found:  # a last panel that is not full may have as many vectors
                    continue
                block = block_depth(depth, self.target)
                shape = Shape(rows, vectors, "rows", pitch, blocked=depth > block, multiple=gcd(depth, block))
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
        left, pitch = w["x"], depth
        if product.left is not self.data or self.places.copied(self.data):
            left, pitch = w.at(w["memory"], self.places.value(product.left)), self.places.pitch(inner)
        block = block_depth(depth, self.target)
        sums = self.places.sums("sums of tiles", self.places.chunk * panels.panel)
        for first, count, vectors, _ in panels.parts():
            width, high = vectors * lanes, self._height(vectors)
            with w.loop(first, first + count) as q, w.loop(0, depth, block) as k:
                panel = w.add(self.places.panels(product.weight), w.mul(q.index, panels.panel * depth))
                vector = w.at(w["panels"], panel, w.mul(k.index, width))
                deep = w.least(block, w.add(w.mul(k.index, -1), depth))
                flags = _flags(w, k.index, block, depth)

                whole = w.mul(w.divide(w["rows"], high), high)
                for rows, start, stop in ((high, 0, whole), (1, whole, w["rows"])):
                    with w.loop(start, stop, rows) as i:
                        scalar = w.at(left, w.mul(i.index, pitch), k.index)
                        partial = w.at(w["memory"], sums, w.mul(i.index, width))
                        w.call(
                            tiles[rows, vectors], w["memory"], w["memory"], vector, scalar, deep, 0, partial,
                            flags, w.mul(q.index, panels.panel), i.index, 0,
                        )  # fmt: skip

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
            self._keep(w, op.target, across_lanes(w, op.op, value), row)

    def _column(
        self,
        w: Writer,
        operations: tuple[Operation, ...],
        row: Any,
        column: Any,
        so_far: list[Any],
        used: int,
    ) -> list[Any]:
        """The operations for one vector of columns, of which the first `used` count."""
        known: dict[Tensor, Any] = {}
        after: list[Any] = []
        for op in operations:
            if isinstance(op, Rows):
                value = self._line(w, op.body, row, column, known)
                if used < self.target.lanes:
                    value = w.b.select(first_lanes(w, used), value, w.splat(START[op.op]))
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
        copy_row(w, source, w.at(w["out"], w.mul(row, size)), size)
