"""The derivation checker: a derivation on paper, line by line, against numbers.

A `.chalk` text holds a forward pass (definitions, as `chalkgrad.formula` reads them) and claims about
its derivatives. Every claim is tested at random points; the first false one stops the check, with
the reason and the line that it should be. The language is on one page: docs/chalk.md.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from chalkgrad.diagnose.claims import Claim, Judge, read_claim
from chalkgrad.diagnose.corrections import (
    conflict_cause,
    correct_conflict,
    correct_value,
    explain_conflict,
    worst_element,
)
from chalkgrad.diagnose.derived import derived_correction, derived_left
from chalkgrad.diagnose.derived_lines import derived_cause
from chalkgrad.diagnose.inherited import FalseLine, inherits
from chalkgrad.errors import ChalkgradError, FormulaError
from chalkgrad.expr.grammar import parse
from chalkgrad.expr.nodes import Program
from chalkgrad.expr.syntax import Declaration, Entry, Equation, Name, Parameter, RangeSize, Statement
from chalkgrad.expr.tokens import error
from chalkgrad.frontend.inference import RangeConflictError
from chalkgrad.frontend.text_formula import FormulaReader

WIDTH = 80

MARKS = {"definition": "·", "ok": "✓", "false": "✗", "inherited": "↳", "not checked": " "}


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """One line of a derivation.

    Attributes:
        line: Its number, from 1.
        source: As written, on one line.
        status: "definition", "ok", "false"; after the first false line "inherited" if it only passes on
            that line's error, and "not checked" otherwise.
        explanation: Why it is false.
        should_be: The line that holds in its place, when one was found.
        error: The worst relative error over all test points; None where nothing was evaluated.
        cause: Why it is false, as a code of the same table as for code (`CAUSES`).
        follows: The number of the false line whose error it inherits.
    """

    line: int
    source: str
    status: str
    explanation: str = ""
    should_be: str = ""
    error: float | None = None
    cause: str = ""
    follows: int | None = None


@dataclass(frozen=True, slots=True)
class ChalkReport:
    """The result of checking a derivation; `str()` of it is the report."""

    name: str
    lines: tuple[ClaimResult, ...]

    @property
    def ok(self) -> bool:
        """Whether no line is false."""
        return all(line.status != "false" for line in self.lines)

    @property
    def false(self) -> ClaimResult | None:
        """The first false line."""
        return next((line for line in self.lines if line.status == "false"), None)

    def __str__(self) -> str:
        digits = max((len(str(line.line)) for line in self.lines), default=1)
        return "\n".join(
            [self.name, *(part for line in self.lines for part in _shown(line, digits)), "", _verdict(self)]
        )


def check_chalk(text: str, name: str = "derivation") -> ChalkReport:
    """Checks each claim of a derivation against the forward pass that it defines.

    Args:
        text: Definitions and claims, see docs/chalk.md.
        name: What the report calls the text, usually the file's name.

    Raises:
        FormulaError: With a caret and the line's number, for text that cannot be read: outside the
            grammar, an unknown name, a wrong number of indices.
        UnsupportedError: Likewise, for a function that is not in the table.
        VerificationError: If the forward pass has no point at which it can be evaluated.

    Example:
        >>> report = check_chalk("L = sum(i, x[i]^2)\\ndL/dx[i] = x[i]")
        >>> report.ok, report.false.should_be
        (False, 'dL/dx[i] = 2 * x[i]')
    """
    try:
        return _check(text, name)
    except ChalkgradError as unreadable:
        if unreadable.source != text or unreadable.position is None:
            raise
        raise _numbered(unreadable, _line(text, unreadable.position)) from None


def _check(text: str, name: str) -> ChalkReport:
    forward, claims = _split(parse(text))
    if not any(isinstance(s, Equation) for s in forward):
        raise FormulaError(
            "There is no forward pass here: no line defines a value.",
            hint="Begin with a definition such as f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k].",
            source=text,
            position=0,
        )
    program = FormulaReader(text).program(tuple(forward), name)
    _refuse_code_names(text, program, forward)
    judge = Judge(program)
    results = [
        ClaimResult(_line(text, s.start), _one_line(text[s.start : s.end]), "definition")
        for s in forward
        if isinstance(s, Equation)
    ]
    false: list[FalseLine] = []
    for claim in claims:
        line, written = _line(text, claim.start), _one_line(text[claim.start : claim.end])
        result = _later_line(line, written, judge, false) if false else _judge_line(line, written, judge)
        if result.status == "false":
            false.append(FalseLine(line, written, result.should_be, _read(written, judge)))
        results.append(result)
    return ChalkReport(name, tuple(sorted(results, key=lambda r: r.line)))


def _refuse_code_names(text: str, program: Program, forward: list[Statement]) -> None:
    """dW = ..., as in code, would be read as a new value and never be checked."""
    known = {tensor.name for tensor in program.tensors()}
    for statement in forward:
        left = statement.left if isinstance(statement, Equation) else None
        if isinstance(left, Name | Entry) and left.name[0] in "d∂" and left.name[1:] in known:
            of = left.name[1:]
            raise error(
                text,
                left,
                f"{left.name} would be a new value here, not the derivative of the loss by {of}.",
                f"A claim about the derivative begins with dL/d{of}.",
            )


def _split(statements: tuple[Statement, ...]) -> tuple[list[Statement], list[Equation]]:
    """The forward pass and the claims: a value's first equation defines it, any other claims."""
    forward: list[Statement] = []
    claims: list[Equation] = []
    defined: set[str] = set()
    for statement in statements:
        if isinstance(statement, Declaration | Parameter | RangeSize):
            forward.append(statement)
            continue
        left = statement.left
        if isinstance(left, Name | Entry) and not left.adjoint and left.name not in defined:
            defined.add(left.name)
            forward.append(statement)
        else:
            claims.append(statement)
    return forward, claims


def _judge_line(line: int, written: str, judge: Judge) -> ClaimResult:
    try:
        claim = read_claim(written, judge.program)
        outcome = judge.check(claim)
    except RangeConflictError as conflict:
        should_be = correct_conflict(written, conflict, judge) or derived_left(written, judge) or ""
        cause = conflict_cause(written, should_be)
        return ClaimResult(line, written, "false", explain_conflict(conflict), should_be, cause=cause)
    except ChalkgradError as unreadable:
        raise _numbered(unreadable, line) from None
    if outcome.holds and not claim.loose:
        return ClaimResult(line, written, "ok", error=outcome.error)
    correction = correct_value(claim, judge)
    if correction is not None:
        return ClaimResult(
            line, written, "false", correction.why, correction.text, outcome.error, correction.cause
        )
    equal = None if claim.loose else judge.diagonal(claim)
    if equal is not None:
        one, two = equal
        why = f"it holds for {one.name} = {two.name} alone, which is the diagonal"
        right = derived_correction(claim, judge)
        should_be = right.text if right is not None else ""
        return ClaimResult(line, written, "false", why, should_be, outcome.error, "diagonal_only")
    derived = None if claim.loose else derived_cause(claim, judge)
    if derived is not None:
        cause, why, should_be = derived
        return ClaimResult(line, written, "false", why.rstrip("."), should_be, outcome.error, cause)
    why = f"{_loose(claim)}{worst_element(outcome)}"
    derivation = derived_correction(claim, judge)
    if derivation is None:
        return ClaimResult(line, written, "false", why, error=outcome.error, cause="unknown")
    return ClaimResult(
        line, written, "false", derivation.why or why, derivation.text, outcome.error, derivation.cause
    )


def _later_line(line: int, written: str, judge: Judge, false: list[FalseLine]) -> ClaimResult:
    """A line after the first false one: does it only pass on the error?"""
    claim = _read(written, judge)
    if claim is not None and not claim.loose and judge.check(claim).holds:
        return ClaimResult(line, written, "not checked")
    follows = inherits(written, claim, false, judge)
    if follows is None:
        return ClaimResult(line, written, "not checked")
    return ClaimResult(line, written, "inherited", f"follows from line {follows}", follows=follows)


def _read(written: str, judge: Judge) -> Claim | None:
    """The claim of a line; None where it cannot be read as one."""
    try:
        return read_claim(written, judge.program)
    except ChalkgradError:
        return None


def _loose(claim: Claim) -> str:
    """What is said of indices that only the right side has."""
    names = " and ".join(i.name for i in claim.loose)
    return f"the right side still depends on {names}, the left side does not; " if names else ""


def _numbered(problem: ChalkgradError, line: int) -> ChalkgradError:
    """The same error with the line's number in front."""
    kind = FormulaError if isinstance(problem, FormulaError) else type(problem)
    return kind(
        f"line {line}: {problem.message}",
        hint=problem.hint,
        source=problem.source,
        position=problem.position,
        length=problem.length,
    )


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _one_line(written: str) -> str:
    """The statement without comments and line breaks."""
    return " ".join(re.sub(r"#[^\n]*", "", written).split())


# --- the report ------------------------------------------------------------------------------------


def _shown(result: ClaimResult, digits: int) -> list[str]:
    """A line of the derivation as lines of the report."""
    head = f"  {MARKS[result.status]} {result.line:>{digits}}  "
    note = "not checked" if result.status == "not checked" else ""
    if result.status == "false":
        note = f"[{result.cause}]"
    if result.status == "inherited":
        note = f"inherits the error of line {result.follows}"
    if result.status == "ok" and result.error is not None:
        note = f"{result.error:.0e}"
    lines = _wrapped(result.source, head)
    if note and len(lines[-1]) + len(note) + 2 <= WIDTH:
        lines[-1] += note.rjust(WIDTH - len(lines[-1]))
    elif result.status in ("inherited", "false"):
        lines.append(note.rjust(WIDTH))
    if result.status == "false":
        indent = " " * len(head)
        lines += _wrapped(f"why: {result.explanation}.", indent)
        lines += _wrapped(f"should be: {result.should_be}", indent) if result.should_be else []
    return lines


def _wrapped(text: str, head: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * (len(head) + 2), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _verdict(report: ChalkReport) -> str:
    right = [line for line in report.lines if line.status == "ok"]
    false = report.false
    if false is None:
        if not right:
            return "There are no claims to check, only definitions."
        worst = max(line.error or 0.0 for line in right)
        what = "The claim holds" if len(right) == 1 else f"All {len(right)} claims hold"
        return f"{what}; the worst relative error is {worst:.0e}."
    later = sum(line.status == "not checked" for line in report.lines)
    before = f"{len(right)} {'claim holds' if len(right) == 1 else 'claims hold'} before it"
    passed_on = sum(line.status == "inherited" for line in report.lines)
    after = f", {passed_on} after it only inherit its error" if passed_on else ""
    after += f", {later} after it not checked" if later else ""
    return textwrap.fill(f"Line {false.line} is false; {before}{after}.", WIDTH)
