"""Operations as lines of NumPy code, and the definitions that stand before them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chalkgrad.emit.names import Names
from chalkgrad.emit.step.memory import Layout
from chalkgrad.emit.step.operations import Arg, Host, Op, Value, View
from chalkgrad.expr.nodes import Range, Tensor

ITEM = {"float": "dtype", "bool": "bool", "int": "np.int64"}
"""The element type of each kind of value, as code."""


class StepNames(Names):
    """Names that the step's own helpers may reserve, too."""

    def reserve(self, name: str) -> None:
        """Give this name to nothing else."""
        self._taken.add(name)

    def fresh(self, base: str) -> str:
        """`base`, or `base` with a number, never given before or again."""
        name = base if base not in self._taken else self.unused(base)
        self._taken.add(name)
        return name

    def numbered(self, base: str) -> str:
        """`base` with a number, never given before or again."""
        name = self.unused(base)
        self._taken.add(name)
        return name

    def rename(self, t: Tensor, name: str) -> None:
        """Call a tensor so."""
        self._of[t] = self.fresh(name)


class Speller:
    """Writes operations, and collects the views that they need.

    Attributes:
        views: Name of a view → its code, in order of first use.
    """

    def __init__(self, names: StepNames, size: Callable[[Range], str]) -> None:
        self.names, self.size = names, size
        self.views: dict[str, str] = {}
        self._named: dict[str, str] = {}

    def arg(self, a: Arg) -> str:
        """An argument: a number, a name, or the name of a view."""
        if isinstance(a, Host):
            return a.code
        if a.plain:
            return a.value.name
        name = a.value.name
        if None not in a.order and len(a.order) == 2:
            return self.view(f"{name}_T", f"{name}.T")
        if None not in a.order:
            return self.view(f"{name}_turned", f"{name}.transpose({', '.join(map(str, a.order))})")
        kept = tuple(n for n in a.order if n is not None)
        code = name
        if kept != tuple(sorted(kept)):
            code += ".T" if len(kept) == 2 else f".transpose({', '.join(map(str, kept))})"
        marks = ", ".join("None" if n is None else ":" for n in a.order)
        return self.view(f"{name}_column", f"{code}[{marks}]")

    def view(self, name: str, code: str) -> str:
        """The name of a view that is made once."""
        if code not in self._named:
            self._named[code] = self.names.fresh(name)
            self.views[self._named[code]] = code
        return self._named[code]

    def flat(self, v: Value) -> str:
        """The value's memory as one axis."""
        return v.name if len(v.ranges) == 1 else self.view(f"{v.name}_flat", f"{v.name}.reshape(-1)")

    def lines(self, op: Op) -> list[str]:
        """The code of one operation."""
        match op:
            case Op(kind="host"):
                return [f"{op.target} = {op.fn}"]
            case Op(kind="total", args=(View() as a,)):
                axis = "" if len(a.value.ranges) == 1 else ", axis=None"
                return [f"{op.target} = float(np.add.reduce({self.arg(a)}{axis}, dtype=np.float64))"]
            case Op(kind="max" | "min" as kind, args=(View() as a,)):
                return [f"{op.target} = float(np.{kind}imum.reduce({self.arg(a)}, axis=None))"]
            case Op(kind="inner", args=(View() as a, View() as b)):
                return [f"{op.target} = float(np.vdot({self.arg(a)}, {self.arg(b)}))"]
            case Op(kind="dot", args=(View() as a,)):
                parts = f"{self.flat(a.value)}"
                return [f"{op.target} = squares({parts})"]
        assert op.out is not None
        out = op.out.name
        args = [self.arg(a) for a in op.args]
        match op.kind:
            case "fill":
                return [f"{out}.fill({args[0]})"]
            case "copy":
                return [f"np.copyto({out}, {args[0]})"]
            case "select":
                return [f"{out}[...] = np.where({', '.join(args)})"]
            case "reduce":
                return [f"{op.fn}({args[0]}, axis={op.extra}, out={out})"]
            case "einsum":
                return [f'np.einsum("{op.extra}", {", ".join(args)}, out={out}, optimize=True)']
            case "rows":
                return [f'np.take({args[0]}, {args[1]}, axis=0, mode="clip", out={out})']
            case "lookup":
                return [f'np.take({args[0]}, {args[1]}, axis=0, mode="clip", out={out})']
            case "take":
                assert isinstance(op.args[0], View)
                return [f'np.take({self.flat(op.args[0].value)}, {args[1]}, mode="clip", out={out})']
            case "place":
                return [f"{self.flat(op.out)}[{args[0]}] {op.extra} {args[1]}"]
            case "draw":
                return [f"generator.random(dtype={out}.dtype, out={out})"]
        return [f"{op.fn}({', '.join(args)}, out={out})"]


def product_of(ranges: Sequence[Range], size: Callable[[Range], str]) -> str:
    """The code of the number of entries."""
    return " * ".join(size(r) for r in ranges) or "1"


def buffer_lines(layout: Layout, size: Callable[[Range], str]) -> list[str]:
    """One `np.empty` per buffer, as large as the largest value that lives in it."""
    lines = []
    for buffer in layout.buffers:
        counts = list(dict.fromkeys(product_of(shape, size) for shape in buffer.shapes))
        count = counts[0] if len(counts) == 1 else f"max({', '.join(counts)})"
        lines.append(f"np.empty({count}, {ITEM[buffer.kind]}),")
    return lines


def memory_lines(ops: Sequence[Op], layout: Layout, size: Callable[[Range], str]) -> list[str]:
    """The names of the values as views of the buffers."""
    lines: dict[str, None] = {}
    for op in ops:
        v = op.out
        where = layout.place.get(v) if v is not None else None
        if v is None or where is None or v.name == where:
            continue
        if isinstance(where, str):
            lines[f"{v.name} = {where}"] = None
            continue
        count = product_of(v.ranges, size)
        code = f"memory[{where}][: {count}]"
        if len(v.ranges) != 1:
            code += f".reshape({', '.join(size(r) for r in v.ranges)})"
        lines[f"{v.name} = {code}"] = None
    return list(lines)
