"""The user's backward at all test points: which form fits, and what it returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.capture import Call, call
from chalkgrad.diagnose.forms import Form, Prepared, Result
from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.precision import largest, rounding
from chalkgrad.expr.nodes import Tensor
from chalkgrad.verify.environment import Array


@dataclass(slots=True)
class Trial:
    """One form of calling, tried at one or more points.

    Attributes:
        form: How the function was called.
        prepared: The arguments at each point.
        calls: What happened at each point.
        results: The gradients found at each point.
    """

    form: Form
    prepared: list[Prepared] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    failed: str = ""

    @property
    def points(self) -> list[Point]:
        """Where the function was called."""
        return [p.point for p in self.prepared]

    @property
    def error(self) -> str:
        """The first error that the backward raised, or that came before it."""
        return self.failed or next((c.error for c in self.calls if c.error), "")

    @property
    def read(self) -> tuple[tuple[str, ...], int]:
        """The inputs in the order in which their gradients were read, and where a loss stood beside them."""
        result = self.results[0] if self.results else None
        return (result.order or self.form.order, result.lead) if result is not None else (self.form.order, 0)

    def observed(self, name: str) -> list[Array] | None:
        """One input's gradients at all points, None where one is missing."""
        found = [r.gradients.get(name) for r in self.results]
        return None if any(f is None for f in found) else [f for f in found if f is not None]


def run(caller: Caller, form: Form, points: Sequence[Point], timeout: float | None) -> Trial:
    """Call the function at each point; stop at the first error."""
    trial = Trial(form)
    for point in points:
        try:
            prepared = form.prepare(point)
        except Exception as problem:  # noqa: BLE001 (the user's forward rule may raise anything)
            trial.failed = f"{type(problem).__name__}: {' '.join(str(problem).split())}"
            return trial
        trial.prepared.append(prepared)
        if prepared.forward is not None and prepared.forward.error:
            trial.failed = f"the forward raises {prepared.forward.error}"
            return trial
        made = call(form.invoke, prepared.arguments, timeout)
        trial.calls.append(made)
        if made.error:
            return trial
        trial.results.append(caller.result(made.value, form, prepared.point))
        if trial.results[-1].lead and prepared.out is None:
            trial.prepared[-1] = replace(prepared, out=trial.results[-1].loss)
    return trial


def wrong_arguments(derived: Derived, trial: Trial, bounds: Bounds) -> list[str]:
    """Inputs whose gradients are missing or differ, in the order of the inputs."""
    found = []
    for t in derived.wrt:
        if any(t.name in r.excused for r in trial.results):
            continue
        if differs(t, trial, bounds):
            found.append(t.name)
    return found


class Bounds:
    """Tolerances by point and precision, computed once and where they decide."""

    def __init__(self, derived: Derived) -> None:
        self.derived = derived
        self._known: dict[tuple[int, float], dict[Tensor, Array]] = {}
        self._kept: list[Point] = []

    def exceeded(self, point: Point, tensor: Tensor, returned: Array) -> bool:
        """Whether a gradient differs from the true one by more than rounding in its precision explains.

        Most are nearer than the floor or further off than any rounding, which takes no closer look.
        """
        eps = _precision(returned.dtype)
        with np.errstate(all="ignore"):
            apart = np.abs(returned - point.true[tensor])
        if not np.isfinite(apart).all():
            return True
        scale = point.magnitude[tensor]
        floor = 1e-9 * scale + 1e-11 * float(np.abs(scale).max(initial=0.0))
        floor = np.maximum(floor, 1e-300)
        if (apart <= floor).all():
            return False
        if (apart > np.maximum(floor, largest(point, tensor, eps))).any():
            return True
        return bool((apart > np.maximum(floor, self._rounding(point, eps)[tensor])).any())

    def _rounding(self, point: Point, eps: float) -> dict[Tensor, Array]:
        key = (id(point), eps)
        if key not in self._known:
            self._kept.append(point)  # or its id might be given to another point
            self._known[key] = rounding(self.derived, point, eps)
        return self._known[key]


def _precision(dtype: np.dtype[Any]) -> float:
    single = dtype.kind == "f" and dtype.itemsize < 8
    return float(np.finfo(dtype).eps) if single else float(np.finfo(float).eps)


def differs(tensor: Tensor, trial: Trial, bounds: Bounds) -> bool:
    """Whether a gradient is missing or wrong at some point."""
    for prepared, result in zip(trial.prepared, trial.results, strict=False):
        returned = result.gradients.get(tensor.name)
        if returned is None or returned.shape != prepared.point.true[tensor].shape:
            return True
        if bounds.exceeded(prepared.point, tensor, returned):
            return True
    return not trial.results


def best(
    caller: Caller, points: Callable[[bool], Sequence[Point]], bounds: Bounds, timeout: float | None
) -> Trial | None:
    """The form of calling that fits best: right beats wrong, running beats raising, earlier beats later.

    Of forms that are wrong for as many inputs the one under which more shapes agree is meant.

    `points(unit)` gives the test points, with an upstream gradient of 1 for a loss that takes none.
    """
    ranked: list[tuple[tuple[float, ...], Trial]] = []
    for place, form in enumerate(caller.forms()):
        some = points(not form.upstream)
        first = run(caller, form, some[:1], timeout)
        if not first.error:
            wrong = wrong_arguments(caller.derived, first, bounds)
            if not wrong:
                return run(caller, form, some, timeout)
            problem = any(r.problem for r in first.results)
            odd = sum(_misshapen(n, first) for n in wrong)
            ranked.append(((float(problem), float(len(wrong)), float(odd), float(place)), first))
        else:
            ranked.append(((2.0, 0.0, 0.0, float(place)), first))
    if not ranked:
        return None
    _, chosen = min(ranked, key=lambda r: r[0])
    if chosen.error:
        return chosen
    return run(caller, chosen.form, points(not chosen.form.upstream), timeout)


def _misshapen(name: str, trial: Trial) -> bool:
    """Whether a gradient has another shape than its input at the first point, or is missing."""
    true = {t.name: a for t, a in trial.points[0].true.items()}
    returned = trial.results[0].gradients.get(name)
    return returned is None or returned.shape != np.shape(true[name])


def relative_error(derived: Derived, trial: Trial) -> float:
    """The largest difference relative to the magnitude of the summands."""
    worst = 0.0
    for prepared, result in zip(trial.prepared, trial.results, strict=True):
        for t in derived.wrt:
            if t.name in result.gradients:
                scale = float(prepared.point.magnitude[t].max(initial=0.0)) or 1.0
                apart = np.abs(result.gradients[t.name] - prepared.point.true[t])
                worst = max(worst, float(apart.max(initial=0.0)) / scale)
    return worst
