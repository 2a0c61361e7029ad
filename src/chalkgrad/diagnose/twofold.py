"""Two faults of which one is undone in the user's text and the other is one of the derivation's hypotheses.

What the text gives with a change is looked up among what all hypotheses predict, so that trying all
pairs takes no longer than trying all changes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from chalkgrad.diagnose.hypotheses import Edit
from chalkgrad.diagnose.mended import Mender
from chalkgrad.diagnose.outcomes import changed, projected
from chalkgrad.diagnose.possible import gradients_by_place
from chalkgrad.diagnose.repair import Repair
from chalkgrad.diagnose.search import PAIR, Explanation, Predictor, Reason, Search
from chalkgrad.diagnose.span import largest
from chalkgrad.diagnose.views import summed_away
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array

SIMPLEST = 1.0
"""No change of the text, and no factor of the whole, costs less."""

NEAR = 1e-7
"""How near two arrays' random projections lie, beside their size, if they may be equal."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What one hypothesis says that a gradient is."""

    predictor: Predictor
    reasons: tuple[Reason, ...]
    cost: float
    edit: Edit | None = None


class Values:
    """What a gradient becomes by a change, worked out at a point when it is asked for."""

    def __init__(self, mender: Mender, wanted: Tensor, repair: Repair, first: Array) -> None:
        self.mender, self.target, self.active = mender, f"={wanted.name}", {repair.place: repair}
        self.known: dict[int, Array | None] = {0: first}

    def at(self, point: int) -> Array | None:
        if point not in self.known:
            self.known[point] = self.mender.value(self.target, point, self.active)
        return self.known[point]


def _agree(search: Search, predictor: Predictor, values: Values) -> bool:
    """Whether a hypothesis predicts what the change gives at every point."""
    for at in range(len(search.points)):
        predicted, value = predictor(at), values.at(at)
        if predicted is None or value is None or not search.equal(predicted, value):
            return False
    return True


def twofold(search: Search, mender: Mender, wanted: Tensor, most: float = np.inf) -> Iterator[Explanation]:
    """A change of the text together with a hypothesis about one input's gradient.

    Each costs less than `most` and the ones before.
    """
    table = [p for p in _predicted(search, wanted) if SIMPLEST + p.cost + PAIR < most]
    best, least = most, min([SIMPLEST, *(p.cost for p in table)]) + PAIR
    true = search.points[0].true[wanted]
    # By the second direction, what is a multiple of the right gradient is told from what is not.
    directions = np.random.default_rng(0).normal(size=(*true.shape, 2))
    flat = directions.reshape(-1, 2)
    right, apart = true.ravel() @ flat, NEAR * np.abs(flat).sum(axis=0)
    known = sorted(_placed(search, wanted, table, flat))
    places = [at for at, _ in known]
    for repair, along in projected(mender, wanted, directions):
        if repair.cost + least >= best:
            return
        near = float(apart[0] * max(largest(true), abs(along[0])))
        hits = known[bisect_left(places, along[0] - near) : bisect_right(places, along[0] + near)]
        multiple = along[0] * right[1] - along[1] * right[0]
        plain = abs(multiple) <= float(np.abs(along).max() * np.abs(right).max()) * NEAR
        if not hits and not plain:
            continue
        value = mender.value(f"={wanted.name}", 0, {repair.place: repair})
        if value is None or value.shape != true.shape:
            continue
        after = Values(mender, wanted, repair, value)
        for _, n in hits:
            found = table[n]
            cost = repair.cost + found.cost + PAIR
            if cost < best and _agree(search, found.predictor, after) and not (
                mender.hides(repair) or mender.severs(wanted, repair)
            ):  # fmt: skip
                reasons = (mender.reason(wanted, repair), *found.reasons)
                best = cost
                yield Explanation(cost, reasons)
        for scaled in _scaled(search, mender, wanted, repair, value) if plain else ():
            if scaled.cost < best:
                best = scaled.cost
                yield scaled


def _placed(
    search: Search, wanted: Tensor, table: Sequence[Predicted], flat: Array
) -> Iterator[tuple[float, int]]:
    """How far each prediction lies along the first direction, and its number."""
    shape = search.points[0].true[wanted].shape
    together: dict[int, float] = {}
    for edits, gradients in gradients_by_place(search, wanted):
        if gradients.shape[:-1] == shape:
            with np.errstate(all="ignore"):
                ends = flat[:, 0] @ gradients.reshape(len(flat), -1)
            together.update(zip(edits, map(float, ends), strict=True))
    for number, p in enumerate(table):
        at = together.get(id(p.edit))
        if at is None:
            array = p.predictor(0)
            fits = array is not None and array.shape == shape
            at = float(array.ravel() @ flat[:, 0]) if array is not None and fits else np.nan
        if np.isfinite(at):
            yield at, number


def turned(search: Search, mender: Mender, wanted: Tensor, most: float = np.inf) -> Iterator[Explanation]:
    """A change of the text after which a gradient is right but for the order of its axes."""
    true = [p.true[wanted] for p in search.points]
    line = search.line(wanted)
    for repair, value in changed(mender, wanted):
        cost = repair.cost + 1.0 + PAIR
        if cost >= most:
            return
        for order in permutations(range(true[0].ndim)):
            fits = value.ndim == true[0].ndim and value.transpose(order).shape == true[0].shape
            if not fits or not search.equal(value.transpose(order), true[0]):
                continue
            values = mender.at_all(wanted, repair)
            if values and all(search.equal(v.transpose(order), t) for v, t in zip(values, true, strict=True)):
                own = Reason("transpose", f"d{wanted.name} is transposed", line)
                most = cost
                yield Explanation(cost, (own, mender.reason(wanted, repair)))


def collapsed(search: Search, wanted: Tensor, observed: Sequence[Array]) -> Iterator[Explanation]:
    """A hypothesis about a gradient that was summed over some of its axes besides."""
    line = search.line(wanted)
    count = len(wanted.axes)
    ways = [a for gone in range(1, count + 1) for a in combinations(range(count), gone)]
    for found in _predicted(search, wanted):
        first = found.predictor(0)
        for axes in ways if first is not None else ():

            def summed(at: int, p: Predictor = found.predictor, over: tuple[int, ...] = axes) -> Array | None:
                value = p(at)
                return None if value is None else np.asarray(value.sum(axis=over))

            if search.holds(summed, observed):
                own = Reason("extra_sum", summed_away(wanted, observed, axes), line)
                reasons = (own, *(r for r in found.reasons if r.code != own.code))
                yield Explanation(1.2 + found.cost + PAIR, reasons)


def _scaled(
    search: Search, mender: Mender, wanted: Tensor, repair: Repair, value: Array
) -> Iterator[Explanation]:
    """A change after which the whole is a sign or a factor off."""
    true = search.points[0].true[wanted]
    square = float((true * true).sum())
    if not square > 0 or not search.equal(float((true * value).sum()) / square * true, value):
        return
    values = mender.at_all(wanted, repair)
    ratio = search.ratio(lambda at: search.points[at].true[wanted], values) if values else None
    if ratio is None or ratio.zero or not ratio.plain:
        return
    line = search.line(wanted)
    more = search.reasons(ratio, line.body, line, f"d{wanted.name}")
    if mender.severs(wanted, repair):
        return
    cost = 1.0 if ratio.text == "-1" else 1.3 if ratio.over or ratio.under else 1.75
    yield Explanation(repair.cost + cost + PAIR, (mender.reason(wanted, repair), *more))


def _predicted(search: Search, wanted: Tensor) -> Iterator[Predicted]:
    for e in (e for e in search.edits if search.reaches(e, wanted)):
        yield Predicted(search.edit_predictor(e, wanted), (Reason(e.code, e.text, e.expected),), e.cost, e)
    for a in (a for a in search.addends if search.leads(a.form, a.target, wanted)):
        if search.delta(a, wanted, 0) is None or (a.whole and a.target is wanted.adjoint):
            continue
        for scale, reason, cost in (
            (0.0, Reason(a.code, a.text, a.expected), a.cost),
            (-1.0, Reason("sign", f"a term of d{wanted.name} has the wrong sign", a.expected), 1.2),
            (2.0, Reason("constant_factor", f"a term of d{wanted.name} is doubled", a.expected), 1.9),
            (0.5, Reason("constant_factor", f"a term of d{wanted.name} is halved", a.expected), 1.9),
        ):

            def predict(at: int, a: object = a, scale: float = scale) -> Array | None:
                part = search.delta(a, wanted, at)  # type: ignore[arg-type]
                return None if part is None else search.points[at].true[wanted] + (scale - 1) * part

            yield Predicted(predict, (reason,), cost)


__all__: Sequence[str] = ["collapsed", "turned", "twofold"]
