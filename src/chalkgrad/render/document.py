"""A derivation as a document: `Derived` (and its verification) → blocks that any format can print.

Renderers consume the `Document` only: which lines are shown, in which order and with which words is
decided here and in `telling`, once, for all formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chalkgrad.derivation import Derived
from chalkgrad.expr.matrix import Named
from chalkgrad.expr.nodes import BINDERS, Expr, Index
from chalkgrad.expr.ops import walk
from chalkgrad.render.blocks import (
    Block,
    Code,
    Document,
    EquationChain,
    Errors,
    Heading,
    Lemma,
    Line,
    Math,
    Note,
    Paragraph,
    Verification,
    error_text,
)
from chalkgrad.render.telling import Teller
from chalkgrad.render.wording import Inline, Words

__all__ = [
    "Block", "Code", "Document", "EquationChain", "Heading", "Inline", "Lemma", "Line", "Math", "Note",
    "Paragraph", "Verification", "document", "error_text", "loss_name",
]  # fmt: skip


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
    loss = loss_name(derived)
    teller = Teller(derived, Words.of(derived, loss), _errors(verification), brief)
    blocks: list[Block] = [Paragraph(tuple(_introduction(derived))), *teller.stages(), *teller.summary()]
    if verification:
        worst = error_text(verification.worst)
        blocks.append(Note((f"Every line verified: worst relative error {worst}.",)))
    title = teller.words.title(_title(derived))
    return Document(title, (*blocks, *code), loss=loss, verified=verification is not None)


def _errors(verification: Verification | None) -> Errors:
    errors: Errors = {}
    for checked in verification.lines if verification else ():
        pair = (checked.before, checked.after)
        errors[pair] = max(checked.error, errors.get(pair, 0.0))
    return errors


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
