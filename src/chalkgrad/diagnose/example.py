"""The smallest case that shows a fault, in whole numbers where possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.forms import Form
from chalkgrad.diagnose.points import Point, square_sizes, with_inputs
from chalkgrad.diagnose.trial import run
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Range
from chalkgrad.verify.sample import sample

ENTRIES = 8
"""Arrays with more entries are no small example."""

CLEAR = 0.02
"""A difference that is seen at a glance."""

TRIES = 6
"""Draws before a size is given up: over one observation a variance is 0, whatever is drawn."""


def smallest(
    derived: Derived, caller: Caller, form: Form, wrong: Sequence[str], timeout: float | None
) -> str:
    """A case with sizes of one or two and small whole numbers, in words; empty if there is none."""
    ones, twos = (square_sizes(derived.program, size) for size in (1, 2))
    labelled = {r for t in derived.program.inputs if t.dtype == "int" for r in t.axes}
    # Three labels out of two: one stands twice, which is where an overwritten entry shows.
    more = [{r: 3 if r in labelled else n for r, n in twos.items()}] if labelled & twos.keys() else []
    faint = ""
    for sizes in (ones, twos, *more):
        for seed in range(3):
            point = _whole(derived, sizes, seed)
            if point is None:
                continue
            trial = run(caller, form, [point], timeout)
            if trial.error or any(r.problem for r in trial.results):
                continue
            for t in derived.wrt:
                got = trial.results[0].gradients.get(t.name)
                true = trial.points[0].true[t]
                if t.name not in wrong or got is None or max(got.size, true.size) > ENTRIES:
                    continue
                clear = got.shape != true.shape or not np.allclose(got, true, rtol=CLEAR, atol=1e-9)
                if clear or (not faint and _numbers(got) != _numbers(true)):
                    text = _told(trial.points[0], derived, t.name, got, true)
                    if not text:
                        return faint  # with more entries it only gets longer
                    if clear:
                        return text
                    faint = faint or text
    return faint


def _whole(derived: Derived, sizes: Mapping[Range, int], seed: int) -> Point | None:
    """A point of whole numbers at which everything is finite."""
    rng = np.random.default_rng(seed)
    try:
        chosen = {t: float(default) for t, default in derived.program.parameters}
        env = sample(derived.program, seed, parameters=chosen, sizes=sizes, tries=TRIES)
        inputs = {
            t: rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], size=np.shape(env.array(t)))
            for t in derived.program.inputs
            if t.dtype == "float"
        }
        ups = {o.adjoint: np.ones(np.shape(env.array(o))) for o in derived.program.outputs}
        whole = with_inputs(derived, Point(env.having(ups), {}, {}, chosen), inputs, {})
    except ChalkgradError:
        return None
    return whole if all(np.isfinite(v).all() for v in whole.true.values()) else None


def _told(point: Point, derived: Derived, name: str, got: Any, true: Any) -> str:
    given = [f"{t.name} = {_numbers(point.env.array(t))}" for t in derived.program.inputs]
    given += [f"d{o.name} = {_numbers(point.upstream(o))}" for o in derived.program.outputs]
    text = f"{', '.join(given)}: d{name} is {_numbers(got)} and should be {_numbers(true)}."
    return text if len(text) <= 300 else ""


def _numbers(array: Any) -> str:
    """[[1, 2], [0.5, -1]]"""
    values = np.asarray(array)
    if values.ndim == 0:
        return f"{float(values) if abs(float(values)) > 1e-12 else 0.0:.4g}"
    return f"[{', '.join(_numbers(v) for v in values)}]"
