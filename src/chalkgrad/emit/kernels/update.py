"""The update rule in machine code: inside a gradient's tile, or after all gradients are known.

One phase: w, m, v ← rule(w, dW, m, v) while dW is in registers. Where the rule reads a number of all
parameters, such as the norm of the gradient, it takes two: the gradient is stored in the layout of its
weight, beside it what the number is made of, in double precision; then a pass over all parameters updates
them. Each share of a gradient has partial sums of its own, which are added in one order, so that the
number has the same bits on any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.expressions import Slots, Vectors, is_scalar
from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.parts import Gradient
from chalkgrad.emit.kernels.passes import START, _combined, number_pointer
from chalkgrad.emit.kernels.rows import first_lanes
from chalkgrad.emit.kernels.writer import DOUBLE, I32, I64, Writer
from chalkgrad.emit.phases import COUNT, Whole, inlined, phases
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.arithmetic import add, multiply, negate
from chalkgrad.expr.nodes import ONE, Access, Add, Const, Expr, Mul, Program, Reduce, Sum, Tensor
from chalkgrad.expr.ops import map_children, replace_access, tensors_in

KEPT = "gradient"
"""The name of a gradient that is kept, beside its parameter, as the memories of the optimiser are."""
TOGETHER = 64
"""Rows of a parameter that one piece of the second phase has."""


@dataclass(frozen=True, slots=True)
class Update:
    """The optimiser: its program and the names of its memories."""

    program: Program
    memories: tuple[str, ...]


class Rule:
    """An update rule, ready to be lowered.

    Args:
        update: The optimiser.
        count: How many parameters there are.

    Attributes:
        lines: The next parameters and memories, elementwise.
        whole: The numbers of all parameters that they read; with any, the step has two phases.

    Raises:
        UnsupportedError: When a number of all parameters depends on another one.
    """

    def __init__(self, update: Update, count: int) -> None:
        found = phases(update.program)
        lines = found.update.definitions

        def counted(e: Expr) -> Expr:
            return replace_access(e, COUNT, lambda _: Const(Fraction(count)))

        self.program, self.memories = update.program, update.memories
        read = inlined(lines, found.update.outputs)
        self.lines = [replace(d, body=moving(counted(d.body))) for d in read]
        self.whole: list[Whole] = []
        for number in found.whole:
            (line,) = inlined((*lines, number.definition), (number.target,))
            assert isinstance(line.body, Sum | Reduce)
            self.whole.append(replace(number, index=line.body.indices[0], body=counted(line.body.body)))
        if any(self.late(number.body) for number in self.whole):
            raise UnsupportedError(
                f"The rule {update.program.name} needs one number of all parameters to work out another; the "
                "compiled step works out all of them in one look.",
                hint='Choose engine="auto".',
            )

    def late(self, e: Expr) -> bool:
        """Whether an expression is known only when all gradients are."""
        return any(number.target in tensors_in(e) for number in self.whole)

    def lower(
        self, w: Writer, slots: Slots, values: Values, scalars: dict[Expr, Any] | None = None,
        estimates: bool = True,
    ) -> dict[str, Any]:  # fmt: skip
        """The next parameters and memories, by the names of the present ones."""
        for line in self.lines:
            lower = Vectors(w, slots, w["slots"], values.read, estimates, scalars)
            values.known[line.target.name] = lower(line.body)
        following = {name: name + "2" for name in ("w", *self.memories)}
        return {name: values.known[new] for name, new in following.items() if new in values.known}


def moving(e: Expr) -> Expr:
    """Every mean a·x + (1 − a)·y written as x + (1 − a)·(y − x): one multiplication less.

    The difference is rounded on the scale of the larger one of x and y.
    """
    e = map_children(e, moving)
    if not isinstance(e, Add) or len(e.terms) != 2:
        return e
    for old, new in (e.terms, e.terms[::-1]):
        if not isinstance(old, Mul) or not isinstance(new, Mul):
            break
        part, rest = old.factors[0], new.factors[0]
        if is_scalar(part) and rest == add((ONE, negate(part))):
            x, y = (multiply(term.factors[1:]) for term in (old, new))
            return add((x, multiply((rest, add((y, negate(x)))))))
    return e


class Values:
    """What a rule reads, by name: each is loaded once, and only if it is read.

    Args:
        load: Gives w, g and the memories.
    """

    def __init__(self, load: Mapping[str, Callable[[], Any]]) -> None:
        self.load = load
        self.known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.known:
            self.known[name] = self.load[name]()
        return self.known[name]

    def read(self, e: Expr) -> Any:
        """The vector of an access in the rule."""
        if isinstance(e, Access) and (e.tensor.name in self.known or e.tensor.name in self.load):
            return self[e.tensor.name]
        raise UnsupportedError(f"The update rule reads {e}, which nothing defines.")


class Lines:
    """Writes what happens to vectors of one parameter whose Σ_i is in registers.

    Args:
        w: The function being written.
        rule: Decides whether the parameter is updated or its gradient is kept.
        estimates: Whether roots and quotients may be Newton's; the processor's own are as fast where other
            work goes on beside them.
    """

    def __init__(
        self, w: Writer, layout: Layout, slots: Slots, gradient: Gradient, rule: Rule, estimates: bool = True
    ) -> None:
        self.w, self.layout, self.slots, self.gradient, self.rule = w, layout, slots, gradient, rule
        self.estimates = estimates
        self.sums = [doubles(w, START[number.op]) for number in rule.whole]
        self.scalars: dict[Expr, Any] = {}

    def write(self, total: Any, offset: Any, valid: Sequence[Any] = ()) -> None:
        """One vector at an offset of the parameter; of a number only what meets all of `valid` counts."""
        w, rule, places = self.w, self.rule, {"w": "", **{m: m for m in self.rule.memories}}
        at = {name: self.layout.parameter(self.gradient.parameter, m) for name, m in places.items()}
        own = Values({n: lambda a=a: w.load(w["arena"], a, offset) for n, a in at.items()})  # type: ignore[misc]
        if not rule.whole:  # All will be read, and sooner than their arithmetic begins.
            own.known |= {name: own[name] for name in at}
        own.known["g"] = self._gradient(total, offset, own)
        if not rule.whole:
            for name, value in rule.lower(w, self.slots, own, self.scalars, self.estimates).items():
                w.store(value, w["arena"], at[name], offset)
            return
        w.store(own["g"], w["arena"], self.layout.parameter(self.gradient.parameter, KEPT), offset)
        for place, number in enumerate(rule.whole):
            value = Vectors(w, self.slots, w["slots"], own.read, True, self.scalars)(number.body)
            if not w.target.double:
                value = w.b.fpext(value, ir.VectorType(DOUBLE, w.target.lanes))
            for condition in valid:
                value = w.b.select(condition, value, doubles(w, START[number.op]))
            self.sums[place] = _combined(w, number.op, self.sums[place], value)

    def _gradient(self, total: Any, offset: Any, own: Values) -> Any:
        w, gradient = self.w, self.gradient

        def read(e: Expr) -> Any:
            if isinstance(e, Access) and e.tensor is gradient.total.tensor:
                return total
            if isinstance(e, Access) and e.tensor is gradient.parameter and e.indices == gradient.indices:
                return own["w"]
            if isinstance(e, Access) and e.indices == gradient.indices and len(e.indices) == 1:
                return w.load(w["arena"], self.layout.vector(e.tensor), offset)  # a statistic of the batch
            raise UnsupportedError(f"The compiled step cannot read {e} in a gradient.")

        return Vectors(w, self.slots, w["slots"], read, scalars=self.scalars)(gradient.body)

    def begin(self, share: Any) -> None:
        """Set the partial sums of a share to what they are of nothing."""
        for number in self.rule.whole:
            start = ir.Constant(DOUBLE, START[number.op])
            self.w.b.store(start, partial(self.w, self.layout, self.gradient, number, share))

    def finish(self, share: Any) -> None:
        """Add to the partial sums of a share what its vectors gave."""
        w = self.w
        for number, sums in zip(self.rule.whole, self.sums, strict=True):
            place = partial(w, self.layout, self.gradient, number, share)
            value, lanes = sums, w.target.lanes
            while lanes > 1:
                lanes //= 2
                halves = list(range(lanes)), list(range(lanes, 2 * lanes))
                value = _combined(w, number.op, *(w.shuffle(value, value, half) for half in halves))
            one = w.b.extract_element(value, ir.Constant(I32, 0))
            w.b.store(_combined(w, number.op, w.b.load(place), one), place)


def partial(w: Writer, layout: Layout, gradient: Gradient, number: Whole, share: Any) -> Any:
    """The address of the partial sum of one share of a gradient, a double."""
    return w.at(w.b.bitcast(w.at(w["arena"], partials(layout, gradient, number)), DOUBLE.as_pointer()), share)


def partials(layout: Layout, gradient: Gradient, number: Whole) -> int:
    """Where the partial sums of a gradient lie; a share has at least one row or one column."""
    numbers = max(layout.padded(axis) for axis in gradient.parameter.axes)
    t = gradient.parameter
    return layout._place(f"partial {number.target.name}", t.name, t.role, numbers * 8 // layout.target.item)


def doubles(w: Writer, value: float) -> Any:
    """One number in as many lanes as a vector of the step has, in double precision."""
    return ir.Constant(ir.VectorType(DOUBLE, w.target.lanes), [value] * w.target.lanes)


def columns_used(w: Writer, columns: int, vector: int) -> list[Any]:
    """The condition that a lane is a column of the parameter; none where all lanes are."""
    used = columns - vector * w.target.lanes
    return [first_lanes(w, used)] if used < w.target.lanes else []


def write_update(module: Any, layout: Layout, slots: Slots, rule: Rule) -> Any:
    """f(slots, w, g, memories …, numbers): the second phase for a stretch of a parameter."""
    pointer = number_pointer(layout.target)
    names = ("w", "g", *rule.memories)
    places = [(f"at_{name}", pointer) for name in names]
    w = Writer(module, layout.target, "update", [("slots", pointer), *places, ("numbers", I64)])
    with w.loop(0, w["numbers"], layout.target.lanes) as n:
        own = Values({name: lambda a=w[f"at_{name}"]: w.load(a, n.index) for name in names})  # type: ignore[misc]
        for name, value in rule.lower(w, slots, own).items():
            w.store(value, w[f"at_{name}"], n.index)
    return w.end()


def stretches(
    w: Writer, layout: Layout, rule: Rule, update: Any, t: Tensor, slots: Any
) -> tuple[int, Callable[[Any, Any], None]]:
    """How many stretches a parameter has, and what writes the second phase for some of them.

    A stretch of a weight is so many rows of every panel; a vector is one stretch.
    """
    starts = [layout.parameter(t, memory) for memory in ("", KEPT, *rule.memories)]

    def call(offset: Any, numbers: Any) -> None:
        w.call(update, slots, *(w.at(w["arena"], start, offset) for start in starts), numbers)

    def vector(first: Any, last: Any) -> None:
        with w.loop(first, last):
            call(0, layout.padded(t.axes[0]))

    def weight(first: Any, last: Any) -> None:
        rows, depth, panel = layout.sizes[inner], layout.padded(inner), w.target.panel
        low, high = w.mul(first, TOGETHER), w.least(w.mul(last, TOGETHER), rows)
        for start, count, vectors, _ in layout.panels(outer).parts():
            width = vectors * w.target.lanes
            with w.loop(start, start + count) as q:
                offset = w.add(w.mul(q.index, panel * depth), w.mul(low, width))
                call(offset, w.mul(w.add(high, w.mul(low, -1)), width))

    if len(t.axes) == 1:
        return 1, vector
    inner, outer = layout.stored(t)
    return -(-layout.sizes[inner] // TOGETHER), weight


def whole_numbers(
    w: Writer, layout: Layout, rule: Rule, partial_sums: Sequence[tuple[Gradient, int]]
) -> dict[Tensor, Any]:
    """The numbers of all parameters, from the shares of every gradient in one order."""
    known: dict[Tensor, Any] = {}
    for number in rule.whole:
        total: Any = ir.Constant(DOUBLE, START[number.op])
        for gradient, shares in partial_sums:
            with w.loop(0, shares, carried=[total]) as share:
                part = w.b.load(partial(w, layout, gradient, number, share.index))
                share.after = [_combined(w, number.op, share.carried[0], part)]
            total = share.carried[0]
        known[number.target] = total
    return known
