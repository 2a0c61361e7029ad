"""Statements of a plan as operations of a step: one NumPy call each, with its result's memory open."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from fractions import Fraction

from chalkgrad.emit.arrays import (
    AddAt,
    Array,
    Assign,
    Axes,
    Call,
    Cast,
    Compare,
    Einsum,
    Gather,
    Load,
    MatMul,
    Number,
    Positions,
    Power,
    Product,
    ReduceAxes,
    Running,
    Scale,
    SizeOf,
    Spread,
    Statement,
    Terms,
    Zeros,
)
from chalkgrad.emit.step.appending import Appender, Operand, Placed, floating
from chalkgrad.emit.step.hosts import literal, product_of, sum_of
from chalkgrad.emit.step.operations import Host, Value, View
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Index, Range, Tensor
from chalkgrad.primitives import PRIMITIVES

COMPARISONS = {
    "==": "np.equal", "!=": "np.not_equal", "<": "np.less",
    "<=": "np.less_equal", ">": "np.greater", ">=": "np.greater_equal",
}  # fmt: skip
OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "np.add", ast.Sub: "np.subtract", ast.Mult: "np.multiply", ast.Div: "np.divide",
    ast.Pow: "np.power", ast.FloorDiv: "np.floor_divide", ast.Mod: "np.remainder",
}  # fmt: skip


class Builder(Appender):
    """Appends operations to a section.

    Args:
        names: Identifiers of tensors and ranges.
        section: Where the operations go.
    """

    # --- statements ---

    def statement(self, s: Statement, note: str = "", home: str = "") -> None:
        """Append a statement; `home` is the caller's array that its target is to be written to.

        Raises:
            UnsupportedError: When a construct has no code that writes into given memory.
        """
        self._label, self._note = self.names.of(s.target), note
        match s:
            case Assign(target, axes, value, own):
                self._assign(target, axes, value, own, home)
            case Zeros(target, axes):
                out = self._define(target, axes, home)
                self._append("fill", "", (Host("0"),), out)
            case Scale(target, value, axes):
                self._scale(target, value, axes)
            case AddAt():
                self._add_at(s)

    def _define(self, target: Tensor, axes: Axes, home: str) -> Value:
        out = Value(tuple(i.range for i in axes), target.dtype, self.names.of(target), home)
        self.known[target] = out
        return out

    def _assign(self, target: Tensor, axes: Axes, value: Array, own: bool, home: str) -> None:
        found = self.operand(value)
        if isinstance(found, Host):
            if axes or home:
                out = self._define(target, axes, home)
                self._append("fill", "", (found,), out)
                return
            self.known[target] = self._named_host(found, self.names.of(target))
            return
        fresh = not found.value.name and found.axes == axes and found.value.kind == target.dtype
        if fresh and not own:
            found.value.name, found.value.home = self.names.of(target), home
            self.known[target] = found.value
            return
        if not own and not home and found.axes == axes and found.value.kind == target.dtype:
            self.known[target] = found.value
            return
        out = self._define(target, axes, home)
        if out.kind == "bool" and floating(found):  # a product of conditions, worked out in numbers
            self._append("ufunc", "np.not_equal", (self._view(found, axes), Host("0")), out)
            return
        self._append("copy", "np.copyto", (self._view(found, axes),), out)

    def _scale(self, target: Tensor, value: Array, axes: Axes) -> None:
        out = self._array(target)
        factor = self.operand(value)
        args = (self._view(Placed(out, axes), axes), self._arg(factor, axes))
        self._append("ufunc", "np.multiply", args, out)

    def _add_at(self, s: AddAt) -> None:
        """`target_flat[places] -= value` where one integer array picks a column of every row."""
        out = self._array(s.target)
        match s.subscripts:
            case (Positions(), column) if len(s.shared) == 1 and not s.trailing and s.unique:
                places = self._places(out.ranges, column, s.shared)
            case _:
                raise UnsupportedError(
                    f"the update of {s.target.name} at computed places cannot be written into given memory",
                    hint='Use engine="plain".',
                )
        value, operator = s.value, "=" if s.replace else "+="
        if not s.replace and isinstance(value, Number) and value.value < 0:
            value, operator = Number(-value.value), "-="
        amount = self._arg(self.operand(value), s.shared)
        self._append("place", "", (View(places, (0,)), amount), out, extra=operator)

    def _places(self, ranges: Sequence[Range], column: Array, shared: Axes) -> Value:
        """Positions in the flat memory of a matrix: row · columns + column."""
        picked = self.operand(column)
        rows, columns = ranges
        starts = self.constant(
            f"np.arange({self.size(rows)}) * {self.size(columns)}", (rows,), "int", "starts"
        )
        both = (Placed(starts, shared), picked)
        found = self._ufunc("np.add", both, shared, "int")
        assert isinstance(found, Placed)
        return found.value

    def _array(self, t: Tensor) -> Value:
        found = self.known[t]
        if isinstance(found, Host):
            raise UnsupportedError(f"{t.name} is a number, not an array")
        return found

    # --- arrays ---

    def operand(self, a: Array) -> Operand:
        """The operations that compute an array, and where its value is."""
        match a:
            case Number(value):
                return Host(literal(value))
            case SizeOf(of):
                return Host(self.size(of))
            case Load(tensor, axes):
                found = self.known[tensor]
                return found if isinstance(found, Host) else Placed(found, axes)
            case Positions(index, axes):
                code = f"np.arange({self.size(index.range)})"
                return Placed(self.constant(code, (index.range,), "int", "positions"), axes)
            case Terms():
                return self._terms(a)
            case Product():
                return self._product(a)
            case Power():
                return self._power(a)
            case Call():
                return self._call(a)
            case Compare(op, left, right, axes):
                return self._ufunc(COMPARISONS[op], (self.operand(left), self.operand(right)), axes, "bool")
            case Cast(arg, axes):
                return self._cast(self.operand(arg), axes)
            case ReduceAxes():
                return self._reduce(a)
            case MatMul():
                return self._matmul(a)
            case Einsum():
                return self._einsum(a)
            case Gather():
                return self._gather(a)
            case Running(arg, over, to, backwards, axes):
                op, places = (">=" if backwards else "<="), (Positions(over, (over,)), Positions(to, (to,)))
                mask = Compare(op, *places, (over, to))
                return self._einsum(Einsum((arg, Cast(mask, mask.axes)), axes))
            case Spread(arg, axes):
                return self._new("copy", "np.copyto", (self._arg(self.operand(arg), axes),), axes, "float")
        raise UnsupportedError(
            f"{type(a).__name__} has no code that writes into given memory", hint='Use engine="plain".'
        )

    def _terms(self, a: Terms) -> Operand:
        pairs = [(negative, self.operand(t)) for negative, t in a.terms]
        numbers = [(n, o) for n, o in pairs if isinstance(o, Host)]
        arrays = [(n, o) for n, o in pairs if isinstance(o, Placed)]
        # What has fewer axes is added up first, where that saves passes over the larger arrays.
        arrays.sort(key=lambda p: p[0])
        total: Operand | None = None
        sign = False
        for negative, o in arrays:
            if total is None:
                total, sign = o, negative
            elif sign and not negative:
                total, sign = self._ufunc("np.subtract", (o, total), a.axes), False
            else:
                fn = "np.subtract" if negative != sign else "np.add"
                total = self._ufunc(fn, (total, o), a.axes)
        number = sum_of(numbers)
        if total is None:
            return number or Host("0")
        if sign:
            return self._ufunc("np.subtract", (number or Host("0"), total), a.axes)
        return self._ufunc("np.add", (total, number), a.axes) if number is not None else total

    def _product(self, a: Product) -> Operand:
        negative, above, below = _flat_product(a)
        tops, bottoms = [self.operand(f) for f in above], [self.operand(f) for f in below]
        number = product_of(
            negative, [o for o in tops if isinstance(o, Host)], [o for o in bottoms if isinstance(o, Host)]
        )
        arrays = sorted((o for o in tops if isinstance(o, Placed)), key=lambda o: len(o.axes))
        divisors = [o for o in bottoms if isinstance(o, Placed)]
        total: Operand | None = None
        if number is not None and arrays and floating(arrays[0]):  # the smallest array takes the number
            arrays[0] = self._placed(self._ufunc("np.multiply", (arrays[0], number), a.axes))
            number = None
        for o in arrays:
            total = o if total is None else self._ufunc("np.multiply", (total, o), a.axes)
        if number is not None:
            total = number if total is None else self._ufunc("np.multiply", (total, number), a.axes)
        divisor: Operand | None = None
        for o in divisors:
            divisor = o if divisor is None else self._ufunc("np.multiply", (divisor, o), a.axes)
        if divisor is None:
            return total or Host("1")
        return self._ufunc("np.divide", (total or Host("1"), divisor), a.axes)

    def _placed(self, o: Operand) -> Placed:
        assert isinstance(o, Placed)
        return o

    def _power(self, a: Power) -> Operand:
        base = self.operand(a.base)
        if isinstance(a.exponent, Number) and isinstance(base, Placed):
            if a.exponent.value == 2:
                return self._ufunc("np.multiply", (base, base), a.axes)
            if a.exponent.value == 3:
                square = self._ufunc("np.multiply", (base, base), a.axes)
                return self._ufunc("np.multiply", (square, base), a.axes)
            if a.exponent.value == Fraction(1, 2):
                return self._ufunc("np.sqrt", (base,), a.axes)
        return self._ufunc("np.power", (base, self.operand(a.exponent)), a.axes)

    def _call(self, a: Call) -> Operand:
        """An elementwise function, by the spelling in its record."""
        args = [self.operand(arg) for arg in a.args]
        if a.fn == "where":
            views = tuple(self._arg(o, a.axes) for o in args)
            return self._new("select", "np.where", views, a.axes, "float")
        template = PRIMITIVES[a.fn].numpy
        if not template:
            raise UnsupportedError(f"{a.fn} has no spelling for numpy")
        named = template.format(*(f"_{n}" for n in range(len(args))))
        return self._template(ast.parse(named, mode="eval").body, args, a.axes)

    def _template(self, e: ast.expr, args: Sequence[Operand], axes: Axes) -> Operand:
        match e:
            case ast.Name(id=name):
                return args[int(name[1:])]
            case ast.Constant(value=int() | float() as value):
                return Host(repr(value))
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return self._ufunc("np.negative", (self._template(inner, args, axes),), axes)
            case ast.BinOp(left=left, op=op, right=right):
                pair = (self._template(left, args, axes), self._template(right, args, axes))
                return self._ufunc(OPERATORS[type(op)], pair, axes)
            case ast.Attribute():
                return Host(ast.unparse(e))
            case ast.Call(func=func, args=inner):
                return self._ufunc(ast.unparse(func), [self._template(i, args, axes) for i in inner], axes)
        raise UnsupportedError(f"the spelling {ast.unparse(e)} cannot be written into given memory")

    def _cast(self, o: Operand, axes: Axes) -> Operand:
        if isinstance(o, Host):
            return Host(f"float({o.code})", o.moving)
        if floating(o):
            return o
        return self._new("copy", "np.copyto", (self._view(o, axes),), axes, "float")

    def _reduce(self, a: ReduceAxes) -> Operand:
        if a.op == "sum" and not a.axes and (square := _squared(a.arg)) is not None:
            found = self.operand(square)
            if isinstance(found, Placed) and floating(found):
                return self._total("dot", found)
        arg = self.operand(a.arg)
        if isinstance(arg, Host):
            raise UnsupportedError("a reduction of a plain number")
        if not a.axes and a.op == "sum":
            return self._total("total", arg)
        if not a.axes and a.op in ("max", "min"):
            return self._total(a.op, arg)
        over = tuple(arg.axes.index(i) for i in a.over)
        kept = tuple(i for i in arg.axes if i not in a.over)
        if a.op == "sum" and len(arg.axes) == 2 and len(over) == 1 and floating(arg):
            return self._sum_by_ones(arg, over[0], kept)
        if a.op in ("max", "min") and len(arg.axes) == 2 and over == (1,):
            # Along the last axis NumPy compares one by one; of whole rows it takes several at once.
            turned = Placed(arg.value, arg.axes)
            flipped = (arg.axes[1], arg.axes[0])
            arg = self._placed(
                self._new("copy", "np.copyto", (self._view(turned, flipped),), flipped, arg.value.kind)
            )
            over = (0,)
        fn = {"sum": "np.add", "max": "np.maximum", "min": "np.minimum", "prod": "np.multiply"}[a.op]
        axis = str(over[0]) if len(over) == 1 else str(over)
        view = View(arg.value, tuple(range(len(arg.axes))))
        kind = "float" if arg.value.kind == "float" else "int"
        return self._new("reduce", f"{fn}.reduce", (view,), kept, kind, extra=axis)

    def _sum_by_ones(self, arg: Placed, over: int, kept: Axes) -> Operand:
        """A sum along one axis as a product with ones: the BLAS adds several rows at once."""
        ones = self.constant(
            f"np.ones({self.size(arg.axes[over].range)}, dtype)", (arg.axes[over].range,), "float", "ones"
        )
        matrix, vector = View(arg.value, (0, 1)), View(ones, (0,))
        return self._new("matmul", "np.matmul", (vector, matrix) if over == 0 else (matrix, vector), kept)

    def _total(self, kind: str, arg: Placed) -> Host:
        return self._number(kind, (View(arg.value, tuple(range(len(arg.axes)))),))

    def _matmul(self, a: MatMul) -> Operand:
        left, right = self.operand(a.left), self.operand(a.right)
        if isinstance(left, Host) or isinstance(right, Host):
            raise UnsupportedError("a matrix product with a plain number")
        args = (self._view(left, a.left_axes), self._view(right, a.right_axes))
        if not a.axes:
            return self._number("inner", args)
        return self._new("matmul", "np.matmul", args, a.axes)

    def _einsum(self, a: Einsum) -> Operand:
        operands = [self._placed(self.operand(o)) for o in a.operands]
        letters: dict[Index, str] = {}
        for o in operands:
            for i in o.axes:
                letters.setdefault(i, "abcdefghijklmnopqrstuvwxyz"[len(letters)])
        spec = ",".join("".join(letters[i] for i in o.axes) for o in operands)
        spec += "->" + "".join(letters[i] for i in a.axes)
        views = tuple(View(o.value, tuple(range(len(o.axes)))) for o in operands)
        return self._new("einsum", "np.einsum", views, a.axes, extra=spec)

    def _gather(self, a: Gather) -> Operand:
        table = self._array(a.tensor)
        match a.subscripts:
            case (Positions(), column) if column is not None and len(a.shared) == 1:
                places = self._places(table.ranges, column, a.shared)
                return self._new(
                    "take", "np.take", (View(table, (0, 1)), View(places, (0,))), a.axes, a.tensor.dtype
                )
            case (Load(tensor, axes), *rest) if tensor.dtype == "int" and not any(rest):
                rows = self._array(tensor)
                plain = tuple(range(len(table.ranges)))
                views = (View(table, plain), View(rows, tuple(range(len(axes)))))
                return self._new("lookup", "np.take", views, a.axes)
        raise UnsupportedError(
            f"the gather from {a.tensor.name} cannot be written into given memory", hint='Use engine="plain".'
        )


def _squared(a: Array) -> Array | None:
    """The array whose squares `a` holds."""
    match a:
        case Power(base, Number(value), _) if value == 2:
            return base
        case Product(False, (left, right), (), _) if left == right:
            return left
    return None


def _flat_product(a: Product) -> tuple[bool, list[Array], list[Array]]:
    """Nested products as one, so that their numbers meet."""
    negative, above, below = a.negative, [], list(a.below)
    for f in a.above:
        if isinstance(f, Product):
            sign, more, less = _flat_product(f)
            negative ^= sign
            above += more
            below += less
        else:
            above.append(f)
    return negative, above, below
