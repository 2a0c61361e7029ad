"""What a false line should have been: small edits of its text, each tested by numbers.

A correction is proposed only when the edited line holds at every test point, and the first that
holds is reported, in the order: a wrong index, a missing sum, a sign, a constant factor, a size, an
indicator, a mean for a sum, a comparison, a part left out or too many, a different array.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalkgrad.diagnose.claims import Claim, Judge, Outcome, read_claim
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.grammar import parse
from chalkgrad.expr.syntax import (
    Binder,
    Condition,
    Entry,
    Equation,
    Factors,
    Name,
    Negative,
    Syntax,
    Terms,
)
from chalkgrad.frontend.inference import RangeConflictError
from chalkgrad.frontend.reader import parts

MAX_TRIES = 400
"""Edited lines tested before giving up."""

MAX_SLIPS = 3
"""Wrong indices in one line that are corrected together."""

PEOPLE = {"N": "the observations N", "D": "the features D", "K": "the classes K"}
"""What the conventional ranges are called."""

CONSTANTS = (2, 3, 4)


@dataclass(frozen=True, slots=True)
class Correction:
    """A line that holds, and what was wrong with the one that was written."""

    text: str
    why: str


def range_words(name: str) -> str:
    """A range as a person says it."""
    return PEOPLE.get(name, name)


# --- wrong ranges ----------------------------------------------------------------------------------


def explain_conflict(conflict: RangeConflictError) -> str:
    """Which index runs over what, why, and what its place expects."""
    first, second = conflict.first, conflict.second
    because = ""
    if first is not None and conflict.source is not None:
        because = f" (from {_shown(conflict.source, first)})"
    return (
        f"the index {conflict.index} runs over {range_words(conflict.has.name)}{because}, "
        f"but {conflict.axis} runs over {range_words(conflict.wants.name)}"
        + (f" in {_shown(conflict.source, second)}" if conflict.source else "")
    )


def correct_conflict(text: str, conflict: RangeConflictError, judge: Judge) -> str | None:
    """The line with indices of the right range, if that makes it true."""
    waiting = [(text, conflict, 1)]
    while waiting:
        line, wrong, slips = waiting.pop(0)
        for edited in _index_edits(line, wrong, judge):
            try:
                if judge.check(read_claim(edited, judge.program)).holds:
                    return edited
            except RangeConflictError as next_one:
                if slips < MAX_SLIPS:
                    waiting.append((edited, next_one, slips + 1))
            except ChalkgradError:
                continue
    return None


def _index_edits(line: str, wrong: RangeConflictError, judge: Judge) -> Iterator[str]:
    """The line with the wrong index replaced where it stands, then in its first use."""
    arrays = {t.name for t in judge.program.tensors()}
    letters = [n.name for n in _names(_equation(line)) if n.name not in arrays and n.name != wrong.index]
    for use in (wrong.second, wrong.first):
        if use is None:
            continue
        for name in _names(use):
            if name.name == wrong.index:
                for letter in dict.fromkeys(letters):
                    yield _replaced(line, name, letter)


# --- false values ----------------------------------------------------------------------------------


def correct_value(claim: Claim, judge: Judge) -> Correction | None:
    """The simplest edit of a false claim's right side that makes it true."""
    tries = 0
    for text, why in _hypotheses(claim, judge):
        tries += 1
        if tries > MAX_TRIES:
            return None
        try:
            edited = read_claim(text, judge.program)
            if not edited.loose and judge.check(edited).holds:
                return Correction(text, why)
        except ChalkgradError:
            continue
    return None


def _hypotheses(claim: Claim, judge: Judge) -> Iterator[tuple[str, str]]:
    yield from _missing_sum(claim)
    if not claim.loose:
        yield from _factors(claim, judge)
    yield from _other_indices(claim)
    yield from _indicators(claim)
    yield from _other_binders(claim)
    yield from _other_comparisons(claim)
    yield from _other_parts(claim)
    yield from _other_arrays(claim, judge)


def _missing_sum(claim: Claim) -> Iterator[tuple[str, str]]:
    if claim.loose:
        letters = " ".join(i.name for i in claim.loose)
        over = " and ".join(range_words(i.range.name) for i in claim.loose)
        yield _with_right(claim, f"sum({letters}, {_right(claim)})"), f"the sum over {over} is missing"
        return
    bound = {n.name for n in _bound(claim.tree.right)}
    for index in claim.indices:
        if index.name not in bound:
            continue
        yield from ()


def _factors(claim: Claim, judge: Judge) -> Iterator[tuple[str, str]]:
    """A constant, or a size, between what is claimed and what is true."""
    ratios = judge.ratios(claim)
    if not ratios:
        return
    if all(abs(ratio + 1) < 1e-6 for _, ratio in ratios):
        yield _with_right(claim, _negated(claim)), "the sign is wrong"
    right = _grouped(claim)
    sizes = {r.name: [env.size(r) for env, _ in ratios] for r in judge.program.ranges()}
    known = {str(c): [c] * len(ratios) for c in CONSTANTS}
    known |= {f"size({name})": values for name, values in sizes.items()}
    for written, values in known.items():
        for sign in (1, -1):
            minus = "" if sign > 0 else "-"
            also = "" if sign > 0 else ", and the sign is wrong"
            pairs = list(zip(ratios, values, strict=True))
            shown = _size_words(written)
            if all(abs(ratio - sign * value) < 1e-6 * value for (_, ratio), value in pairs):
                yield _with_right(claim, f"{minus}{written} * {right}"), f"a factor {shown} is missing{also}"
            if all(abs(ratio * value - sign) < 1e-6 for (_, ratio), value in pairs):
                yield _with_right(claim, f"{minus}{right} / {written}"), f"it is {shown} times too large{also}"


def _size_words(written: str) -> str:
    return written[5:-1] if written.startswith("size(") else written


def _other_indices(claim: Claim) -> Iterator[tuple[str, str]]:
    """One index on the right replaced by another one; then two names exchanged."""
    arrays = {n.name for n in _entries(claim.tree)}
    letters = [n for n in dict.fromkeys(n.name for n in _names(claim.tree)) if n not in arrays]
    places = [n for n in _names(claim.tree.right) if n.name in letters]
    for name in places:
        for letter in letters:
            if letter != name.name:
                yield _replaced(claim.text, name, letter), f"the index {name.name} should be {letter}"
    for entry in _entries(claim.tree.right):
        for one, other in zip(entry.indices, entry.indices[1:], strict=False):
            left, right = _shown(claim.text, one), _shown(claim.text, other)
            swapped = _replaced(_replaced(claim.text, other, left), one, right)
            yield swapped, f"the indices of {entry.name} are swapped"


def _indicators(claim: Claim) -> Iterator[tuple[str, str]]:
    """A missing 1(j == k)."""
    for position, one in enumerate(claim.indices):
        for other in claim.indices[position + 1 :]:
            if one.range is other.range:
                written = f"1({other.name} == {one.name})"
                yield _with_right(claim, f"{_grouped(claim)} * {written}"), f"the indicator {written} is missing"


def _other_binders(claim: Claim) -> Iterator[tuple[str, str]]:
    for binder in _binders(claim.tree.right):
        start = Syntax(binder.start, binder.start + claim.text[binder.start :].index("("))
        for one, other in (("sum", "mean"), ("mean", "sum")):
            if binder.op == one:
                yield _replaced(claim.text, start, other), f"a {one} stands where the {other} belongs"
        body = f"({_shown(claim.text, binder.body)})"
        yield _replaced(claim.text, binder, body), f"the {binder.op} over {binder.indices[0].name} is too many"


def _other_comparisons(claim: Claim) -> Iterator[tuple[str, str]]:
    opposite = {"==": "!=", "!=": "==", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
    for node in _walk(claim.tree.right):
        if isinstance(node, Condition):
            sides = (_shown(claim.text, node.left), _shown(claim.text, node.right))
            edited = f"1({sides[0]} {opposite[node.op]} {sides[1]})"
            yield _replaced(claim.text, node, edited), f"the comparison {node.op} should be {opposite[node.op]}"


def _other_parts(claim: Claim) -> Iterator[tuple[str, str]]:
    """A term with the wrong sign, or a term or factor that does not belong."""
    for node in _walk(claim.tree.right):
        if isinstance(node, Terms):
            for position in range(len(node.terms)):
                term = _shown(claim.text, node.terms[position][1])
                yield _replaced(claim.text, node, _terms(claim, node, flip=position)), f"the sign of {term} is wrong"
                yield _replaced(claim.text, node, _terms(claim, node, drop=position)), f"the term {term} is too many"
        if isinstance(node, Factors):
            for position, (_, factor) in enumerate(node.factors):
                kept = [f for place, f in enumerate(node.factors) if place != position]
                written = _shown(claim.text, factor)
                yield _replaced(claim.text, node, _product(claim, kept)), f"the factor {written} is too many"


def _other_arrays(claim: Claim, judge: Judge) -> Iterator[tuple[str, str]]:
    """Another array of the same axes in place of one: the activation for the pre-activation, or x for p."""
    by_name = {t.name: t for t in judge.program.tensors()}
    for entry in _entries(claim.tree.right):
        here = by_name.get(entry.name)
        if here is None or not entry.indices:
            continue
        for other in judge.program.tensors():
            if other is not here and other.axes == here.axes and other.dtype == here.dtype:
                prefix = "dL/d" if entry.adjoint else ""
                brackets = claim.text[claim.text.index("[", entry.start) : entry.end]
                edited = f"{prefix}{other.name}{brackets}"
                yield _replaced(claim.text, entry, edited), f"{entry.name} stands where {other.name} belongs"


# --- text ------------------------------------------------------------------------------------------


def _equation(text: str) -> Equation:
    found = parse(text)[0]
    assert isinstance(found, Equation)
    return found


def _shown(text: str, part: Syntax) -> str:
    return text[part.start : part.end]


def _replaced(text: str, part: Syntax, new: str) -> str:
    return text[: part.start] + new + text[part.end :]


def _right(claim: Claim) -> str:
    """The right side as written, with the brackets that its tree does not show."""
    return claim.text[claim.text.index("=", _left_end(claim)) + 1 :].strip()


def _left_end(claim: Claim) -> int:
    assert claim.tree.left is not None
    return claim.tree.left.end


def _with_right(claim: Claim, right: str) -> str:
    return f"{claim.text[: claim.text.index('=', _left_end(claim)) + 1]} {right}"


def _grouped(claim: Claim) -> str:
    right = _right(claim)
    return f"({right})" if isinstance(claim.tree.right, Terms | Negative) else right


def _negated(claim: Claim) -> str:
    right, tree = _right(claim), claim.tree.right
    if isinstance(tree, Negative) and right[:1] in ("-", "−"):
        return right[1:].lstrip()
    if isinstance(tree, Terms):
        return _terms(claim, tree, flip=None, flip_all=True)
    return f"-{right}"


def _terms(
    claim: Claim, node: Terms, flip: int | None = None, drop: int | None = None, flip_all: bool = False
) -> str:
    """A sum of terms with signs changed or a term left out."""
    written = ""
    for position, (minus, term) in enumerate(node.terms):
        if position == drop:
            continue
        inner = term
        while isinstance(inner, Negative):
            inner, minus = inner.operand, not minus
        minus ^= flip_all or position == flip
        text = _shown(claim.text, inner)
        text = f"({text})" if isinstance(inner, Terms) else text
        written += f" {'-' if minus else '+'} {text}" if written else f"{'-' if minus else ''}{text}"
    return written or "0"


def _product(claim: Claim, factors: list[tuple[bool, Syntax]]) -> str:
    written = ""
    for divides, factor in factors:
        text = _shown(claim.text, factor)
        text = f"({text})" if isinstance(factor, Terms | Negative | Factors) else text
        written = f"{written or '1'} / {text}" if divides else f"{written} * {text}" if written else text
    return written or "1"


def _walk(tree: Syntax) -> Iterator[Syntax]:
    yield tree
    for part in parts(tree):
        yield from _walk(part)


def _names(tree: Syntax | Equation) -> Iterator[Name]:
    """Names in places of indices, in order."""
    if isinstance(tree, Equation):
        for side in (tree.left, tree.right):
            if side is not None:
                yield from _names(side)
        return
    for node in _walk(tree):
        inside = node.indices if isinstance(node, Entry) else ()
        compared = (node.left, node.right) if isinstance(node, Condition) else ()
        for index in (*inside, *compared):
            yield from (n for n in _walk(index) if isinstance(n, Name) and not n.adjoint)


def _entries(tree: Syntax | Equation) -> Iterator[Entry]:
    if isinstance(tree, Equation):
        for side in (tree.left, tree.right):
            if side is not None:
                yield from _entries(side)
        return
    yield from (n for n in _walk(tree) if isinstance(n, Entry))


def _binders(tree: Syntax) -> Iterator[Binder]:
    yield from (n for n in _walk(tree) if isinstance(n, Binder))


def _bound(tree: Syntax) -> Iterator[Name]:
    for binder in _binders(tree):
        yield from binder.indices


def worst_element(claim: Claim, outcome: Outcome) -> str:
    """Where a claim is furthest off."""
    at = ", ".join(f"{name} = {value}" for name, value in outcome.where.items())
    place = f"at {at} " if at else ""
    return f"{place}it claims {outcome.claimed:.6g}, and the true value is {outcome.true:.6g}"
