"""The register tile: R rows of one panel, accumulated over k, finished by an epilogue in registers.

    acc[r][c] = Σ_k vector[k][c] · scalar[k, r]          c over the panel's lanes, r over R rows

A k is a number, or where products are of bfloat16 a word of two (`Target.paired`). The vector operand is
contiguous in k. The scalar operand comes in one of three layouts:

    "across"   scalar[k, r] = s[k · width + r]            the rows lie side by side (weights, forward)
    "along"    scalar[k, r] = s[k // group][r · group + k % group]   k lies side by side: groups of one
               panel, each `jump` numbers after the one before (weights backward, activations for dW)
    "rows"     scalar[k, r] = s[r · width + k]            rows as the user has them (predicting)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.targets import Target
from chalkgrad.emit.kernels.writer import I64, Writer, whole_constant

UNROLLED = {"across": 4, "rows": 4, "along": 2}
"""k that follow one another without a jump, at the most. A tile that has a core for itself waits for its
multiplications; with somebody else's thread beside it, for instructions to be dispatched, and jump, counters
and addresses are an eighth of them."""

FIRST, LAST = 1, 2
"""Flags of a block of k: it begins the sum (else partial sums are read), it ends it (the epilogue runs)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is static about a tile.

    Attributes:
        rows: R.
        vectors: Vectors in the panel.
        layout: "across", "along" or "rows".
        width: For "across", the numbers from one k to the next; for "along", the size of a group; for "rows",
            the numbers from one row to the next.
        jump: For "along", the numbers from one group to the next.
        tail: For "along", (group, count) of an incomplete last group, which has its own row stride.
        used: For "along", how many k of a group count, where the others are zero; 0 for all.
        groups: For "along", whether there are whole groups at all.
        blocked: Whether k comes in several blocks, with partial sums kept in memory.
        multiple: For "across" and "rows", a number that every count of k is a multiple of.
    """

    rows: int
    vectors: int
    layout: str
    width: int
    jump: int = 0
    tail: tuple[int, int] | None = None
    groups: bool = True
    used: int = 0
    blocked: bool = False
    multiple: int = 1


Epilogue = Callable[[Writer, list[list[Any]]], None]
"""Writes what happens with the finished accumulators [row][vector]."""

Ahead = Callable[[Writer, Any], None]


@dataclass(frozen=True, slots=True)
class Between:
    """Work put between the multiplications of a tile "along", a piece with each of its first k.

    Attributes:
        due: How many pieces there are, a value: 0 or `most`, which is at most the k of a group.
        most: A whole number.
        write: Writes the piece of a number.
    """

    due: Any
    most: int
    write: Callable[[Writer, Any], None]


ARGUMENTS = (
    "arena", "slots", "vector", "scalar", "count", "shift", "sums", "flags", "offset", "row", "panel",
)  # fmt: skip
"""What a tile takes. `count` is k ("across", "rows") or whole groups ("along"); `shift` is what the
tail's first row is moved by, `sums` the partial sums, `offset` where the tile lies in its buffer, `row`
its first row, `panel` its panel's number."""


def write_tile(
    module: Any, target: Target, name: str, shape: Shape, epilogue: Epilogue, ahead: Ahead | None = None
) -> Any:
    """The tile as a function of the module, for who calls it from several places."""
    number = ir.DoubleType() if target.double else ir.FloatType()
    pointers = {"arena", "slots", "vector", "scalar", "sums"}
    w = Writer(module, target, name, [(a, number.as_pointer() if a in pointers else I64) for a in ARGUMENTS])
    w.function.attributes.add("noinline")
    put_tile(w, shape, epilogue, [w[a] for a in ARGUMENTS], ahead)
    return w.end()


def put_tile(
    w: Writer, shape: Shape, epilogue: Epilogue, arguments: Sequence[Any], ahead: Ahead | None = None,
    between: Between | None = None,
) -> None:  # fmt: skip
    """The tile's code at this place of a function; `ahead` asks for memory, a part with each group of k."""
    w = w.with_arguments(dict(zip(ARGUMENTS, arguments, strict=True)))
    flat = _starting_sums(w, shape)
    vector, scalar = w["vector"], w["scalar"]
    if shape.layout in ("across", "rows"):
        flat = _across(w, shape, flat)
    else:
        if shape.groups:
            flat, vector, scalar = _groups(w, shape, flat, ahead, between)
        if shape.tail is not None:
            flat = _tail(w, shape, flat, vector, scalar)
    _finish(w, shape, flat, epilogue)


def _has(w: Writer, flag: int) -> Any:
    return w.b.icmp_unsigned("!=", w.b.and_(w["flags"], ir.Constant(I64, flag)), ir.Constant(I64, 0))


def _starting_sums(w: Writer, shape: Shape) -> list[Any]:
    zeros = [w.splat(0.0)] * (shape.rows * shape.vectors)
    if not shape.blocked:
        return zeros
    b = w.b
    begin, first = b.append_basic_block("read"), b.block
    ready = b.append_basic_block("ready")
    is_first = b.trunc(w["flags"], ir.IntType(1))
    b.cbranch(is_first, ready, begin)
    b.position_at_end(begin)
    lanes = w.target.lanes
    kept = [w.load(w["sums"], n * lanes) for n in range(len(zeros))]
    b.branch(ready)
    b.position_at_end(ready)
    merged = []
    for zero, value in zip(zeros, kept, strict=True):
        phi = b.phi(w.vector)
        phi.add_incoming(zero, first)
        phi.add_incoming(value, begin)
        merged.append(phi)
    return merged


def _multiplied(
    w: Writer, shape: Shape, sums: list[Any], span: tuple[Any, Any], operands: tuple[Any, Any],
    strides: tuple[int, int], multiple: int, piece: Callable[[Writer, Any], None] | None = None,
) -> list[Any]:  # fmt: skip
    """The panel's vectors times every row's number, for the k of a span of a multiple of `multiple`.

    `strides` are the scalar operand's numbers from one k to the next, and from one row to the next.
    `piece` writes what else is done with each k.
    """
    (vector, scalar), (each, between) = operands, strides
    lanes, width = w.target.lanes, shape.vectors * w.target.lanes
    together = gcd(UNROLLED[shape.layout], multiple)
    with w.loop(*span, together, carried=sums) as k:
        ahead = w.target.ahead if shape.layout == "across" and not w.target.near else 0
        so_far = k.carried
        for n in range(together):
            here = w.at(vector, w.mul(k.index, width), n * width)
            factors = w.at(scalar, w.mul(k.index, each), n * each)
            if ahead:
                w.prefetch(factors, ahead * each, change=False)
            columns = [w.load(here, v * lanes) for v in range(shape.vectors)]
            after = []
            for r in range(shape.rows):
                factor = w.splat_at(factors, r * between)
                for v, column in enumerate(columns):
                    after.append(w.product(column, factor, so_far[r * shape.vectors + v]))
            so_far = after
            if piece is not None:
                piece(w, w.add(k.index, n))
        k.after = so_far
    return k.carried


def _across(w: Writer, shape: Shape, sums: list[Any]) -> list[Any]:
    strides = (1, shape.width) if shape.layout == "rows" else (shape.width, 1)
    return _multiplied(w, shape, sums, (0, w["count"]), (w["vector"], w["scalar"]), strides, shape.multiple)


def _groups(
    w: Writer, shape: Shape, sums: list[Any], ahead: Ahead | None, between: Between | None
) -> tuple[list[Any], Any, Any]:
    width, group = shape.vectors * w.target.lanes, shape.width
    count, begun, strides = shape.used or group, 0, (1, group)
    if between is not None:
        # An odd k more, so that the others of the first group can follow each other by twos.
        operands, begun = (w["vector"], w["scalar"]), between.due
        sums = _multiplied(w, shape, sums, (0, begun), operands, strides, 1, between.write)
        if between.most % gcd(UNROLLED["along"], count):
            after = w.b.add(begun, w.b.zext(w.b.icmp_signed(">", begun, whole_constant(0)), I64))
            sums = _multiplied(w, shape, sums, (begun, after), operands, strides, 1)
            begun = after
    with w.loop(0, w["count"], carried=[*sums, w["vector"], w["scalar"]]) as g:
        *inside, vector, scalar = g.carried
        if ahead is not None:
            ahead(w, g.index)
        if shape.vectors < w.target.vectors and not w.target.near:
            # A narrow weight passes over its rows once: the next tile's numbers lie right behind this
            # tile's, and are far. Where many panels share the rows, they are near and this only costs.
            for n in range(shape.rows * group // w.target.lanes):
                w.prefetch(scalar, shape.rows * group + n * w.target.lanes, change=False)
        start = 0
        if between is not None:
            first = w.b.icmp_signed("==", g.index, whole_constant(0))
            start = w.b.select(first, begun, whole_constant(0))
        after = _multiplied(w, shape, inside, (start, count), (vector, scalar), strides, count)
        g.after = [*after, w.at(vector, width * group), w.at(scalar, shape.jump)]
    *sums, vector, scalar = g.carried
    return sums, vector, scalar


def _tail(w: Writer, shape: Shape, sums: list[Any], vector: Any, scalar: Any) -> list[Any]:
    """The incomplete last group; with several blocks of k only the last block has it."""
    assert shape.tail is not None
    group, count = shape.tail
    stop: Any = count
    scalar = w.at(scalar, w["shift"])
    if shape.blocked:
        stop = w.b.select(_has(w, LAST), ir.Constant(I64, count), ir.Constant(I64, 0))
    return _multiplied(w, shape, sums, (0, stop), (vector, scalar), (1, group), 1)


def _finish(w: Writer, shape: Shape, flat: list[Any], epilogue: Epilogue) -> None:
    rows = [flat[r * shape.vectors : (r + 1) * shape.vectors] for r in range(shape.rows)]
    if not shape.blocked:
        epilogue(w, rows)
        return
    b = w.b
    partial, whole, done = (b.append_basic_block(name) for name in ("partial", "whole", "tile_done"))
    b.cbranch(_has(w, LAST), whole, partial)
    b.position_at_end(partial)
    for n, value in enumerate(flat):
        w.store(value, w["sums"], n * w.target.lanes)
    b.branch(done)
    b.position_at_end(whole)
    epilogue(w, rows)
    b.branch(done)
    b.position_at_end(done)
