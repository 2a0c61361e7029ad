"""Matrix products of few observations: the lanes run along the weight, whose vectors are read as they lie.

A panel of observations has as many lanes as a vector, and one observation fills one of them: a tile would
multiply each number of a weight by a vector of which the rest is padding. Here a vector of the weight is
multiplied by one number of each observation, or summed up over its lanes, and the sums of all are turned
in registers into the rows of a tile, so that the same epilogue follows.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.parts import Product
from chalkgrad.emit.kernels.rows import first_lanes
from chalkgrad.emit.kernels.writer import Writer

SUMS = 8
"""Sums that grow side by side, at least: none waits for its last addition then."""
UNROLLED = 4
"""k that follow one another without a jump, at most."""

Epilogue = Callable[[Writer, list[list[Any]]], None]


def few(layout: Layout) -> bool:
    """Whether most lanes of a panel would be padding."""
    return 2 * layout.sizes[layout.batch] <= layout.target.lanes and not layout.target.paired


def across(w: Writer, layout: Layout, product: Product, epilogue: Epilogue) -> None:
    """Σ_k left[i,k] weight[k,h], as the weight lies: h runs along its vectors."""
    summed, free = layout.stored(product.weight)
    inner, depth, padded = layout.sizes[summed], layout.padded(summed), layout.padded(free)
    weights, source = layout.parameter(product.weight), layout.features(product.left)
    count, lanes = layout.sizes[layout.batch], w.target.lanes
    most = max(1, SUMS // count)

    def panels(p: Any, q: Any, many: int, used: int) -> None:
        """So many panels of the weight from the one of number q."""
        together = gcd(inner, UNROLLED)
        with w.loop(0, inner, together, carried=[w.splat(0.0)] * (many * count)) as k:
            sums = list(k.carried)
            for n in range(together):
                row = w.add(k.index, n)
                at = w.add(source, w.mul(w.add(w.mul(p, depth), row), lanes))
                numbers = [w.splat_at(w["arena"], at, i) for i in range(count)]
                for panel in range(many):
                    start = w.mul(w.add(w.mul(w.add(q, panel), depth), row), lanes)
                    vector = w.load(w["arena"], weights, start)
                    for i, number in enumerate(numbers):
                        sums[panel * count + i] = w.fma(vector, number, sums[panel * count + i])
            k.after = sums
        for panel in range(many):
            sums = k.carried[panel * count : (panel + 1) * count]
            h = w.mul(w.add(q, panel), lanes)
            _finished(w, epilogue, (p, h, padded), sums, used)

    with w.loop(w["first"], w["last"]) as p:
        for first, number, _, used in layout.panels(free).parts():
            grouped = number - number % most
            with w.loop(first, first + grouped, most) as q:
                panels(p.index, q.index, most, used)
            if number % most:
                panels(p.index, first + grouped, number % most, used)


def along(w: Writer, layout: Layout, product: Product, epilogue: Epilogue) -> None:
    """Σ_k left[i,k] weight[h,k], as the weight lies: k runs along its vectors; the left factor is turned."""
    outer, summed = layout.stored(product.weight)
    rows, depth = layout.sizes[outer], layout.padded(outer)
    weights, source = layout.parameter(product.weight), layout.turned(product.left)
    count, lanes = layout.sizes[layout.batch], w.target.lanes

    def observation(i: Any, h: Any, used: int) -> Any:
        """One number for each of `used` rows of the weight from row h."""
        sums = [w.splat(0.0)] * used
        for first, number, _, columns in layout.panels(summed).parts():
            with w.loop(first, first + number, carried=sums) as q:
                at = w.mul(w.add(w.mul(q.index, layout.capacity), i), lanes)
                left = _counted(w, w.load(w["arena"], source, at), columns)
                start = w.mul(w.add(w.mul(q.index, depth), h), lanes)
                vectors = [w.load(w["arena"], weights, start, r * lanes) for r in range(used)]
                pairs = zip(vectors, q.carried, strict=True)
                q.after = [w.fma(_counted(w, v, columns), left, so_far) for v, so_far in pairs]
            sums = q.carried
        return w.totals([*sums, *[w.splat(0.0)] * (lanes - used)])

    def tile(p: Any, h: Any, used: int) -> None:
        found = [observation(w.add(w.mul(p, lanes), i), h, used) for i in range(count)]
        _finished(w, epilogue, (p, h, depth), found, used)

    with w.loop(w["first"], w["last"]) as p:
        whole = rows - rows % lanes
        with w.loop(0, whole, lanes) as h:
            tile(p.index, h.index, lanes)
        if rows % lanes:
            tile(p.index, whole, rows % lanes)


def _counted(w: Writer, vector: Any, used: int) -> Any:
    """Zero in the lanes past the last column, where a weight has anything."""
    if used == w.target.lanes:
        return vector
    return w.b.select(first_lanes(w, used), vector, w.splat(0.0))


def _finished(w: Writer, epilogue: Epilogue, at: tuple[Any, Any, int], sums: list[Any], used: int) -> None:
    """The epilogue of the columns h … h + used − 1, of which a vector per observation is known.

    The lanes past the last observation repeat it, as those of gathered rows do.
    """
    p, h, padded = at
    turned = w.transposed([*sums, *[sums[-1]] * (w.target.lanes - len(sums))])
    offset = w.mul(w.add(w.mul(p, padded), h), w.target.lanes)
    places = {"offset": offset, "row": h, "panel": p}
    epilogue(w.with_arguments({**w.arguments, **places}), [[row] for row in turned[:used]])
