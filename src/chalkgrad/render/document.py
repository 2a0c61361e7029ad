"""A derivation as a document: `Derived` (and its verification) → blocks that any format can print.

Renderers consume the `Document` only: which lines are shown, in which order and with which words is
decided here, once, for all formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chalkgrad.derivation import Derived, Equation, Stage, Step
from chalkgrad.expr.matrix import Matrix, Named
from chalkgrad.expr.nodes import BINDERS, Expr, Index
from chalkgrad.expr.ops import walk

Math = Expr | Matrix
Inline = str | Expr | Matrix
"""A run of text or a formula within a sentence."""


class Checked(Protocol):
    """One equality that was evaluated: before = after, up to a relative error."""

    @property
    def before(self) -> Expr: ...
    @property
    def after(self) -> Expr: ...
    @property
    def error(self) -> float: ...


class Verification(Protocol):
    """What a renderer needs to know about the numbers behind a derivation."""

    @property
    def lines(self) -> Sequence[Checked]:
        """Every equality that was evaluated."""

    @property
    def worst(self) -> float:
        """The largest relative error of any line."""


Errors = dict[tuple[Expr, Expr], float]
"""The relative error of each evaluated equality."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chain: `= value`, why it equals the line above, and how well that verified."""

    value: Math
    reason: str = ""
    rule: str = ""
    error: float | None = None


@dataclass(frozen=True, slots=True)
class Heading:
    """A section title; level 1 is the document's parts, level 2 one finding."""

    text: str
    level: int = 1


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence with formulas in it."""

    parts: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class EquationChain:
    """lhs = ... = ... , a line each."""

    lhs: Math
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Lemma:
    """A fact that the derivation found and uses."""

    title: str
    chain: EquationChain


@dataclass(frozen=True, slots=True)
class Code:
    """Source in a language."""

    language: str
    source: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A remark: an assumption, a convention, a choice."""

    parts: tuple[Inline, ...]


Block = Heading | Paragraph | EquationChain | Lemma | Code | Note


@dataclass(frozen=True, slots=True)
class Document:
    """A title and blocks in reading order.

    Attributes:
        title: One line.
        blocks: What to print.
        loss: The name of what is differentiated.
        verified: Whether errors are shown.
    """

    title: str
    blocks: tuple[Block, ...]
    loss: str = "L"
    verified: bool = False


SECTIONS = {
    "definition": "Forward pass",
    "stable": "Forward pass",
    "local": "Backward pass",
    "chain": "Backward pass",
    "closed": "Closed form",
}
"""The section that a stage opens. Lemmas and matrix forms stay in the section they appear in."""


def document(
    derived: Derived,
    *,
    verification: Verification | None = None,
    brief: bool = False,
    code: Sequence[Code] = (),
) -> Document:
    """The derivation as blocks.

    Args:
        derived: What the engine found.
        verification: Its numerical errors, to be shown beside the lines.
        brief: Only milestones, the first and last line of each chain, and the results.
        code: Emitted source to append.
    """
    blocks: list[Block] = [Paragraph(tuple(_introduction(derived)))]
    section = ""
    errors: Errors = {}
    for checked in verification.lines if verification else ():
        pair = (checked.before, checked.after)
        errors[pair] = max(checked.error, errors.get(pair, 0.0))
    for stage in derived.stages:
        title = SECTIONS.get(stage.kind, section or "Backward pass")
        if title != section:
            blocks.append(Heading(title))
            section = title
        blocks += _stage_blocks(stage, errors, brief)
    blocks += _summary(derived, verification, errors)
    blocks += code
    return Document(
        _title(derived), tuple(blocks), loss=loss_name(derived), verified=verification is not None
    )


def loss_name(derived: Derived) -> str:
    """The name of the scalar that is differentiated: the output's if it is one, else L."""
    outputs = derived.program.outputs
    return outputs[0].name if len(outputs) == 1 and not outputs[0].axes else "L"


def _title(derived: Derived) -> str:
    names = ", ".join(t.name for t in derived.wrt)
    name = derived.program.name.replace("_", " ")
    return f"The backward pass of {name}, by {names}" if name else f"The backward pass, by {names}"


def _introduction(derived: Derived) -> Iterable[Inline]:
    """Which letter runs over what, and what is given from above."""
    letters: dict[str, list[str]] = {}
    for definition in derived.program.definitions:
        for index in _indices(definition.body, definition.indices):
            found = letters.setdefault(index.range.name, [])
            if index.name not in found and len(found) < 3:
                found.append(index.name)
    runs = [f"{', '.join(names)} over {of}" for of, names in letters.items()]
    yield f"Indices: {'; '.join(runs)}. " if runs else ""
    given = [t for t in derived.upstream if t.axes]
    for place, tensor in enumerate(given):
        yield " and " if place else "Given from above: "
        yield Named(tensor)
    if given:
        yield "."
    else:
        yield Named(derived.upstream[0]) if derived.upstream else ""
        yield " = 1: the output is the loss itself." if derived.upstream else ""


def _indices(body: Expr, own: tuple[Index, ...]) -> Iterable[Index]:
    yield from own
    for node in walk(body):
        if isinstance(node, BINDERS):
            yield from node.indices


def _stage_blocks(stage: Stage, errors: Errors, brief: bool) -> Iterable[Block]:
    chain = EquationChain(stage.lhs, tuple(_lines(stage, errors, brief)))
    if stage.kind == "lemma":
        named = stage.title.lower() not in ("lemma", "a lemma")
        yield Lemma(stage.title if named else "", chain)
    elif stage.kind == "definition" and len(chain.lines) == 1:
        # A forward line speaks for itself: it needs no heading, and "by definition" says nothing.
        (line,) = chain.lines
        said = "" if line.reason == "by definition" else line.reason
        yield EquationChain(chain.lhs, (replace(line, reason=said),))
    else:
        if stage.title:
            yield Heading(stage.title, level=2)
        yield chain
    if stage.note and not brief:
        yield Note((stage.note,))


def _lines(stage: Stage, errors: Errors, brief: bool) -> Iterable[Line]:
    """The lines that are shown; one that stands for several steps has the worst of their errors."""
    if stage.steps and stage.steps[0].before is not stage.lhs:
        first = stage.steps[0].before
        yield Line(first, error=errors.get((stage.lhs, first)))
    shown = _shown(stage.steps, brief)
    passed: list[float] = []
    for place, step in enumerate(stage.steps):
        if (step.before, step.after) in errors:
            passed.append(errors[step.before, step.after])
        if place in shown:
            yield Line(step.after, readable(step.because), step.rule, max(passed, default=None))
            passed = []


PLAIN_INDICES = re.compile(r"(?<![\w′])([^\W\d_]+\d*)\[((?:[a-z]′*)(?:, ?[a-z]′*)*)\]")
PLAIN_ADJOINT = re.compile(r"\bd([^\W\d_]+)/d([^\W\d_]\w*)")


def readable(reason: str) -> str:
    """Formulas in a reason as people write them: p[i,k] becomes p_ik, dL/dp becomes ∂L/∂p.

    >>> readable("dL/df[i,k] put in; p[i,y[i]] = 1")
    '∂L/∂f_ik put in; p[i,y_i] = 1'
    """
    reason = PLAIN_ADJOINT.sub(r"∂\1/∂\2", reason).replace(" == ", " = ")
    return PLAIN_INDICES.sub(lambda m: f"{m[1]}_{m[2].replace(',', '').replace(' ', '')}", reason)


def _shown(steps: tuple[Step, ...], brief: bool) -> set[int]:
    """Which steps keep a line of their own. The last one always does: it is the answer."""
    if not steps:
        return set()
    last = len(steps) - 1
    if brief:
        return {0, last} | {n for n, s in enumerate(steps) if s.milestone}
    return {last} | {n for n, s in enumerate(steps) if s.milestone or not s.minor}


def _summary(derived: Derived, verification: Verification | None, errors: Errors) -> Iterable[Block]:
    yield Heading("Result")
    for equation in _backward_pass(derived):
        yield from _result(equation, errors)
    form = f"The {derived.chosen.form} form was chosen"
    yield Note((f"{form}: {derived.because}." if derived.because else f"{form}.",))
    lemmas = [stage for stage in derived.stages if stage.kind == "lemma"]
    if lemmas:
        parts: list[Inline] = ["Lemmas used: "]
        for place, stage in enumerate(lemmas):
            parts += [", " if place else "", stage.lhs, " = ", stage.rhs]
        yield Note(tuple(parts))
    for note in derived.notes:
        yield Note((note,))
    if verification:
        yield Note((f"Every line verified: worst relative error {error_text(verification.worst)}.",))


def _backward_pass(derived: Derived) -> Iterable[Equation]:
    """The chosen form in the order of evaluation: what the results need, and the results."""
    results = {equation.lhs.tensor: equation for equation in derived.results}
    for definition in derived.chosen.definitions:
        if definition.target not in results:
            yield Equation(definition.access, definition.body)
        else:
            yield results.pop(definition.target)
    yield from results.values()


def _result(equation: Equation, errors: Errors) -> Iterable[Block]:
    line = Line(equation.rhs, error=errors.get((equation.lhs, equation.rhs)))
    yield EquationChain(equation.lhs, (line,))
    if equation.matrix is not None:
        yield EquationChain(Named(equation.lhs.tensor), (Line(equation.matrix, "in matrix form"),))


def error_text(error: float) -> str:
    """A relative error in a form that stays narrow: 2e-16, 0."""
    return "0" if error == 0 else f"{error:.0e}".replace("e-0", "e-")
