"""Arrays as code: precedence, alignment of axes, and the spellings of a dialect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from chalkgrad.emit.arrays import (
    Array,
    Axes,
    Call,
    Cast,
    Clamp,
    Compare,
    Einsum,
    Gather,
    Load,
    MatMul,
    MatrixFunction,
    Number,
    Positions,
    Power,
    Product,
    ReduceAxes,
    Running,
    SizeOf,
    Spread,
    Stack,
    Terms,
    Window,
    kind,
)
from chalkgrad.emit.dialects import Dialect
from chalkgrad.emit.names import Names
from chalkgrad.emit.subscripts import window_code
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Index, Range, Tensor
from chalkgrad.primitives import PRIMITIVES

COMPARE, ADD, MATMUL, MUL, NEG, POW, ATOM = range(7)
"""Binding strengths, loosest first. A matrix product inside a product gets parentheses."""

HOST_CLAMP = "max(0, min({0}, {1} - 1))"
"""The nearest place of an axis, of a Python number."""

Code = tuple[str, int]


@dataclass
class Printer:
    """Writes arrays of one function.

    Attributes:
        names: Identifiers of tensors and ranges.
        dialect: Spellings.
        reference: Code of an array that has the computation's precision, "" when there is none.
        in_scope: Arrays whose shapes `zeros_like` may borrow.
        sharded_like: For the values of gradients, arrays whose sharding they take. Over an explicit
            mesh JAX must be told how the result of a contraction is sharded.
        sizes: Collects the ranges whose sizes the code names.
    """

    names: Names
    dialect: Dialect
    reference: str = ""
    in_scope: tuple[Tensor, ...] = ()
    sharded_like: Mapping[Tensor, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.target: tuple[Tensor, Axes] | None = None
        self.sizes: dict[Range, None] = {}

    # --- whole arrays ---

    def code(self, a: Array) -> Code:
        """The code of `a` over its own axes."""
        match a:
            case Number(value):
                return self.number(value)
            case SizeOf(of):
                return self.size(of), ATOM
            case Load(tensor, _):
                return self.names.of(tensor), ATOM
            case Positions(index, _):
                return self.dialect.arange.format(self.size(index.range), self.reference), ATOM
            case Gather():
                return self._gather(a), ATOM
            case Terms():
                return self._terms(a)
            case Product():
                return self._product(a)
            case Power():
                return self._power(a)
            case Call():
                return self._call(a)
            case Compare(op, left, right, axes):
                sides = (self.aligned(left, axes, ADD), self.aligned(right, axes, ADD))
                return f"{sides[0]} {op} {sides[1]}", COMPARE
            case Cast(arg, axes):
                if not self.reference:
                    return f"{self.aligned(arg, axes, ATOM)} * 1.0", MUL
                if not axes:  # perhaps a Python number, which has no method
                    return self.dialect.cast_scalar.format(self.aligned(arg, axes), self.reference), ATOM
                return self.dialect.cast.format(self.aligned(arg, axes, ATOM), self.reference), ATOM
            case ReduceAxes():
                return self._reduce(a, keep=False), ATOM
            case MatMul(left, right, _, _, axes) if self._sharding(axes):
                return self._einsum(Einsum((left, right), axes)), ATOM
            case MatMul(left, right, left_axes, right_axes, _):
                first = self.exact(left, left_axes, MATMUL if isinstance(left, MatMul) else NEG)
                return f"{first} @ {self.exact(right, right_axes, NEG)}", MATMUL
            case Einsum():
                return self._einsum(a), ATOM
            case Stack(operands, index, axes):
                rest = tuple(i for i in axes if i is not index)
                written = ", ".join(self.exact(o, rest) for o in operands)
                return self.dialect.stack.format(written, axes.index(index)), ATOM
            case Running(arg, over, _, backwards, _):
                place = arg.axes.index(over)
                turned = ", ".join([":"] * place + ["::-1"])
                template = self.dialect.running_back if backwards else self.dialect.running
                return template.format(self.wrapped(arg, ATOM if backwards else COMPARE), place, turned), ATOM
            case Spread(arg, axes):
                return self._spread(arg, axes), ATOM
            case Window(tensor, slots, _, fill):
                around = self.number(fill)[0]
                return window_code(self.names.of(tensor), slots, self.dialect, self.number_of, around), ATOM
            case Clamp(arg, of, _):
                clamp = HOST_CLAMP if kind(arg) == "host" else self.dialect.clamp
                return clamp.format(self.wrapped(arg, COMPARE), self.number_of(of)), ATOM
            case MatrixFunction(fn, arg, arg_axes, _):
                return self.dialect.matrix_functions[fn].format(self.exact(arg, arg_axes)), ATOM
        raise UnsupportedError(f"no spelling of {type(a).__name__} for {self.dialect.name}")

    def wrapped(self, a: Array, at_least: int) -> str:
        return _wrap(self.code(a), at_least)

    def exact(self, a: Array, axes: Axes, at_least: int = COMPARE) -> str:
        """The code of `a` laid out along exactly `axes`."""
        if a.axes == axes:
            return self.wrapped(a, at_least)
        if set(a.axes) != set(axes):
            raise UnsupportedError(f"axes {a.axes} cannot be laid out along {axes}")
        return self._transposed(self.wrapped(a, ATOM), a.axes, axes)

    def aligned(self, a: Array, axes: Axes, at_least: int = COMPARE) -> str:
        """The code of `a`, broadcastable against an array along `axes`."""
        own = tuple(i for i in axes if i in a.axes)
        pattern = list(axes[axes.index(own[0]) :]) if own else []
        if len(pattern) == len(own):
            return self.exact(a, own, at_least)
        if isinstance(a, ReduceAxes):
            kept = [None if i in a.over else i for i in a.arg.axes]
            while kept and kept[0] is None:
                kept.pop(0)
            # An axis of the argument beyond `axes` would be kept as one axis too many.
            if len(a.arg.axes) <= len(axes) and kept == [i if i in own else None for i in pattern]:
                return self._reduce(a, keep=True)
        marks = [":" if i in own else "None" for i in pattern]
        return f"{self.exact(a, own, ATOM)}[{', '.join(marks)}]"

    def _transposed(self, code: str, have: Axes, want: Axes) -> str:
        if len(have) == 2:
            return f"{code}.T"
        if have[:-2] == want[:-2]:
            return self.dialect.swap.format(code)
        return self.dialect.transpose.format(code, ", ".join(str(have.index(i)) for i in want))

    # --- nodes ---

    def size(self, of: Range) -> str:
        if of.size is not None:
            return str(of.size)
        self.sizes[of] = None
        return self.names.of(of)

    def number_of(self, thing: Range | Tensor) -> str:
        """The code of a size, or of a loop counter."""
        return self.size(thing) if isinstance(thing, Range) else self.names.of(thing)

    def number(self, value: Fraction | float) -> Code:
        if isinstance(value, float):
            return (f"{self.dialect.module}.inf", ATOM) if value > 0 else (f"-{self.dialect.module}.inf", NEG)
        if value.denominator == 1:
            return str(value.numerator), ATOM if value >= 0 else NEG
        written = repr(float(value))
        if Fraction(written) == value:
            return written, ATOM if value >= 0 else NEG
        return f"{value.numerator} / {value.denominator}", MUL if value > 0 else NEG

    def _terms(self, a: Terms) -> Code:
        parts: list[str] = []
        for place, (negative, term) in enumerate(a.terms):
            code = self.aligned(term, a.axes, MATMUL)
            if place == 0:
                parts.append("-" + self.aligned(term, a.axes, NEG) if negative else code)
            else:
                parts.append(f"{'-' if negative else '+'} {code}")
        return " ".join(parts), ADD

    def _product(self, a: Product) -> Code:
        # Products associate to the left: the first factor needs no parentheses.
        above = [self.aligned(f, a.axes, NEG if n else MUL) for n, f in enumerate(a.above)] or ["1"]
        code = " * ".join(above)
        if a.below:
            below = [self.aligned(f, a.axes, NEG) for f in a.below]
            code += f" / {below[0]}" if len(below) == 1 else f" / ({' * '.join(below)})"
        return (f"-{code}", MUL) if a.negative else (code, MUL)

    def _power(self, a: Power) -> Code:
        if isinstance(a.exponent, Number) and a.exponent.value == Fraction(1, 2) and kind(a.base) != "host":
            return self.dialect.sqrt.format(self.aligned(a.base, a.axes)), ATOM
        base = self.aligned(a.base, a.axes, ATOM)
        exponent = self.aligned(a.exponent, a.axes, POW)
        tight = _simple(base) and _simple(exponent)
        return (f"{base}**{exponent}" if tight else f"{base} ** {exponent}"), POW

    def _call(self, a: Call) -> Code:
        if a.fn == "sqrt" and kind(a) == "host":
            base = self.wrapped(a.args[0], ATOM)
            return f"{base}**0.5" if _simple(base) else f"{base} ** 0.5", POW
        primitive = PRIMITIVES[a.fn]
        template = self.dialect.spelling(primitive)
        if not template:
            raise UnsupportedError(f"{a.fn} has no spelling for {self.dialect.name}")
        if not a.args:
            return template, ATOM
        for place, arg in enumerate(a.args):
            loose, tight = self.aligned(arg, a.axes), self.aligned(arg, a.axes, ATOM)
            # PyTorch's `where` takes a number beside a tensor, whose precision it then has.
            beside = a.fn == "where" and place > 0 and any(kind(b) != "host" for b in a.args[1:])
            takes_numbers = _index_function(a.fn) or (a.fn == "clip" and place > 0) or beside
            if self.dialect.name == "torch" and kind(arg) == "host" and not takes_numbers:
                loose = tight = self._tensor(loose, condition=a.fn == "where" and place == 0)
            if template.startswith("jax.") and kind(arg) == "host":  # these take no Python integer
                dtype = f"{self.reference}.dtype" if self.reference else "float"
                loose = tight = f"jnp.asarray({loose}, {dtype})"
            mark = "{" + str(place) + "}"
            # "(x)" that is not a call's own pair of parentheses is needed only around operators.
            template = re.sub(r"(?<![\w)])\(" + re.escape(mark) + r"\)", tight.replace("\\", r"\\"), template)
            template = template.replace(mark, loose)
        strength = ATOM if re.fullmatch(r"[\w.]+\(.*\)", template) and _closed(template) else ADD
        if (
            kind(a) == "host" and self.dialect.name == "numpy" and not _index_function(a.fn)
        ):  # a NumPy double would turn single precision into double
            return f"float({template})", ATOM
        return template, strength

    def _tensor(self, code: str, condition: bool) -> str:
        """A Python number for a PyTorch function, which takes tensors alone."""
        dtype = "torch.bool" if condition else f"{self.reference}.dtype" if self.reference else ""
        device = f"{self.reference}.device" if self.reference else ""
        options = [f"{n}={v}" for n, v in (("dtype", dtype), ("device", device)) if v]
        return f"torch.as_tensor({', '.join([code, *options])})"

    def _gather(self, a: Gather) -> str:
        name = self.names.of(a.tensor)
        label = a.subscripts[-1] or Number(Fraction(0))
        rows = tuple(s.index for s in a.subscripts[:-1] if isinstance(s, Positions))
        rowwise = len(rows) == len(a.subscripts) - 1 > 0 and isinstance(label, Load)
        # Unlike indexing, this one keeps the sharding of rows over an explicit mesh.
        if self.dialect.name == "jax" and rowwise and rows == a.shared == label.axes:
            code = self.code(label)[0]
            return f"jnp.take_along_axis({name}, {code}[..., None], axis=-1)[..., 0]"
        written = [":" if s is None else self.aligned(s, a.shared) for s in a.subscripts]
        while written and written[-1] == ":":
            written.pop()
        return f"{name}[{', '.join(written)}]"

    def _reduce(self, a: ReduceAxes, keep: bool) -> str:
        method = self.dialect.reductions[a.op]
        arg = self.wrapped(a.arg, ATOM)
        if len(a.over) == len(a.arg.axes) and not keep:
            return f"{arg}.{method}()"
        places = sorted(a.arg.axes.index(i) for i in a.over)
        which = str(places[0]) if len(places) == 1 else f"({', '.join(map(str, places))})"
        kept = f", {self.dialect.keepdims}=True" if keep else ""
        return f"{arg}.{method}({self.dialect.axis}={which}{kept})"

    def _einsum(self, a: Einsum) -> str:
        letters: dict[Index, str] = {}
        for index in dict.fromkeys(i for o in a.operands for i in o.axes):
            plain = index.name[0] if index.name[0].isascii() and index.name[0].isalpha() else "a"
            choice = next(c for c in plain + "abcdefghijklmnopqrstuvwxyz" if c not in letters.values())
            letters[index] = choice
        inputs = ",".join("".join(letters[i] for i in o.axes) for o in a.operands)
        spec = f"{inputs}->{''.join(letters[i] for i in a.axes)}"
        operands = [self.wrapped(o, COMPARE) for o in a.operands]
        sharding = self._sharding(a.axes)
        if sharding:
            operands.append(f"out_sharding={sharding}")
        return self.dialect.einsum.format(spec, ", ".join(operands))

    def _sharding(self, axes: Axes) -> str:
        """The sharding of a contraction that has the layout of the gradient being computed."""
        if self.target is None or self.target[0] not in self.sharded_like or self.target[1] != axes:
            return ""
        return f"jax.typeof({self.names.of(self.sharded_like[self.target[0]])}).sharding"

    def _spread(self, arg: Array, axes: Axes) -> str:
        if not arg.axes:
            like = self.like(axes)
            if like:
                return self.dialect.full_like.format(like, self.wrapped(arg, COMPARE))
            if kind(arg) == "host" and self.reference:
                return self.dialect.full.format(self.shape(axes), self.wrapped(arg, COMPARE), self.reference)
        return self.dialect.spread.format(self.aligned(arg, axes), self.shape(axes))

    # --- what is in scope ---

    def like(self, axes: Axes) -> str:
        """An array in scope with the ranges of `axes`, "" when there is none."""
        ranges = tuple(i.range for i in axes)
        found = next((t for t in self.in_scope if t.axes == ranges and t.dtype == "float" and ranges), None)
        return self.names.of(found) if found else ""

    def shape(self, axes: Axes) -> str:
        """The tuple of the axes' sizes."""
        sizes = [self.size(i.range) for i in axes]
        return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def _index_function(fn: str) -> bool:
    return fn in ("floordiv", "mod")


def _wrap(code: Code, at_least: int) -> str:
    return code[0] if code[1] >= at_least else f"({code[0]})"


def _simple(code: str) -> bool:
    """Whether ruff writes a power of it without spaces: a name, an attribute or a number."""
    return re.fullmatch(r"-?(\d[\d.e]*|[^\W\d][\w.]*)", code) is not None


def _closed(code: str) -> bool:
    """Whether the first parenthesis closes at the very end."""
    depth = 0
    for place, c in enumerate(code):
        depth += (c == "(") - (c == ")")
        if depth == 0 and c == ")":
            return place == len(code) - 1
    return False
