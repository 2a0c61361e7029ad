"""Formulas as text: `f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]` to a `Program`.

The grammar is in `chalkgrad.expr.grammar`. Each line defines a value and the last one is the output. The
ranges of indices follow from their use; a line such as `x: N D` or `y: N int` declares axes and types, and
`range h: (size(u) - size(r)) // 2 + 1` a size that follows from others.
"""

from __future__ import annotations

from chalkgrad.errors import FormulaError
from chalkgrad.expr.grammar import parse
from chalkgrad.expr.letters import range_name
from chalkgrad.expr.nodes import Const, Definition, Expr, Index, Program, Range, Tensor
from chalkgrad.expr.ops import tensors_in
from chalkgrad.expr.syntax import Declaration, Entry, Equation, Name, Parameter, RangeSize, Statement, Syntax
from chalkgrad.frontend.build import with_clips
from chalkgrad.frontend.inference import Slot, Slots, Variable
from chalkgrad.frontend.known import DTYPES, NOT_AXES, Known, Retyping
from chalkgrad.frontend.range_sizes import RangeSizes
from chalkgrad.frontend.reader import Reader

OUTPUT = "out"


def read_formula(text: str, name: str = "formula") -> Program:
    """The forward pass that a text describes.

    Args:
        text: One definition per line; the last one is the output, and may lack its `name =`.
        name: What the layer is called.

    Returns:
        The program; its inputs are in order of appearance, integer ones recognised by their use as an
        index (`p[i, y[i]]`) or by comparison with one (`1(j == y[i])`).

    Raises:
        FormulaError: With a caret, for text outside the grammar, unbound or doubly bound indices,
            contradictory ranges, wrong numbers of indices, redefinitions.
        UnsupportedError: With a caret, for a function that is not in the table.

    Example:
        >>> program = read_formula("f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]")
        >>> program.inputs
        (x[N, D], W[D, K], b[K])
    """
    return FormulaReader(text).program(parse(text), name)


class FormulaReader:
    """Statements to a program. `reader` and `slots` stay readable afterwards, with all ranges known."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.slots = Slots(text)
        self.reader = Reader(text, self.slots)
        self.named: dict[str, Slot] = {}
        self.order: list[tuple[Known, tuple[Variable, ...], Expr]] = []
        self.range_sizes = RangeSizes(self.reader, self.named)

    def program(self, statements: tuple[Statement, ...], name: str) -> Program:
        """The program of all statements."""
        equations = [s for s in statements if isinstance(s, Equation)]
        if not equations:
            raise FormulaError("There is no formula here, only declarations.", source=self.text, position=0)
        self._note_definitions(equations)
        for statement in statements:
            if isinstance(statement, Declaration):
                self._declare(statement)
            elif isinstance(statement, Parameter):
                self._parameter(statement)
            elif isinstance(statement, RangeSize):
                self.range_sizes.lines.append(statement)
            else:
                self._define(statement, last=statement is equations[-1])
        return self._finish(name)

    def _note_definitions(self, equations: list[Equation]) -> None:
        for equation in equations:
            left = equation.left
            if isinstance(left, Name | Entry):
                if left.name in self.reader.later:
                    raise self.reader.error(
                        left, f"{left.name} is defined twice.", "Each value is defined once."
                    )
                self.reader.later[left.name] = left

    def _declare(self, line: Declaration) -> None:
        """x: N D, or y: N int."""
        name, words = line.name, list(line.words)
        if (name.name, False) in self.reader.tensors:
            raise self.reader.error(name, f"{name.name} is declared after it was used or declared.")
        dtype = words.pop().name if words and words[-1].name in DTYPES else "float"
        for word in words:
            if word.name in NOT_AXES:
                raise self.reader.error(
                    word, f"{word.name} is an element type that no formula has.",
                    f"The types are {', '.join(DTYPES)}; the precision is that of the arrays.",
                )  # fmt: skip
        axes = tuple(self._range(word.name) for word in words)
        for slot in axes:
            slot.root().sized = True
        defined = name.name in self.reader.later
        self.reader.tensors[name.name, False] = Known(name.name, axes, name, defined=defined, dtype=dtype)

    def _parameter(self, line: Parameter) -> None:
        """parameter eps: 1e-5, a scalar that is not differentiated by."""
        name, default = line.name, self.reader.read(line.default, {})
        if (name.name, False) in self.reader.tensors:
            raise self.reader.error(name, f"{name.name} is declared after it was used or declared.")
        if not isinstance(default, Const):
            raise self.reader.error(line.default, "The default of a parameter is a number.")
        self.reader.tensors[name.name, False] = Known(name.name, (), name, default=float(default.value))

    def _range(self, name: str) -> Slot:
        if name not in self.named:
            self.named[name] = self.slots.new(fixed=Range(name))
        return self.named[name]

    def _define(self, line: Equation, last: bool) -> None:
        left = line.left
        if left is None:
            if not last:
                raise self.reader.error(line, "Only the last line may lack its 'name ='.")
            left = Name(line.right.start, line.right.start, OUTPUT)
            while left.name in self.reader.later or (left.name, False) in self.reader.tensors:
                left = Name(left.start, left.end, left.name + "_")
        target, indices = self._target(left)
        declared = self.reader.tensors.get((target.name, False))
        if declared is not None and not declared.defined:
            raise self.reader.error(left, f"{target.name} is an input already and cannot be defined.")
        if declared is not None and len(declared.axes) != len(indices):
            raise self.reader.error(left, f"{target.name} was declared with {len(declared.axes)} axes.")
        scope = self.reader.bind(indices, {})
        variables = tuple(scope[index.name] for index in indices)
        if declared is not None:
            for variable, axis in zip(variables, declared.axes, strict=True):
                self.slots.unify(variable, axis, left, f"the declared axis of {target.name}")
        body = self.reader.read(line.right, scope)
        self.reader.later.pop(target.name, None)
        known = declared or Known(target.name, tuple(v.slot for v in variables), left, defined=True)
        self.reader.tensors[target.name, False] = known
        self.order.append((known, variables, body))

    def _target(self, left: Syntax) -> tuple[Name | Entry, tuple[Name, ...]]:
        """The defined name and its indices."""
        if isinstance(left, Name) and not left.adjoint:
            return left, ()
        if not isinstance(left, Entry) or left.adjoint:
            raise self.reader.error(left, "The left side of '=' names a value: f[i,k] = ... or L = ...")
        indices = []
        for index in left.indices:
            if not isinstance(index, Name) or index.adjoint:
                raise self.reader.error(index, "An index on the left side is one letter.")
            indices.append(index)
        return left, tuple(indices)

    # --- what everything turned out to be

    def _finish(self, name: str) -> Program:
        for one, other in self.reader.unequal:
            self._match_unequal(one, other)
        self.range_sizes.read()
        ranges = self.ranges()
        self._resolve_sizes(ranges)
        tensors = {
            known.placeholder: Tensor(
                known.name, tuple(ranges[s.placeholder] for s in known.axes), known.dtype, known.role
            )
            for known in self.reader.tensors.values()
        }
        retype = Retyping(ranges, tensors)
        definitions = tuple(
            Definition(
                tensors[known.placeholder],
                tuple(Index(v.name, ranges[v.slot.placeholder]) for v in variables),
                with_clips(retype(body)),
            )
            for known, variables, body in self.order
        )
        known_ones = self.reader.tensors.values()
        inputs = tuple(tensors[k.placeholder] for k in known_ones if k.role == "input")
        self._refuse_half_static(definitions)
        parameters = tuple(
            (tensors[k.placeholder], k.default) for k in known_ones if k.default is not None and not k.static
        )
        sizes = self.range_sizes.resolve(ranges, retype, definitions)
        return Program(name, inputs, parameters, definitions, (definitions[-1].target,), sizes)

    def _refuse_half_static(self, definitions: tuple[Definition, ...]) -> None:
        """A parameter whose value shapes the formula cannot be changed in a call, so it is nothing else."""
        read = {t.name for d in definitions for t in tensors_in(d.body)}
        for known in self.reader.tensors.values():
            if known.static and known.name in read:
                raise self.reader.error(
                    known.first,
                    f"{known.name} stands in an index or a size, where it is its value, and as a symbol.",
                    "Give the two uses two names.",
                )

    def _match_unequal(self, one: Variable, other: Variable) -> None:
        """1(s <= t): the two run over one range where only one of them is known by another use."""
        a, b = one.slot.root(), other.slot.root()
        if a is not b and not (a.sized and b.sized):
            self.slots.merge(a, b)

    def ranges(self) -> dict[Range, Range]:
        """The final range of every placeholder: declared, or named after its first letter."""
        final: dict[Slot, Range] = {}
        taken = set(self.named) | {known for known, _ in self.reader.tensors}
        for slot in self.slots.all:
            root = slot.root()
            if root not in final:
                name = root.fixed.name if root.fixed else ""
                if not name:
                    name = range_name(root.letters[0] if root.letters else root.hint, taken)
                    taken.add(name)
                final[root] = Range(name, root.size)
        return {slot.placeholder: final[slot.root()] for slot in self.slots.all}

    def _resolve_sizes(self, ranges: dict[Range, Range]) -> None:
        """size(i) outside the scope of i: the one range that i runs over elsewhere, or a range's name."""
        by_name = {r.name: r for r in ranges.values()}
        for waiting, name in self.reader.sizes.items():
            meant = {ranges[v.slot.placeholder] for v in self.reader.letters.get(name.name, [])}
            if not meant and name.name in by_name:
                meant = {by_name[name.name]}
            if len(meant) != 1:
                found = " and ".join(sorted(r.name for r in meant))
                many = f"{name.name} runs over {found} in different places."
                raise self.reader.error(
                    name, many if meant else f"There is no index or range called {name.name}."
                )
            ranges[waiting] = meant.pop()
