"""Writing LLVM IR: addresses, vectors, loops. What is static stays a Python integer and folds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import lru_cache
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.code import PREFIX
from chalkgrad.emit.kernels.targets import Target

I1, I8, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64)
DOUBLE = ir.DoubleType()
VOID = ir.VoidType()


class BFloat(ir.HalfType):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite does not name."""

    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


BFloat._create_instance()


@lru_cache(4096)
def whole_constant(value: int, bits: int = 64) -> Any:
    """A whole number. Constants are shared, so that each is spelled once: a step names thousands."""
    return ir.Constant(ir.IntType(bits), value)


@lru_cache(4096)
def _vector_constant(kind: str, values: tuple[Any, ...], sign: float = 1.0) -> Any:
    """`sign` tells −0.0 from 0.0, which are equal."""
    del sign
    elements = {"f64": DOUBLE, "f32": ir.FloatType(), "i32": I32, "i64": I64}
    return ir.Constant(ir.VectorType(elements[kind], len(values)), list(values))


class Loop:
    """A loop while it is written: its index, the carried values, and what they become."""

    def __init__(self, index: Any, carried: list[Any]) -> None:
        self.index, self.carried = index, carried
        self.after: list[Any] = list(carried)


class Writer:
    """One function being written for a target. `b` is llvmlite's builder, for what is not here."""

    def __init__(self, module: Any, target: Target, name: str, arguments: Sequence[tuple[str, Any]]) -> None:
        self.module, self.target = module, target
        self.number = DOUBLE if target.double else ir.FloatType()
        self.whole = I64 if target.double else I32
        self.vector = ir.VectorType(self.number, target.lanes)
        self.wholes = ir.VectorType(self.whole, target.lanes)
        self.pointer = self.number.as_pointer()
        self._vectors, self._bytes = self.vector.as_pointer(), I8.as_pointer()
        self.function = ir.Function(module, ir.FunctionType(VOID, [t for _, t in arguments]), PREFIX + name)
        self.function.attributes.add("nounwind")
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.arguments: dict[str, Any] = {}
        for argument, (label, _) in zip(self.function.args, arguments, strict=True):
            argument.name = label
            self.arguments[label] = argument

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def with_arguments(self, arguments: Mapping[str, Any]) -> Writer:
        """The same place of the same function, where names mean these values: code put in without a call."""
        inside = copy(self)
        inside.arguments = {name: self.whole_value(value) for name, value in arguments.items()}
        return inside

    # -- whole numbers: Python integers fold, values become instructions

    def whole_value(self, value: Any) -> Any:
        return whole_constant(value) if isinstance(value, int) else value

    def add(self, *terms: Any) -> Any:
        static = sum(t for t in terms if isinstance(t, int))
        total = None
        for term in (t for t in terms if not isinstance(t, int)):
            total = term if total is None else self.b.add(total, term)
        if total is None:
            return static
        return self.b.add(total, whole_constant(static)) if static else total

    def mul(self, *factors: Any) -> Any:
        static, product = 1, None
        for factor in factors:
            if isinstance(factor, int):
                static *= factor
            else:
                product = factor if product is None else self.b.mul(product, factor)
        if product is None or static == 0:
            return static
        return self.b.mul(product, whole_constant(static)) if static != 1 else product

    def least(self, a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        a, b = self.whole_value(a), self.whole_value(b)
        return self.b.select(self.b.icmp_signed("<", a, b), a, b)

    def most(self, a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        a, b = self.whole_value(a), self.whole_value(b)
        return self.b.select(self.b.icmp_signed(">", a, b), a, b)

    def divide(self, a: Any, by: int) -> Any:
        return a // by if isinstance(a, int) else self.b.sdiv(a, whole_constant(by))

    # -- memory

    def at(self, base: Any, *offset: Any) -> Any:
        """The address `base + offset`, in elements."""
        return self.b.gep(base, [self.whole_value(self.add(*offset))])

    def load(self, base: Any, *offset: Any, aligned: bool = True) -> Any:
        """A vector."""
        place = self.b.bitcast(self.at(base, *offset), self._vectors)
        return self.b.load(place, align=self.target.bytes if aligned else self.target.item)

    def store(self, value: Any, base: Any, *offset: Any) -> None:
        place = self.b.bitcast(self.at(base, *offset), self._vectors)
        self.b.store(value, place, align=self.target.bytes)

    def prefetch(self, base: Any, *offset: Any, change: bool = True) -> None:
        """Ask for a line of memory that will soon be changed, or only read."""
        place = self.b.bitcast(self.at(base, *offset), self._bytes)
        name = "llvm.prefetch.p0"
        known = self.module.globals.get(name) or ir.Function(
            self.module, ir.FunctionType(VOID, [I8.as_pointer(), I32, I32, I32]), name
        )
        self.b.call(known, [place, *(whole_constant(n, 32) for n in (int(change), 3, 1))])

    def number_at(self, base: Any, *offset: Any) -> Any:
        return self.b.load(self.at(base, *offset))

    def splat_at(self, base: Any, *offset: Any) -> Any:
        """One number of memory in all lanes."""
        return self.splat(self.number_at(base, *offset))

    # -- vectors

    def splat(self, value: Any) -> Any:
        """One number in all lanes."""
        if isinstance(value, int | float):
            values = (float(value),) * self.target.lanes
            return _vector_constant(type_suffix(self.number), values, math.copysign(1.0, value))
        vector = ir.VectorType(value.type, self.target.lanes)
        undefined = ir.Constant(vector, ir.Undefined)
        first = self.b.insert_element(undefined, value, whole_constant(0, 32))
        return self.shuffle(first, undefined, [0] * self.target.lanes)

    def whole_splat(self, value: int) -> Any:
        return _vector_constant(type_suffix(self.whole), (value,) * self.target.lanes)

    def shuffle(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        return self.b.shuffle_vector(a, b, _vector_constant("i32", tuple(lanes)))

    def intrinsic(self, name: str, *arguments: Any, result: Any = None) -> Any:
        """A call of llvm.NAME on vectors or numbers, overloaded by the first argument's type."""
        kind = arguments[0].type
        result = result or kind
        full = f"llvm.{name}.{type_suffix(kind)}"
        known = self.module.globals.get(full)
        if known is None:
            known = ir.Function(self.module, ir.FunctionType(result, [a.type for a in arguments]), full)
        return self.b.call(known, list(arguments))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self.intrinsic("fma", a, b, c)

    def product(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, or of pairs of bfloat16 a₀ b₀ + a₁ b₁ + c."""
        if not self.target.paired:
            return self.fma(a, b, c)
        pairs = ir.VectorType(BFloat(), 2 * self.target.lanes)
        a, b = self.b.bitcast(a, pairs), self.b.bitcast(b, pairs)
        return self._bfloat("dpbf16ps", self.vector, c, a, b)

    def halves(self, first: Any, second: Any) -> Any:
        """The numbers of two vectors one after the other, rounded to bfloat16: a vector of words."""
        pairs = ir.VectorType(BFloat(), 2 * self.target.lanes)
        return self.b.bitcast(self._bfloat("cvtne2ps2bf16", pairs, second, first), self.vector)

    def pairs(self, even: Any, odd: Any) -> Any:
        """In each word a number of both vectors, rounded to bfloat16, that of the first one below."""
        lanes = self.target.lanes
        shorts = ir.VectorType(ir.IntType(16), 2 * lanes)
        both = self.b.bitcast(self.halves(even, odd), shorts)
        woven = self.shuffle(both, both, [lane + odd_one for lane in range(lanes) for odd_one in (0, lanes)])
        return self.b.bitcast(woven, self.vector)

    def _bfloat(self, name: str, result: Any, *arguments: Any) -> Any:
        full = f"llvm.x86.avx512bf16.{name}.{8 * self.target.bytes}"
        known = self.module.globals.get(full)
        if known is None:
            known = ir.Function(self.module, ir.FunctionType(result, [a.type for a in arguments]), full)
        return self.b.call(known, list(arguments))

    def total(self, vector: Any) -> Any:
        """The sum of all lanes as a double, by halves, so that the order is fixed."""
        value, lanes = vector, self.target.lanes
        if not self.target.double:
            value = self.b.fpext(value, ir.VectorType(DOUBLE, lanes))
        while lanes > 1:
            lanes //= 2
            low, high = list(range(lanes)), list(range(lanes, 2 * lanes))
            value = self.b.fadd(self.shuffle(value, value, low), self.shuffle(value, value, high))
        return self.b.extract_element(value, whole_constant(0, 32))

    def transposed(self, rows: list[Any]) -> list[Any]:
        """Columns of a square of vectors: interleave row r with row r + n/2 until all are columns."""
        n = len(rows)
        for _ in range(n.bit_length() - 1):
            pairs = [(rows[r], rows[r + n // 2]) for r in range(n // 2)]
            rows = [half for a, b in pairs for half in self.interleaved(a, b)]
        return rows

    def totals(self, rows: list[Any]) -> Any:
        """The sums over the lanes of each row of a square, in one vector: its halves are added as they are
        interleaved, which takes half the shuffles of `transposed`."""
        while len(rows) > 1:
            half = len(rows) // 2
            pairs = zip(rows[:half], rows[half:], strict=True)
            rows = [self.b.fadd(*self.interleaved(a, b)) for a, b in pairs]
        return rows[0]

    def interleaved(self, a: Any, b: Any) -> tuple[Any, Any]:
        """a₀ b₀ a₁ b₁ …, in two vectors."""
        n = self.target.lanes
        low = [lane + other for lane in range(n // 2) for other in (0, n)]
        return self.shuffle(a, b, low), self.shuffle(a, b, [lane + n // 2 for lane in low])

    # -- control

    @contextmanager
    def loop(self, start: Any, stop: Any, step: int = 1, carried: Sequence[Any] = ()) -> Iterator[Loop]:
        """Code for index = start, start + step, … < stop; `Loop.carried` holds the results afterwards."""
        b = self.b
        sure = isinstance(start, int) and isinstance(stop, int) and start < stop
        first, last = self.whole_value(start), self.whole_value(stop)
        before = b.block
        head = b.append_basic_block("loop")
        done = b.append_basic_block("done")
        if sure:
            b.branch(head)
        else:
            b.cbranch(b.icmp_signed("<", first, last), head, done)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(first, before)
        phis = [b.phi(value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value, before)
        loop = Loop(index, phis)
        yield loop
        end, following = b.block, b.add(index, whole_constant(step))
        index.add_incoming(following, end)
        for phi, value in zip(phis, loop.after, strict=True):
            phi.add_incoming(value, end)
        b.cbranch(b.icmp_signed("<", following, last), head, done)
        b.position_at_end(done)
        loop.carried = [
            self._merged(after, end, value, None if sure else before)
            for after, value in zip(loop.after, carried, strict=True)
        ]

    def _merged(self, after: Any, end: Any, value: Any, before: Any) -> Any:
        result = self.b.phi(after.type)
        result.add_incoming(after, end)
        if before is not None:
            result.add_incoming(value, before)
        return result

    def call(self, function: Any, *arguments: Any) -> None:
        self.b.call(function, [self.whole_value(a) for a in arguments])

    def end(self) -> Any:
        """Finish the function and return it."""
        self.b.ret_void()
        return self.function


def type_suffix(kind: Any) -> str:
    """LLVM's short name of a type: f32, v16f32."""
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{type_suffix(kind.element)}"
    if isinstance(kind, ir.IntType):
        return f"i{kind.width}"
    return "f64" if isinstance(kind, ir.DoubleType) else "f32"
