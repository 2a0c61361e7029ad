"""How a derivation is told: stages become headings and chains, and some lines go without saying."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from chalkgrad.derivation import Derived, Equation, Stage, Step
from chalkgrad.expr.matrix import Named
from chalkgrad.expr.nodes import Expr
from chalkgrad.render.abbreviate import abbreviate
from chalkgrad.render.blocks import Block, EquationChain, Errors, Heading, Lemma, Line, Note
from chalkgrad.render.math_text import math_text
from chalkgrad.render.wording import Inline, Words

SECTIONS = {
    "definition": "Forward pass",
    "stable": "Forward pass",
    "local": "Backward pass",
    "chain": "Backward pass",
    "closed": "Closed form",
}
"""The section that a stage opens. Lemmas and matrix forms stay in the section they appear in."""


OF_A_VALUE = ("local", "part", "adjoint")
"""What a chain-rule line is followed by: the stages that work it out."""

BACKBONE = ("definition", "chain", "adjoint", "lemma", "matrix")
"""The stages that a brief rendering keeps even where none of their lines is a milestone."""


@dataclass(slots=True)
class Teller:
    """Stages as blocks: headings, which lines are shown, and what they say."""

    derived: Derived
    words: Words
    errors: Errors
    brief: bool

    def stages(self) -> Iterable[Block]:
        section = ""
        opened: Stage | None = None
        told = list(self._told())
        for place, stage in enumerate(told):
            # A lemma belongs to what it is used for.
            use = next((s for s in told[place:] if s.kind != "lemma"), stage)
            title = SECTIONS.get(use.kind, section or "Backward pass")
            if title != section:
                yield Heading(title)
                section = title
            if stage.kind == "chain":
                opened = stage
            elif stage.kind not in OF_A_VALUE:
                opened = None
            yield from self._stage(stage, opened)

    def _told(self) -> Iterable[Stage]:
        """The stages that are shown; briefly, a chain-rule line runs on to its result."""
        if not self.brief:
            yield from self.derived.stages
            return
        ends = {s.lhs: s for s in self.derived.stages if s.kind == "adjoint"}
        chains = {s.lhs for s in self.derived.stages if s.kind == "chain"}
        for stage in self.derived.stages:
            if stage.kind == "chain" and stage.lhs in ends:
                yield replace(stage, steps=(*stage.steps, *ends[stage.lhs].steps))
            elif stage.kind == "adjoint" and stage.lhs in chains:
                continue
            elif stage.kind in BACKBONE or any(s.milestone for s in stage.steps):
                yield stage

    def _stage(self, stage: Stage, opened: Stage | None) -> Iterable[Block]:
        lines = list(self._lines(stage))
        if stage.kind == "lemma":
            yield self._lemma(stage, lines)
        elif stage.kind == "definition" and len(lines) == 1:
            # A forward line speaks for itself: it needs no heading, and "by definition" says nothing.
            (line,) = lines
            if line.reason == "by definition":
                line = replace(line, reason="", parts=())
            yield EquationChain(stage.lhs, (line,))
        else:
            inside = opened is not None and stage is not opened and not self.brief
            if stage.title and not (self.brief and stage.kind in ("chain", "adjoint")):
                yield Heading(self.words.title(stage.title), level=3 if inside else 2)
            if inside and opened and stage.lhs is opened.lhs and lines and lines[0].value is opened.rhs:
                # The chain rule's line stands above already.
                lines = lines[1:] or lines
            yield from self._chain(EquationChain(stage.lhs, tuple(lines)))
        if stage.note and not self.brief:
            yield Note(self.words.parts(stage.note))

    def _lemma(self, stage: Stage, lines: list[Line]) -> Lemma:
        """The statement, and its proof where it takes more than the statement itself."""
        unnamed = stage.title.lower() in ("lemma", "a lemma", f"{stage.lhs} = {stage.rhs}".lower())
        if not unnamed:
            return Lemma(self.words.parts(stage.title), EquationChain(stage.lhs, tuple(lines)))
        statement: tuple[Inline, ...] = (stage.lhs, " = ", stage.rhs)
        if len(lines) == 1:
            statement = (*statement, ": ", *lines[0].parts)
        proof = () if self.brief or len(lines) == 1 else tuple(lines)
        return Lemma(statement, EquationChain(stage.lhs, proof))

    def _chain(self, chain: EquationChain) -> Iterable[Block]:
        """The lines, long ones with names for what they share."""
        values = [line.value for line in chain.lines if isinstance(line.value, Expr)]
        shorter, names = abbreviate(values, self._taken())
        for abbreviation in names:
            yield Note(("Write ", abbreviation.name, " for ", abbreviation.value, "."))
        new = iter(shorter)
        lines = (replace(n, value=next(new)) if isinstance(n.value, Expr) else n for n in chain.lines)
        yield EquationChain(chain.lhs, tuple(lines))

    def _taken(self) -> set[str]:
        program = self.derived.program
        names = {t.name for t in (*program.inputs, *(p for p, _ in program.parameters))} | {self.words.loss}
        for d in program.definitions:
            names |= {d.target.name, *(r.name for r in d.target.axes)}
        return names | {r.name for t in program.inputs for r in t.axes}

    def _lines(self, stage: Stage) -> Iterable[Line]:
        """The lines that are shown; one that stands for several steps has the worst of their errors."""
        before = ""
        if stage.steps and stage.steps[0].before is not stage.lhs:
            first = stage.steps[0].before
            before = math_text(first, self.words.loss)
            yield Line(first, error=self.errors.get((stage.lhs, first)))
        shown = _shown(stage.steps, self.brief)
        passed: list[float] = []
        since = 0
        for place, step in enumerate(stage.steps):
            if (step.before, step.after) in self.errors:
                passed.append(self.errors[step.before, step.after])
            if place not in shown:
                continue
            written = math_text(step.after, self.words.loss)
            if written == before and not step.milestone:
                continue  # only its order in memory changed: on paper it is the same line
            parts = self.words.parts(_because(stage.steps[since:place], step))
            yield Line(step.after, self.words.plain(parts), step.rule, max(passed, default=None), parts)
            before, passed, since = written, [], place + 1

    def summary(self) -> Iterable[Block]:
        yield Heading("Result")
        for equation in backward_pass(self.derived):
            line = Line(equation.rhs, error=self.errors.get((equation.lhs, equation.rhs)))
            yield from self._chain(EquationChain(equation.lhs, (line,)))
            if equation.matrix is not None:
                line = Line(equation.matrix, IN_MATRIX_FORM, parts=(IN_MATRIX_FORM,))
                yield EquationChain(Named(equation.lhs.tensor), (line,))
        yield Note((self._choice(),))
        lemmas = [stage for stage in self.derived.stages if stage.kind == "lemma"]
        if lemmas:
            parts: list[Inline] = ["Lemmas used: "]
            for place, stage in enumerate(lemmas):
                parts += [", " if place else "", stage.lhs, " = ", stage.rhs]
            yield Note(tuple(parts))
        for note in self.derived.notes:
            yield Note(self.words.parts(note))

    def _choice(self) -> str:
        derived = self.derived
        if [d.body for d in derived.staged.definitions] == [d.body for d in derived.closed.definitions]:
            return "Substituting adjoints saves nothing here: the staged form is the closed form."
        form = f"The {derived.chosen.form} form was chosen"
        return f"{form}: {derived.because}." if derived.because else f"{form}."


IN_MATRIX_FORM = "in matrix form"


def _because(folded: tuple[Step, ...], step: Step) -> str:
    """The step's reason; where it only tidies up after work that is not shown, the reason of that."""
    work = [s.because for s in folded if not s.minor]
    return work[-1] if step.minor and work else step.because


def _shown(steps: tuple[Step, ...], brief: bool) -> set[int]:
    """Which steps keep a line of their own. The last one always does: it is the answer."""
    if not steps:
        return set()
    last = len(steps) - 1
    if brief:
        return {0, last} | {n for n, s in enumerate(steps) if s.milestone}
    return {last} | {n for n, s in enumerate(steps) if s.milestone or not s.minor}


def backward_pass(derived: Derived) -> Iterable[Equation]:
    """The chosen form in the order of evaluation: what the results need, and the results."""
    results = {equation.lhs.tensor: equation for equation in (*derived.shared, *derived.results)}
    for definition in derived.chosen.definitions:
        if definition.target not in results:
            yield Equation(definition.access, definition.body)
        else:
            yield results.pop(definition.target)
    yield from results.values()
