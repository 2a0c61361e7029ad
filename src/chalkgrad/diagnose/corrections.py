"""What a false line should have been: small edits of its text, each tested by numbers.

A correction is proposed only when the edited line holds at every test point, and the first that
holds is reported, in the order: a wrong index, a missing sum, a sign, a constant factor, a size, an
factor of one term, an indicator, a mean for a sum, a comparison, a part left out or too many, a different
array, a value left out. Where none of these holds, `derived` asks the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chalkgrad.diagnose.claims import Claim, Judge, Outcome, read_claim
from chalkgrad.diagnose.edits import (
    bare,
    binders,
    entries,
    equation,
    group,
    grouped,
    index_names,
    negated,
    product,
    replaced,
    right_text,
    shown,
    terms,
    walk_syntax,
    with_right,
)
from chalkgrad.diagnose.graph import Graph
from chalkgrad.diagnose.missing_parts import missing_indicators, missing_values, scaled_terms
from chalkgrad.diagnose.words import range_words
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Tensor
from chalkgrad.expr.syntax import Condition, Entry, Factors, Number, Power, Terms
from chalkgrad.frontend.inference import RangeConflictError

MAX_TRIES = 800
"""Edited lines tested before giving up."""

MAX_SLIPS = 3
"""Wrong indices in one line that are corrected together."""

CONSTANTS = (2, 3, 4)

LETTERS = "inmrstuvwabcdefghjklopqxyz"
"""What an index may be called that is summed over, the likeliest first."""

Hypothesis = tuple[str, str, str]
"""An edited line, why the written one is wrong, and the cause."""


@dataclass(frozen=True, slots=True)
class Correction:
    """A line that holds, and what was wrong with the one that was written."""

    text: str
    why: str
    cause: str


# --- wrong ranges ----------------------------------------------------------------------------------


def explain_conflict(conflict: RangeConflictError) -> str:
    """Which index runs over what, why, and what its place expects."""
    first, second = conflict.first, conflict.second
    because = ""
    if first is not None and conflict.source is not None:
        because = f" (from {shown(conflict.source, first)})"
    return (
        f"the index {conflict.index} runs over {range_words(conflict.has.name)}{because}, "
        f"but {conflict.axis} runs over {range_words(conflict.wants.name)}"
        + (f" in {shown(conflict.source, second)}" if conflict.source else "")
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
    letters = [n.name for n in index_names(equation(line)) if n.name not in arrays and n.name != wrong.index]
    for use in (wrong.second, wrong.first):
        if use is None:
            continue
        for name in index_names(use):
            if name.name == wrong.index:
                for letter in dict.fromkeys(letters):
                    yield replaced(line, name, letter)


# --- false values ----------------------------------------------------------------------------------


def correct_value(claim: Claim, judge: Judge) -> Correction | None:
    """The simplest edit of a false claim's right side that makes it true."""
    tries = 0
    for text, why, cause in _hypotheses(claim, judge):
        tries += 1
        if tries > MAX_TRIES:
            return None
        try:
            edited = read_claim(text, judge.program)
            says_nothing = edited.right is edited.left  # dL/dx = dL/dx
            if not edited.loose and not says_nothing and judge.check(edited).holds:
                return Correction(text, why, cause)
        except ChalkgradError:
            continue
    return None


def _hypotheses(claim: Claim, judge: Judge) -> Iterator[Hypothesis]:
    yield from _missing_sum(claim)
    yield from _one_for_all(claim)
    yield from _mean_for_sum(claim)
    yield from _other_binders(claim)
    if not claim.loose:
        yield from _extra_factors(claim)
        yield from _factors(claim, judge)
        yield from scaled_terms(claim, judge)
    yield from _other_indices(claim)
    yield from _indicators(claim)
    yield from missing_indicators(claim)
    yield from _extra_binders(claim)
    yield from _other_comparisons(claim)
    yield from _other_parts(claim)
    yield from _other_arrays(claim, judge)
    if not claim.loose:
        yield from missing_values(claim, judge)


def _missing_sum(claim: Claim) -> Iterator[Hypothesis]:
    if claim.loose:
        letters = " ".join(i.name for i in claim.loose)
        over = " and ".join(range_words(i.range.name) for i in claim.loose)
        yield (
            with_right(claim, f"sum({letters}, {right_text(claim)})"),
            f"the sum over {over} is missing",
            "missing_sum",
        )


def _one_for_all(claim: Claim) -> Iterator[Hypothesis]:
    """One observation, x[0,d], where the sum over all belongs."""
    right = claim.tree.right
    numbers = [n for e in entries(right) for n in e.indices if isinstance(n, Number)]
    taken = {n.name for n in index_names(claim.tree)}
    letter = next((c for c in LETTERS if c not in taken), "every")
    for value in dict.fromkeys(n.value for n in numbers):
        text = claim.text
        for n in sorted((n for n in numbers if n.value == value), key=lambda n: -n.start):
            text = replaced(text, n, letter)  # from the end, so that the other places stay
        whole = text[right.start : len(text) - len(claim.text) + right.end]
        why = f"the entries at {value} stand where the sum over all belongs"
        yield with_right(claim, f"sum({letter}, {whole})"), why, "missing_sum"


def _factors(claim: Claim, judge: Judge) -> Iterator[Hypothesis]:
    """A constant, or a size, between what is claimed and what is true."""
    ratios = judge.ratios(claim)
    if not ratios:
        return
    if all(abs(ratio + 1) < 1e-6 for _, ratio in ratios):
        yield with_right(claim, negated(claim)), "the sign is wrong", "sign"
    right = grouped(claim)
    sizes = {r.name: [env.size(r) for env, _ in ratios] for r in judge.program.ranges()}
    known = {str(c): [c] * len(ratios) for c in CONSTANTS}
    known |= {f"size({name})": values for name, values in sizes.items()}
    for written, values in known.items():
        for sign in (1, -1):
            minus = "" if sign > 0 else "-"
            also = "" if sign > 0 else ", and the sign is wrong"
            pairs = list(zip(ratios, values, strict=True))
            shown = _size_words(written)
            of_size = written.startswith("size(")
            less, more = ("mean_for_sum", "sum_for_mean") if of_size else ("constant_factor",) * 2
            if all(abs(ratio - sign * value) < 1e-6 * value for (_, ratio), value in pairs):
                yield (
                    with_right(claim, f"{minus}{written} * {right}"),
                    f"a factor {shown} is missing{also}",
                    less,
                )
            if all(abs(ratio * value - sign) < 1e-6 for (_, ratio), value in pairs):
                yield (
                    with_right(claim, f"{minus}{right} / {written}"),
                    f"it is {shown} times too large{also}",
                    more,
                )


def _extra_factors(claim: Claim) -> Iterator[Hypothesis]:
    """A factor, or a division, that does not belong."""
    text = claim.text
    for node in walk_syntax(claim.tree.right):
        if isinstance(node, Factors):
            for position, (divides, factor) in enumerate(node.factors):
                kept = tuple(f for place, f in enumerate(node.factors) if place != position)
                what = "division by" if divides else "factor"
                rest = product(text, kept)
                new = bare(rest) if node is claim.tree.right else group(rest)
                constant = divides or isinstance(factor, Number)
                cause = "constant_factor" if constant else "extra_factor"
                yield replaced(text, node, new), f"the {what} {shown(text, factor)} is too many", cause


def _size_words(written: str) -> str:
    return written[5:-1] if written.startswith("size(") else written


def _other_indices(claim: Claim) -> Iterator[Hypothesis]:
    """One index on the right replaced by another one; then two names exchanged."""
    arrays = {n.name for n in entries(claim.tree)}
    letters = [n for n in dict.fromkeys(n.name for n in index_names(claim.tree)) if n not in arrays]
    places = [n for n in index_names(claim.tree.right) if n.name in letters]
    for name in places:
        for letter in letters:
            if letter != name.name:
                yield (
                    replaced(claim.text, name, letter),
                    f"the index {name.name} should be {letter}",
                    "wrong_operand",
                )
    for entry in entries(claim.tree.right):
        for one, other in zip(entry.indices, entry.indices[1:], strict=False):
            left, right = shown(claim.text, one), shown(claim.text, other)
            swapped = replaced(replaced(claim.text, other, left), one, right)
            yield swapped, f"the indices of {entry.name} are swapped", "transpose"


def _indicators(claim: Claim) -> Iterator[Hypothesis]:
    """A missing 1(j == k)."""
    for position, one in enumerate(claim.indices):
        for other in claim.indices[position + 1 :]:
            if one.range is other.range:
                written = f"1({other.name} == {one.name})"
                whole = written if right_text(claim) == "1" else f"{grouped(claim)} * {written}"
                yield with_right(claim, whole), f"the indicator {written} is missing", "missing_mask"


def _mean_for_sum(claim: Claim) -> Iterator[Hypothesis]:
    for binder in binders(claim.tree.right):
        letters = " ".join(index.name for index in binder.indices)
        for one, other in (("sum", "mean"), ("mean", "sum")):
            if binder.op == one:
                edited = f"{other}({letters}, {shown(claim.text, binder.body)})"
                yield (
                    replaced(claim.text, binder, edited),
                    f"a {one} stands where the {other} belongs",
                    f"{one}_for_{other}",
                )


def _other_binders(claim: Claim) -> Iterator[Hypothesis]:
    """A sum over the wrong index: the right one is left over."""
    if len(claim.loose) != 1:
        return
    letter = claim.loose[0]
    for binder in binders(claim.tree.right):
        if len(binder.indices) == 1:
            edited = f"{binder.op}({letter.name}, {shown(claim.text, binder.body)})"
            why = f"the {binder.op} runs over {binder.indices[0].name} where it should run over"
            words = f"{why} {range_words(letter.range.name)}"
            yield replaced(claim.text, binder, edited), words, "wrong_operand"


def _extra_binders(claim: Claim) -> Iterator[Hypothesis]:
    for binder in binders(claim.tree.right):
        body = shown(claim.text, binder.body)
        body = bare(body) if binder is claim.tree.right else group(body)
        over = " and ".join(index.name for index in binder.indices)
        yield replaced(claim.text, binder, body), f"the {binder.op} over {over} is too many", "extra_sum"


def _other_comparisons(claim: Claim) -> Iterator[Hypothesis]:
    opposite = {"==": "!=", "!=": "==", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
    for node in walk_syntax(claim.tree.right):
        if isinstance(node, Condition):
            sides = (shown(claim.text, node.left), shown(claim.text, node.right))
            edited = f"1({sides[0]} {opposite[node.op]} {sides[1]})"
            yield (
                replaced(claim.text, node, edited),
                f"the comparison {node.op} should be {opposite[node.op]}",
                "wrong_operand",
            )


def _other_parts(claim: Claim) -> Iterator[Hypothesis]:
    """A term with the wrong sign, a term, factor or power that does not belong, a square left out."""
    text = claim.text
    for node in walk_syntax(claim.tree.right):
        if isinstance(node, Terms):
            for position, (_, term) in enumerate(node.terms):
                written = shown(text, term)
                yield (
                    replaced(text, node, terms(text, node, flip={position})),
                    f"the sign of {written} is wrong",
                    "sign",
                )
                yield (
                    replaced(text, node, terms(text, node, drop=position)),
                    f"the term {written} is too many",
                    "wrong_operand",
                )
        if isinstance(node, Entry):
            yield (
                replaced(text, node, f"{shown(text, node)}^2"),
                f"{shown(text, node)} should be squared",
                "missing_factor",
            )
        if isinstance(node, Power) and isinstance(node.exponent, Number):
            yield (
                replaced(text, node, shown(text, node.base)),
                f"the power of {shown(text, node.base)} is too many",
                "extra_factor",
            )


def _other_arrays(claim: Claim, judge: Judge) -> Iterator[Hypothesis]:
    """Another array of the same axes in place of one: the activation for the pre-activation, or x for p."""
    by_name = {t.name: t for t in judge.program.tensors()}
    for entry in entries(claim.tree.right):
        here = by_name.get(entry.name)
        if here is None or not entry.indices:
            continue
        for other in judge.program.tensors():
            if other is not here and other.axes == here.axes and other.dtype == here.dtype:
                prefix = "dL/d" if entry.adjoint else ""
                brackets = claim.text[claim.text.index("[", entry.start) : entry.end]
                edited = f"{prefix}{other.name}{brackets}"
                why = f"{entry.name} stands where {other.name} belongs"
                yield replaced(claim.text, entry, edited), why, _operand(here, other, judge)


def _operand(one: Tensor, other: Tensor, judge: Judge) -> str:
    """Two arrays taken for each other: an activation and its argument, or any two."""
    graph = Graph(judge.program, (), (), ())
    return "preactivation" if graph.activates(one, other) else "wrong_operand"


def conflict_cause(written: str, should_be: str) -> str:
    """The cause of an index of the wrong range: a transpose where the same indices stand in another order."""
    if should_be:
        for one, other in zip(entries(equation(written)), entries(equation(should_be)), strict=False):
            before, after = (
                [shown(t, i) for i in e.indices] for t, e in ((written, one), (should_be, other))
            )
            if before != after and sorted(before) == sorted(after) and one.name == other.name:
                return "transpose"
    return "wrong_operand"


def worst_element(outcome: Outcome) -> str:
    """Where a claim is furthest off."""
    at = ", ".join(f"{name} = {value}" for name, value in outcome.where.items())
    place = f"at {at} " if at else ""
    return f"{place}it claims {outcome.claimed:.6g}, and the true value is {outcome.true:.6g}"
