"""What a derivation is made of: frozen data, no behaviour.

The engine (`chalkgrad.rules`, `chalkgrad.diff`) makes these records while it finds the answer; the
verifier evaluates them and the renderers print them. Nothing here computes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from chalkgrad.expr.matrix import Matrix
from chalkgrad.expr.nodes import Access, Definition, Expr, Index, Program, Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """One application of one named rule: `before` equals `after`, for all free indices.

    Attributes:
        before: The line above.
        after: The line that this step writes.
        rule: The rule's name, such as "contract-indicator".
        because: The reason, one clause that a student can read.
        minor: Bookkeeping (order, arithmetic) that a brief rendering leaves out.
        milestone: A line that a brief rendering keeps.
    """

    before: Expr
    after: Expr
    rule: str
    because: str
    minor: bool = False
    milestone: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A chain of equalities for one left-hand side: lhs = ... = ... .

    Attributes:
        kind: "definition" (a forward line), "stable" (a forward line rewritten to be safe),
            "local" (a local derivative), "chain" (an adjoint by the chain rule), "closed" (an
            adjoint with other adjoints substituted), "lemma" or "matrix".
        title: What this stage finds, one short line.
        lhs: What every line of the stage equals.
        steps: The lines; each step's `before` is the line above it.
        note: Further explanation, shown under the title.
    """

    kind: str
    title: str
    lhs: Expr
    steps: tuple[Step, ...]
    note: str = ""

    @property
    def rhs(self) -> Expr:
        """The last line."""
        return self.steps[-1].after if self.steps else self.lhs


@dataclass(frozen=True, slots=True)
class Equation:
    """lhs = rhs for all values of `indices`, with its matrix form where it has one."""

    lhs: Access
    rhs: Expr
    matrix: Matrix | None = None

    @property
    def indices(self) -> tuple[Index, ...]:
        return tuple(i for i in self.lhs.indices if isinstance(i, Index))

    def __str__(self) -> str:
        return f"{self.lhs} = {self.rhs}"


@dataclass(frozen=True, slots=True)
class Backward:
    """Adjoint definitions in evaluation order: a program that computes gradients.

    Attributes:
        form: "staged" or "closed".
        definitions: Each adjoint's formula; uses the upstream gradient, inputs and forward values.
        wanted: The adjoints asked for, in order of the inputs.
        cost: Floating-point operations plus numbers read and written, every symbolic size taken as
            `chalkgrad.expr.cost.COST_SIZE`.
    """

    form: str
    definitions: tuple[Definition, ...]
    wanted: tuple[Tensor, ...]
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Derived:
    """The whole record of one derivation.

    Attributes:
        program: The forward pass that was differentiated, in A-normal form.
        wrt: The inputs differentiated by.
        upstream: The adjoint of each output (given from above); for a scalar output it is the
            loss itself and the derivation sets it to one, stated in a step.
        stages: Everything in reading order: forward, local derivatives, adjoints, lemmas, matrix
            form.
        staged: One adjoint per intermediate.
        closed: Adjoints substituted into each other and simplified.
        chosen: The cheaper of the two.
        because: Why it was chosen.
        results: One equation per requested input, from the chosen form.
        notes: What else is to be said.
        shared: The chosen form's other adjoints, which the results read by name.
    """

    program: Program
    wrt: tuple[Tensor, ...]
    upstream: tuple[Tensor, ...]
    stages: tuple[Stage, ...]
    staged: Backward
    closed: Backward
    chosen: Backward
    because: str
    results: tuple[Equation, ...]
    notes: tuple[str, ...] = field(default=())
    shared: tuple[Equation, ...] = field(default=())
