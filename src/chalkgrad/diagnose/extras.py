"""What is looked at when all gradients are right: single precision, and other subgradients at kinks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.forms import Form
from chalkgrad.diagnose.frameworks import framework_of
from chalkgrad.diagnose.graph import Graph
from chalkgrad.diagnose.points import Point, with_inputs
from chalkgrad.diagnose.precision import rounding
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.trial import Trial, run
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Access, Apply, Tensor
from chalkgrad.expr.ops import walk
from chalkgrad.primitives import PRIMITIVES

FAR = 300.0
"""Where data with a mean and a variance are moved: a variance as a difference of squares is lost there."""

SINGLE = float(np.finfo(np.float32).eps)


def fine_points(
    derived: Derived, caller: Caller, trial: Trial, timeout: float | None
) -> tuple[list[str], list[Fault]]:
    """A note where another subgradient is taken at a kink, and digits lost in single precision."""
    with np.errstate(all="ignore"):  # at a kink, or far away, a value may be infinite
        notes = list(other_subgradients(derived, caller, trial.form, trial.points[0], timeout))
        if framework_of(caller.backward) != "numpy":
            return notes, []
        lost = lost_in_single_precision(derived, caller, trial.form, trial.points, timeout)
    return notes, [
        Fault(
            name,
            "precision",
            f"in float64 d{name} is right, but in float32 it is off by {share:.1e} of its size, far more "
            "than rounding explains.",
            "",
            "Look for a difference of large numbers, such as E[x²] − E[x]² for E[(x − μ)²].",
        )
        for name, share in lost.items()
    ]


def lost_in_single_precision(
    derived: Derived, caller: Caller, form: Form, points: Sequence[Point], timeout: float | None
) -> dict[str, float]:
    """Inputs whose gradients lose more digits in float32 than the computation must, with the loss.

    A loss counts only where it shows at most points: one of them may be unlucky.
    """
    hits: dict[str, list[float]] = {}
    caller.dtype = np.float32
    try:
        for point in points:
            single = _single(derived, point)
            if single is None:
                return {}
            trial = run(caller, form, [single], timeout)
            if trial.error or any(r.problem for r in trial.results):
                return {}
            used = trial.points[0]
            allowed = rounding(derived, used, SINGLE)
            for t in derived.wrt:
                returned, true = trial.results[0].gradients.get(t.name), used.true[t]
                if returned is None or returned.shape != true.shape:
                    continue
                scale = float(used.magnitude[t].max(initial=0.0)) or 1.0
                gap = np.abs(np.asarray(returned, float) - true)
                if not (gap <= np.maximum(allowed[t], 1e-300)).all():
                    hits.setdefault(t.name, []).append(float(gap.max(initial=0.0)) / scale)
    finally:
        caller.dtype = np.float64
    return {name: max(found) for name, found in hits.items() if 2 * len(found) > len(points)}


def _single(derived: Derived, point: Point) -> Point | None:
    """The point rounded to float32, moved far away where a mean is taken."""
    far = FAR if Graph.of(derived).statistics else 0.0
    first = next((t for t in derived.program.inputs if t.dtype == "float"), None)
    inputs = {}
    for t in derived.program.inputs:
        array = np.asarray(point.env.array(t))
        if t.dtype == "float":
            inputs[t] = (array + (far if t is first else 0.0)).astype(np.float32).astype(float)
    ups = {
        o.adjoint: point.upstream(o).astype(np.float32).astype(float)
        for o in derived.program.outputs
        if o.adjoint in point.env.arrays
    }
    moved = Point(point.env.having(ups), point.true, point.magnitude, point.parameters)
    try:
        return with_inputs(derived, moved, inputs, {})
    except ChalkgradError:
        return None


def other_subgradients(
    derived: Derived, caller: Caller, form: Form, point: Point, timeout: float | None
) -> list[str]:
    """Notes on inputs set exactly to a kink, where the user's code chooses another subgradient."""
    notes = []
    for tensor, fn, kink in _kinks(derived):
        array = np.array(point.env.array(tensor), float)
        if not array.size:
            continue
        array.flat[0] = kink
        try:
            there = with_inputs(derived, point, {tensor: array}, {})
        except ChalkgradError:
            continue
        trial = run(caller, form, [there], timeout)
        if trial.error or any(r.problem for r in trial.results):
            continue
        returned = trial.results[0].gradients.get(tensor.name)
        true = there.true[tensor]
        if (
            returned is None
            or returned.shape != true.shape
            or np.allclose(returned, true, rtol=1e-6, atol=1e-9)
        ):
            continue
        notes.append(
            f"exactly at {tensor.name} = {kink:g}, where {fn} has a kink, another subgradient is taken than "
            "chalkgrad's; both are right"
        )
    return notes


def _kinks(derived: Derived) -> list[tuple[Tensor, str, float]]:
    """(input, function, kink) for functions with kinks that are applied to an input itself."""
    found: dict[tuple[Tensor, str, float], None] = {}
    for d in derived.program.definitions:
        for node in walk(d.body):
            if isinstance(node, Apply) and len(node.args) == 1 and isinstance(node.args[0], Access):
                tensor = node.args[0].tensor
                if tensor in derived.wrt:
                    for kink in PRIMITIVES[node.fn].kinks:
                        found[tensor, node.fn, kink] = None
    return list(found)
