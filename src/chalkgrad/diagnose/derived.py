"""What the engine derives in a false claim's place, where no small change of the line makes it true.

The engine does not judge here: its line is shown only if it holds at the same random points as any
other, by the numerical derivatives of `claims`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.claims import LOSS, Claim, Judge, downstream, read_claim
from chalkgrad.diagnose.corrections import Correction
from chalkgrad.diagnose.edits import equation, right_text, shown, terms, walk_syntax, with_right
from chalkgrad.diff import derive
from chalkgrad.diff.simplify import Knowledge, simplify
from chalkgrad.diff.tangent import jacobian_program
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.arithmetic import multiply
from chalkgrad.expr.nodes import Access, Definition, Expr, Index, Indicator, Partial, Program, Tensor
from chalkgrad.expr.ops import free_indices, inline, substitute, tensors_in
from chalkgrad.expr.syntax import Terms
from chalkgrad.expr.text import text


def derived_correction(claim: Claim, judge: Judge) -> Correction | None:
    """The derived line, and which of its terms the claim lacks, if that is all; None where the left
    side is no derivative, or no rule covers it."""
    line = _derived_line(claim, judge)
    if line is None:
        return None
    missing = _missing_term(claim, line, judge)
    return Correction(line.text, missing, "missing_term" if missing else "unknown")


def derived_left(text: str, judge: Judge) -> str | None:
    """The derived line for the left side of a line whose right side has no meaning."""
    left = shown(text, equation(text).left or equation(text).right)
    try:
        line = _derived_line(read_claim(f"{left} = 0", judge.program), judge)
    except ChalkgradError:
        return None
    return None if line is None else line.text


def _derived_line(claim: Claim, judge: Judge) -> Claim | None:
    """The shortest of the engine's lines that holds."""
    lines = (with_right(claim, right) for right in sorted(_derived(claim, judge.program), key=len))
    return next((found for line in lines if (found := _holding(line, judge)) is not None), None)


def _holding(line: str, judge: Judge) -> Claim | None:
    """The line as a claim, if it can be read and is true."""
    try:
        claim = read_claim(line, judge.program)
        return claim if not claim.loose and judge.check(claim).holds else None
    except ChalkgradError:
        return None


def _missing_term(claim: Claim, right: Claim, judge: Judge) -> str:
    """The one term of the right line without which it says what was claimed; else the empty string."""
    for node in walk_syntax(right.tree.right):
        if isinstance(node, Terms):
            for position, (_, term) in enumerate(node.terms):
                shorter = terms(right.text, node, drop=position)
                whole = right.text[right.tree.right.start : node.start] + shorter
                whole += right.text[node.end : right.tree.right.end]
                if _holding(f"{whole} = {right_text(claim)}", judge) is not None:
                    return f"the term {shown(right.text, term)} is missing"
    return ""


def _derived(claim: Claim, program: Program) -> list[str]:
    """Right sides for the claim's left side; none where it is no derivative, or no rule covers it."""
    try:
        match claim.left:
            case Access(tensor, ()) if tensor is _loss(program).target.adjoint:
                return ["1"]
            case Partial(Access(tensor, left), Access(by, right)) if tensor is by:
                pairs = zip(left, right, strict=True)
                return [text(multiply(tuple(Indicator("==", b, a) for a, b in pairs if a is not b)))]
            case Access(tensor, indices) if tensor.role == "adjoint":
                return [text(body) for body in _gradient(tensor, indices, program)]
            case Partial(body, wrt):
                return [text(_jacobian(body, wrt, program, claim.indices))]
    except ChalkgradError:
        pass
    return []


def _loss(program: Program) -> Definition:
    """What the derivatives dL/d… are of."""
    return program.definition(LOSS) or program.definitions[-1]


def _gradient(adjoint: Tensor, at: tuple[Expr, ...], program: Program) -> Iterator[Expr]:
    """dL/dt[at]: from the staged form, the closed one, and with every made-up name written out."""
    loss = _loss(program)
    of = next(t for t in program.tensors() if t.dtype == "float" and t.adjoint is adjoint)
    record = derive(_between(program, of, loss), (of.name,))
    known = set(program.tensors()) | {t.adjoint for t in program.tensors() if t.dtype == "float"}
    for backward in (record.staged, record.closed):
        found = next(d for d in backward.definitions if d.target is adjoint)
        mapping = {f: a for f, a in zip(found.indices, at, strict=True) if isinstance(f, Index)}
        yield substitute(found.body, mapping)
        made_up = (*record.program.definitions, *backward.definitions)
        yield substitute(_written_out(found.body, made_up, known, record), mapping)


def _written_out(
    body: Expr, definitions: tuple[Definition, ...], known: set[Tensor], record: Derived
) -> Expr:
    """The body with every value that the user did not name replaced by its definition."""
    for d in reversed(definitions):
        if d.target not in known and d.target in tensors_in(body):
            body = inline(body, d.access, d.body)
    return simplify(body, Knowledge.of(replace(record.program, definitions=())))[0]


def _jacobian(body: Expr, wrt: Access, program: Program, letters: tuple[Index, ...]) -> Expr:
    """d body / d wrt with the claim's own indices."""
    own = isinstance(body, Access) and any(d.target is body.tensor for d in program.definitions)
    if own:
        assert isinstance(body, Access)
        target = next(d for d in program.definitions if d.target is body.tensor)
        actual = body.indices
    else:
        letters = tuple(i for i in letters if i in free_indices(body))
        target = Definition(Tensor("value", tuple(i.range for i in letters), "float", "value"), letters, body)
        program = replace(program, definitions=(*program.definitions, target))
        actual = letters
    record = derive(_between(program, wrt.tensor, target), (wrt.tensor.name,), form="closed", given=True)
    found = jacobian_program(record.program, record.closed, record.wrt[0], "jacobian").definitions[-1]
    places = zip(found.indices, (*actual, *wrt.indices), strict=True)
    result = simplify(substitute(found.body, dict(places)), Knowledge.of(record.program))[0]
    return result if own else inline(result, target.access, target.body)


def _between(program: Program, of: Tensor, target: Definition) -> Program:
    """The forward pass from `of` to a value: what does not depend on `of` is given."""
    until = program.definitions[: program.definitions.index(target) + 1]
    definitions = downstream(until, of)
    if target not in definitions:
        definitions = (*definitions, target)
    inside = {d.target for d in definitions}
    read = {t for d in definitions for t in tensors_in(d.body)} | {of}
    given = tuple(t for t in program.tensors() if t in read - inside and t.role != "parameter")
    return replace(program, inputs=given, definitions=definitions, outputs=(target.target,))
