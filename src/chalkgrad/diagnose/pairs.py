"""Two causes at once in one gradient, and Jacobians of which only the diagonal was taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from chalkgrad.diagnose.hypotheses import Addend, Edit
from chalkgrad.diagnose.labelled import Evaluation, Value
from chalkgrad.diagnose.ratios import Ratio, name_ratio
from chalkgrad.diagnose.search import PAIR, Explanation, Predictor, Reason, Search
from chalkgrad.diagnose.words import words
from chalkgrad.expr.nodes import Expr, Tensor
from chalkgrad.expr.ops import tensors_in
from chalkgrad.verify.environment import Array

ENTRIES = 48
"""Of larger values inside a layer no diagonal is taken: each entry takes a pass of its own."""

LIKELY = 2.35
"""Edits that cost no more are tried inside each other."""


def pairs(search: Search, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
    """Two causes that together explain one input's gradient."""
    yield from _scaled_edits(search, wanted, observed)
    yield from _two_addends(search, wanted, observed)
    yield from _edit_and_addend(search, wanted, observed)
    yield from _nested(search, wanted, observed)


def _scaled_edits(search: Search, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
    """An edit, and the whole multiplied by a ratio."""
    line = search.line(wanted)
    places: list[tuple[Predictor, Reason, float]] = [
        (search.edit_predictor(e, wanted), Reason(e.code, e.text, e.expected), e.cost)
        for e in search.edits
        if search.reaches(e, wanted)
    ]
    for a in search.addends:
        if search.leads(a.form, a.target, wanted) and not (a.whole and a.target is wanted.adjoint):
            places.append((_left_out(search, a, wanted), Reason(a.code, a.text, a.expected), a.cost))
    for predictor, reason, cost in places:
        if search.exhausted():
            return
        ratio = search.ratio(predictor, observed)
        if ratio is not None and ratio.plain and not ratio.zero:
            more = search.reasons(ratio, line.body, line, f"d{wanted.name}")
            yield Explanation(
                cost + PAIR + _cost(ratio), (reason, *(m for m in more if m.code != reason.code))
            )


def _left_out(search: Search, addend: Addend, wanted: Tensor) -> Predictor:
    def predict(at: int) -> Array | None:
        value = search.without(addend, at).get(wanted.adjoint)
        return None if value is None or value.extra else value.array

    return predict


def _cost(ratio: Ratio) -> float:
    return 1.0 if ratio.text == "-1" else 1.3 if ratio.over or ratio.under else 1.75


def _two_addends(search: Search, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
    """Two parts, each left out, of the wrong sign or scaled."""
    ways = [a for a in search.addends if not a.whole and search.leads(a.form, a.target, wanted)]
    some = [a for a in ways if search.delta(a, wanted, 0) is not None]
    for one, two in combinations(some, 2):
        if search.exhausted():
            return
        scales: list[Array] = []
        for at, returned in enumerate(observed):
            found = _fit(search, (one, two), wanted, at, returned)
            if found is None:
                break
            scales.append(found)
        if len(scales) < len(observed):
            continue
        sizes = [p.env.sizes for p in search.points]
        ratios = [name_ratio([1 + s[place] for s in scales], sizes) for place in (0, 1)]
        if any(r is None or not r.plain or r.text == "1" for r in ratios):
            continue
        reasons: list[Reason] = []
        cost = PAIR
        for addend, ratio in zip((one, two), ratios, strict=True):
            assert ratio is not None
            if ratio.zero:
                reasons.append(Reason(addend.code, addend.text, addend.expected))
                cost += addend.cost
            else:
                name = str(words("the term ", addend.term))
                reasons += search.reasons(ratio, addend.term, addend.expected, name)
                cost += _cost(ratio) + 0.2
        yield Explanation(cost, tuple(reasons))


def _fit(
    search: Search, addends: tuple[Addend, ...], wanted: Tensor, at: int, returned: Array
) -> Array | None:
    """The multiples of the parts that make up the difference, if they do and are determined."""
    true = search.points[at].true[wanted]
    parts = [search.delta(a, wanted, at) for a in addends]
    if any(p is None or p.shape != returned.shape for p in parts):
        return None
    matrix = np.stack([p.ravel() for p in parts if p is not None], axis=1)
    gap = (returned - true).ravel()
    solution, _, rank, _ = np.linalg.lstsq(matrix, gap, rcond=1e-9)
    if rank < len(addends):
        return None
    return np.asarray(solution) if search.equal(matrix @ solution + true.ravel(), returned.ravel()) else None


def _edit_and_addend(search: Search, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
    """An edit in one formula and a part of another left out, turned around or scaled."""
    for edit in sorted(search.edits, key=lambda e: e.cost):
        if search.exhausted():
            return
        if len(edit.bodies) > 1 or not search.reaches(edit, wanted):
            continue
        for addend in search.addends:
            if search.exhausted():
                return
            if not search.leads(addend.form, addend.target, wanted):
                continue
            if addend.form != edit.form or (addend.whole and addend.target is wanted.adjoint):
                continue
            scales = []
            for at, returned in enumerate(observed):
                scale = _scale_under(search, edit, addend, wanted, at, returned)
                if scale is None:
                    break
                scales.append(scale)
            if len(scales) < len(observed):
                continue
            ratio = name_ratio(scales, [p.env.sizes for p in search.points])
            if ratio is None or not ratio.plain or ratio.text == "1":
                continue
            first = Reason(edit.code, edit.text, edit.expected)
            if ratio.zero:
                more: tuple[Reason, ...] = (Reason(addend.code, addend.text, addend.expected),)
                cost = addend.cost
            else:
                name = str(words("the term ", addend.term) if not addend.whole else words(addend.target))
                more = search.reasons(ratio, addend.term, addend.expected, name)
                cost = _cost(ratio) + 0.2
            yield Explanation(edit.cost + cost + PAIR, (first, *more))


def _scale_under(
    search: Search, edit: Edit, addend: Addend, wanted: Tensor, at: int, returned: Array
) -> float | None:
    """c such that the edit, with the addend taken c times, gives what was returned."""
    full = search.edited(edit, at).get(wanted.adjoint)
    if full is None or full.extra:
        return None
    if addend.target is edit.target:
        part = search.delta(addend, wanted, at)
    else:
        bodies = {edit.target: edit.bodies[0][1], addend.target: addend.without}
        rest = search.predict(addend.form, bodies, at).get(wanted.adjoint)
        part = None if rest is None or rest.extra else full.array - rest.array
    if part is None or part.shape != returned.shape:
        return None
    square = float((part * part).sum())
    if not square > 1e-20 or not np.isfinite(square):
        return None
    gap = returned - full.array
    extra = float((part * gap).sum()) / square
    if abs(extra) < 1e-9 or not search.equal(full.array + extra * part, returned):
        return None
    return 1 + extra


def _nested(search: Search, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
    """Two likely edits in different formulas."""
    likely = [e for e in search.edits if e.cost <= LIKELY and len(e.bodies) == 1]
    likely = [e for e in likely if search.reaches(e, wanted)]
    likely = [e for e in likely if search.edited(e, 0).get(wanted.adjoint) is not None]
    for one, two in sorted(combinations(likely, 2), key=lambda p: p[0].cost + p[1].cost):
        if search.exhausted():
            return
        if one.form != two.form or one.target is two.target:
            continue
        bodies: dict[Tensor, Expr] = {one.target: one.bodies[0][1], two.target: two.bodies[0][1]}

        def predict(at: int, form: str = one.form, bodies: dict[Tensor, Expr] = bodies) -> Array | None:
            value = search.predict(form, bodies, at).get(wanted.adjoint)
            return None if value is None or value.extra else value.array

        ratio = search.ratio(predict, observed)
        if ratio is not None and ratio.text == "1":
            reasons = (Reason(one.code, one.text, one.expected), Reason(two.code, two.text, two.expected))
            yield Explanation(one.cost + two.cost + PAIR, reasons)


# --- the diagonal -----------------------------------------------------------------------------------


def diagonals(search: Search, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
    """The adjoint of a value taken entry by entry: G[i] * d out[i] / d x[i] instead of the whole sum."""
    program = search.derived.program
    tensors = [t for t in program.tensors() if t.dtype == "float" and t.axes]
    for before in tensors:
        for after in tensors:
            if before is after or before.axes != after.axes or after.role == "input":
                continue
            if not _between(search, before, after):
                continue
            found = _diagonal_predictor(search, before, after, wanted)
            if _may(search, before, after, wanted, observed[0]) and search.holds(found, observed):
                text = f"only the diagonal of the Jacobian ∂{after.name}/∂{before.name} is used"
                line = next(
                    (d for d in search.derived.chosen.definitions if d.target is before.adjoint),
                    search.line(wanted),
                )
                yield Explanation(1.62, (Reason("diagonal_only", text, line),))


def _may(search: Search, before: Tensor, after: Tensor, wanted: Tensor, returned: Array) -> bool:
    """Whether a gradient may be a diagonal's: where it is the value's own, its largest entry tells."""
    if before is not wanted:
        return search.leads("staged", before.adjoint, wanted)
    if returned.shape != np.shape(search.points[0].env.array(after.adjoint)):
        return False
    place = tuple(int(n) for n in np.unravel_index(int(np.abs(returned).argmax()), returned.shape))
    largest = float(returned[place])
    return abs(_entry(search, before, after, 0, place) - largest) <= 1e-6 * abs(largest)


def _between(search: Search, before: Tensor, after: Tensor) -> set[Tensor]:
    """The values on paths from `before` to `after`; empty if there is no path through another axis."""
    forward = {before}
    for d in search.derived.program.definitions:
        if forward & tensors_in(d.body):
            forward.add(d.target)
    backward = {after}
    for d in reversed(search.derived.program.definitions):
        if d.target in backward:
            backward |= tensors_in(d.body)
    between = forward & backward
    mixes = any(t.axes != before.axes for t in between)
    return between if before in between and after in between and mixes else set()


def _diagonal_predictor(search: Search, before: Tensor, after: Tensor, wanted: Tensor) -> Predictor:
    definitions = search.derived.staged.definitions

    def predict(at: int) -> Array | None:
        point = search.points[at]
        if before is not wanted and np.size(point.env.array(before.adjoint)) > ENTRIES:
            return None
        diagonal = Value(_diagonal(search, before, after, at))
        if before is wanted:
            return diagonal.array
        whole = Evaluation(point.env, {before.adjoint: diagonal}, search.bases[at])
        for d in definitions:
            if d.target is not before.adjoint and whole.changed.keys() & tensors_in(d.body):
                whole.having(d.target, whole.defined(d.indices, d.body))
        return whole.changed[wanted.adjoint].array if wanted.adjoint in whole.changed else None

    return predict


def _diagonal(search: Search, before: Tensor, after: Tensor, at: int) -> Array:
    """G[i] * d after[i] / d before[i] for every entry i, worked out once."""
    key = (before, after, at)
    if key in search.diagonals:
        return search.diagonals[key]
    upstream = np.asarray(search.points[at].env.array(after.adjoint))
    result = np.zeros(upstream.shape)
    for place in np.ndindex(*upstream.shape):
        result[place] = _entry(search, before, after, at, place)
    search.diagonals[key] = result
    return result


def _entry(search: Search, before: Tensor, after: Tensor, at: int, place: tuple[int, ...]) -> float:
    """One entry of the upstream gradient times the derivative of the same entry."""
    between = {t.adjoint for t in _between(search, before, after)} - {after.adjoint}
    point, definitions = search.points[at], search.derived.staged.definitions
    upstream = np.asarray(point.env.array(after.adjoint))
    single = np.zeros(upstream.shape)
    single[place] = upstream[place]
    silent = {d.target: Value(np.zeros([point.env.size(r) for r in d.target.axes])) for d in definitions}
    evaluation = Evaluation(point.env, {**silent, after.adjoint: Value(single)})
    for d in definitions:
        if d.target in between:
            evaluation.having(d.target, evaluation.defined(d.indices, d.body))
    return float(evaluation.array(before.adjoint)[place])
