"""Syntax to expressions: names resolved, ranges inferred by use, functions checked against the table.

While a text is being read, ranges and tensors are placeholders; `Retyping` puts the final ones in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from chalkgrad.errors import FormulaError, UnsupportedError, suggestion
from chalkgrad.expr.grammar import CONSTANTS, lower_arithmetic
from chalkgrad.expr.nodes import (
    Access,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Opaque,
    Partial,
    Range,
    Size,
)
from chalkgrad.expr.ops import walk
from chalkgrad.expr.syntax import (
    Binder,
    Call,
    Condition,
    Derivative,
    Entry,
    Factors,
    MatrixFunction,
    Name,
    Negative,
    Number,
    Syntax,
    Terms,
)
from chalkgrad.expr.tokens import error
from chalkgrad.frontend import build
from chalkgrad.frontend.inference import Slots, Variable
from chalkgrad.frontend.known import Known

Scope = Mapping[str, Variable]

NO_DERIVATIVES = (
    "Derive it with layer.derive(); in a .chalk file a claim begins with the derivative: dL/dW[d,j] = ..."
)


@dataclass(eq=False, slots=True)
class Reader:
    """Reads expressions of one text and collects what it learns about tensors and ranges.

    Attributes:
        source: The text.
        slots: Its ranges.
        tensors: Its tensors by (name, is adjoint), in order of appearance.
        later: Names that a later line defines, with their place.
        closed: Whether new inputs are refused (in claims about a forward pass that is complete).
        adjoints: Whether dL/df may be read.
        in_size: Whether a size is being read, in which a parameter stands for its value.
    """

    source: str
    slots: Slots
    tensors: dict[tuple[str, bool], Known] = field(default_factory=dict)
    later: dict[str, Syntax] = field(default_factory=dict)
    sizes: dict[Range, Name] = field(default_factory=dict)
    letters: dict[str, list[Variable]] = field(default_factory=dict)
    unequal: list[tuple[Variable, Variable]] = field(default_factory=list)
    closed: bool = False
    adjoints: bool = False
    in_size: bool = False

    def error(self, at: Syntax, message: str, hint: str = "") -> FormulaError:
        return error(self.source, at, message, hint)

    # --- names

    def bind(self, names: tuple[Name, ...], scope: Scope) -> dict[str, Variable]:
        """The scope with new indices.

        Raises:
            FormulaError: If one is bound already, here or outside.
        """
        inner = dict(scope)
        for name in names:
            # In a claim a sum may use a letter of the left side again: a slip, and no reason not to read on.
            if name.name in inner and (not self.closed or name.name not in scope):
                raise self.error(
                    name, f"The index {name.name} is bound already; give this one another letter."
                )
            if (name.name, False) in self.tensors:
                raise self.error(name, f"{name.name} is an array here, so an index needs another letter.")
            variable = Variable(name.name, self.slots.new(name.name), name)
            inner[name.name] = variable
            self.letters.setdefault(name.name, []).append(variable)
        return inner

    def tensor(self, at: Name | Entry, rank: int) -> Known:
        """The tensor of this name, a new input if it is not known.

        Raises:
            FormulaError: If it has another number of axes, or is defined only later.
        """
        known = self.tensors.get((at.name, at.adjoint))
        shown = f"dL/d{at.name}" if at.adjoint else at.name
        if known is not None:
            if len(known.axes) != rank:
                declared = isinstance(known.first, Name) and known.axes
                first = "" if declared else self.source[known.first.start : known.first.end]
                ranges = (slot.root().fixed for slot in known.axes)
                over = ", ".join(r.name for r in ranges if r is not None)
                raise self.error(
                    at,
                    f"{shown} has {_indices(len(known.axes))} and is used with {_indices(rank)} here.",
                    f"It was first written as {first}." if first else f"Its axes are {over or 'none'}.",
                )
            return known
        if at.adjoint and not self.adjoints:
            raise self.error(at, f"A forward formula cannot contain the derivative {shown}.", NO_DERIVATIVES)
        if at.name in self.later and not at.adjoint:
            raise self.error(
                at, f"{at.name} is used before the line that defines it.", "Definitions go in order of use."
            )
        if self.closed:
            raise self.error(at, f"{shown} is neither defined nor an input of the forward pass."
                             + suggestion(at.name, [name for name, _ in self.tensors]))  # fmt: skip
        axes = tuple(self.slots.new() for _ in range(rank))
        for slot in axes:
            slot.sized = True
        known = Known(at.name, axes, at, at.adjoint)
        self.tensors[at.name, at.adjoint] = known
        return known

    # --- expressions

    def read(self, tree: Syntax, scope: Scope) -> Expr:
        """The expression of a syntax tree, with placeholders for ranges and tensors."""
        match tree:
            case Name(_, _, name, False) if name in scope:
                return Index(name, scope[name].slot.placeholder)
            case Name(_, _, name, False) if self.in_size and (value := self.static(tree)) is not None:
                return value
            case Name(_, _, name, False) if (name, False) not in self.tensors and name in (*CONSTANTS, "inf"):
                return Const(float("inf")) if name == "inf" else Apply(name, ())
            case Name():
                return Access(self.tensor(tree, 0).placeholder, ())
            case Entry():
                return self.entry(tree, scope)
            case Call():
                return self.call(tree, scope)
            case Binder(_, _, op, names, body):
                inner = self.bind(names, scope)
                read = self.read(body, inner)
                return build.reduction(
                    op, tuple(Index(n.name, inner[n.name].slot.placeholder) for n in names), read
                )
            case MatrixFunction():
                return self.matrix_function(tree, scope)
            case Condition():
                return self.condition(tree, scope)
            case Derivative(_, _, body, wrt):
                return self.derivative(tree, body, wrt, scope)
        found = lower_arithmetic(tree, self.source, lambda part: self.read(part, scope))
        if found is None:
            raise self.error(tree, "This cannot stand in a formula.")
        return found

    def static(self, tree: Name) -> Const | None:
        """The value of a parameter that is a whole number, as in `parameter s: 2`, where s is a stride."""
        known = self.tensors.get((tree.name, False))
        if known is None or known.default is None or not known.default.is_integer():
            return None
        known.static = True
        return Const(Fraction(int(known.default)))

    def matrix_function(self, tree: MatrixFunction, scope: Scope) -> Expr:
        """inv(i j, A[i,j])[a,b]: the matrix is square, and its inverse has the axes of the matrix."""
        row, column = tree.indices
        inner = self.bind(tree.indices, scope)
        body = self.read(tree.body, inner)
        square = f"the index {row.name} of a square matrix"
        self.slots.unify(inner[column.name], inner[row.name].slot, tree, square)
        written = self.source[tree.start : tree.end]
        at = []
        for place in tree.at:
            if isinstance(place, Name) and not place.adjoint and place.name in scope:
                self.slots.unify(scope[place.name], inner[row.name].slot, tree, "the inverse's axis")
            at.append(self.place(place, scope, written))
        bound = tuple(Index(n.name, inner[n.name].slot.placeholder) for n in tree.indices)
        return Opaque(tree.op, bound, body, tuple(at))

    def derivative(self, tree: Syntax, body: Syntax, wrt: Syntax, scope: Scope) -> Expr:
        if not self.adjoints:
            raise self.error(tree, "A forward formula cannot contain a derivative.", NO_DERIVATIVES)
        value, by = self.read(body, scope), self.read(wrt, scope)
        if not isinstance(by, Access):
            raise self.error(wrt, "A derivative is taken by an entry of an array.")
        return Partial(value, by)

    def entry(self, tree: Entry, scope: Scope) -> Expr:
        if tree.name in scope:
            raise self.error(tree, f"{tree.name} is an index here and has no entries.")
        known = self.tensor(tree, len(tree.indices))
        written = self.source[tree.start : tree.end]
        shown = f"dL/d{tree.name}" if tree.adjoint else tree.name
        indices = []
        for place, (index, axis) in enumerate(zip(tree.indices, known.axes, strict=True)):
            described = (
                f"the {_ordinal(place)} axis of {shown}" if len(known.axes) > 1 else f"the axis of {shown}"
            )
            if isinstance(index, Terms | Factors | Call) and (letter := self.first_letter(index, scope)):
                axis.hint = letter
            if isinstance(index, Name) and not index.adjoint and index.name in scope:
                self.slots.unify(scope[index.name], axis, tree, described)
            indices.append(self.place(index, scope, written))
        return Access(known.placeholder, tuple(indices))

    def place(self, tree: Syntax, scope: Scope, written: str) -> Expr:
        """An index position that may be one: whole, and counted from 0."""
        found = self.index(tree, scope, written)
        numbers = [n.value for n in walk(found) if isinstance(n, Const)]
        if any(Fraction(n).denominator != 1 for n in numbers):
            shown = self.source[tree.start : tree.end]
            raise self.error(tree, f"An index must be a whole number, and {shown} need not be one.")
        if isinstance(found, Const) and found.value < 0:
            raise self.error(
                tree,
                f"{written} reads before the first entry: indices count from 0.",
                f"The last entry of an axis over N is {written.split('[', maxsplit=1)[0]}[size(N)-1].",
            )
        return found

    def index(self, tree: Syntax, scope: Scope, written: str) -> Expr:
        """An index position: a bound index, a gather such as y[i], or an affine combination."""
        match tree:
            case Name(_, _, name, False) if name in scope:
                return Index(name, scope[name].slot.placeholder)
            case Name(_, _, name, False):
                if (value := self.static(tree)) is not None:
                    return value
                known = self.tensors.get((name, False))
                if known is None or known.axes or known.dtype != "int":
                    raise self.unbound(tree, scope, written)
                return Access(known.placeholder, ())
            case Number():
                return self.read(tree, scope)
            case Entry(_, _, name, _, False):
                read = self.entry(tree, scope)
                self.integer(tree)
                return read
            case Call(_, _, "size", _):
                return self.call(tree, scope)
            case Call(_, _, "floordiv" | "mod" as fn, args):
                return build.call(fn, tuple(self.affine(a, scope, written) for a in args))
            case Terms() | Negative() | Factors():
                return self.affine(tree, scope, written)
        raise self.error(
            tree, "An index is a letter, a number, an integer array's entry y[i], or affine: 2*h + p."
        )

    def first_letter(self, tree: Syntax, scope: Scope) -> str | None:
        """The first index of an affine combination, after which its axis is named."""
        match tree:
            case Name(_, _, name, False) if name in scope:
                return name
            case Terms(_, _, parts) | Factors(_, _, parts):
                return next((found for _, p in parts if (found := self.first_letter(p, scope))), None)
            case Call(_, _, _, args):
                return next((found for a in args if (found := self.first_letter(a, scope))), None)
        return None

    def affine(self, tree: Syntax, scope: Scope, written: str) -> Expr:
        """Sums and multiples of indices; a name that is not an index may be a factor, such as a stride."""
        factors = isinstance(tree, Factors)

        def part(inner: Syntax) -> Expr:
            if isinstance(inner, Name) and not inner.adjoint and inner.name in scope:
                scope[inner.name].slot.root().affine = True
            elif isinstance(inner, Name) and factors and not inner.adjoint:
                if (value := self.static(inner)) is not None:
                    return value
                read = self.read(inner, scope)
                self.integer(inner)
                return read
            return self.index(inner, scope, written)

        if isinstance(tree, Factors) and any(divides for divides, _ in tree.factors):
            raise self.error(tree, "An index cannot be a quotient: it must be a whole number.")
        if isinstance(tree, Name):
            return part(tree)
        found = lower_arithmetic(tree, self.source, part)
        return found if found is not None else self.index(tree, scope, written)

    def unbound(self, tree: Name, scope: Scope, written: str) -> FormulaError:
        known = ", ".join(scope) or "none"
        return self.error(
            tree,
            f"The index {tree.name} in {written} is not bound: neither the left side nor a sum names it.",
            f"Indices known here: {known}. Sum over it with sum({tree.name}, ...), or name it on the left. "
            f"A label is declared on a line of its own: {tree.name}: int.",
        )

    def integer(self, tree: Name | Entry) -> None:
        """Says that this tensor holds whole numbers."""
        known = self.tensors[tree.name, tree.adjoint]
        if known.defined:
            raise self.error(
                tree, f"{tree.name} is computed here, and only an integer input can be an index."
            )
        known.dtype = "int"

    def condition(self, tree: Condition, scope: Scope) -> Expr:
        left, right = tree.left, tree.right
        read = Indicator(tree.op, self.read(left, scope), self.read(right, scope))
        pair = [
            scope[s.name] for s in (left, right) if isinstance(s, Name) and not s.adjoint and s.name in scope
        ]
        if len(pair) == 2:
            if tree.op in ("==", "!="):
                self.slots.unify(pair[0], pair[1].slot, tree, f"the index {pair[1].name}")
            else:
                self.unequal.append((pair[0], pair[1]))
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Name | Entry) and not one.adjoint and one.name not in scope:
                known = self.tensors.get((one.name, False))
                if known and not known.defined and self.whole(other, scope):
                    known.dtype = "int"
        return read

    def whole(self, tree: Syntax, scope: Scope) -> bool:
        """Whether this is written with indices alone, so that it is a whole number."""
        match tree:
            case Name(_, _, name, False):
                return name in scope
            case Negative(_, _, operand):
                return self.whole(operand, scope)
            case Terms(_, _, parts) | Factors(_, _, parts):
                kinds = [(isinstance(p, Number), self.whole(p, scope)) for _, p in parts]
                return all(number or whole for number, whole in kinds) and any(whole for _, whole in kinds)
        return False

    def call(self, tree: Call, scope: Scope) -> Expr:
        if tree.name == "size":
            return self.size(tree, scope)
        if (tree.name, False) in self.tensors or tree.name in scope or tree.name in self.later:
            raise self.error(
                tree, f"{tree.name} is not a function.", f"Entries take square brackets: {tree.name}[...]."
            )
        args = tuple(self.read(arg, scope) for arg in tree.args)
        if tree.name == "where" and tree.args and isinstance(tree.args[0], Name | Entry):
            known = self.tensors[tree.args[0].name, tree.args[0].adjoint]
            if not known.defined:
                known.dtype = "bool"
        try:
            return build.call(tree.name, args)
        except UnsupportedError as refused:
            raise UnsupportedError(
                refused.message,
                hint=refused.hint,
                source=self.source,
                position=tree.start,
                length=len(tree.name),
            ) from None

    def size(self, tree: Call, scope: Scope) -> Expr:
        """size(i), how many values i takes: an index in scope, one bound elsewhere, or a range's name."""
        if len(tree.args) != 1 or not isinstance(tree.args[0], Name):
            raise self.error(tree, "size takes the index or range whose size is meant: size(i).")
        name = tree.args[0]
        if name.name in scope:
            return Size(scope[name.name].slot.placeholder)
        waiting = Range(f"?size {name.start}")
        self.sizes[waiting] = name
        return Size(waiting)


def _indices(number: int) -> str:
    return "no index" if number == 0 else "one index" if number == 1 else f"{number} indices"


def _ordinal(place: int) -> str:
    return ("first", "second", "third", "fourth", "fifth", "sixth")[place] if place < 6 else f"{place + 1}th"
