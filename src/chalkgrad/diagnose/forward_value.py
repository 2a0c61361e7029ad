"""Is the value of the user's own forward right, or the loss that comes with its gradients?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chalkgrad.diagnose.capture import as_array
from chalkgrad.diagnose.forms import Prepared
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.words import told_apart
from chalkgrad.expr.nodes import Tensor

LOSS = 1e-4
"""A loss may differ by so much of its size: an ε in its logarithm is there for safety."""


def forward_faults(prepared: Sequence[Prepared], outputs: Sequence[Tensor], layer: str) -> list[Fault]:
    """What is wrong with a forward's values at several points; a cause that holds at one of them is none.

    Where all values are 0, as under a mask that drops everything, a factor does not show.
    """
    found = [f for p in prepared if (f := forward_fault(p, outputs, layer)) is not None]
    if not found:
        return []
    silent = sum(not any(np.any(p.point.env.array(t)) for t in outputs) for p in prepared)
    alike = len(found) >= len(prepared) - silent and len({f.cause for f in found}) == 1
    cause = found[0].cause if alike or found[0].cause == "shape" else "unknown"
    if alike and cause == "constant_factor" and not outputs[0].axes:
        cause = _ratio(prepared, outputs[0])
    return [replace(found[0], cause=cause)]


def _ratio(prepared: Sequence[Prepared], output: Tensor) -> str:
    """The cause for a loss that is wrong at each point: one number says nothing of what is wrong with it."""
    values = [p.out[0] if isinstance(p.out, tuple) else p.out for p in prepared]
    true = [p.point.env.array(output) for p in prepared]
    ratios = [float(v) / float(np.asarray(t)) for v, t in zip(values, true, strict=True)]
    sizes = {r: [p.point.env.sizes[r] for p in prepared] for r in prepared[0].point.env.sizes}
    for size in sizes.values():
        if np.allclose(ratios, size, rtol=1e-6, atol=0):
            return "sum_for_mean"
        if np.allclose(ratios, 1 / np.asarray(size), rtol=1e-6, atol=0):
            return "mean_for_sum"
    return "constant_factor" if np.allclose(ratios, ratios[0], rtol=1e-6, atol=0) else "unknown"


def forward_fault(prepared: Prepared, outputs: Sequence[Tensor], layer: str) -> Fault | None:
    """What is wrong with what a forward returned, None if nothing or if there was no forward."""
    if prepared.out is None:
        return None
    outs = prepared.out if isinstance(prepared.out, tuple) else (prepared.out,)
    whose = "your forward" if prepared.forward is not None else "the loss that it returns"
    for tensor, out in zip(outputs, outs, strict=False):
        got, want = as_array(out), np.asarray(prepared.point.env.array(tensor))
        line = f"{tensor.name} of {layer}"
        if got is None:
            return Fault(None, "unknown", f"{whose} returns no array for {line}.")
        if got.shape != want.shape:
            text = f"{whose} returns the shape {got.shape} for {line} instead of {want.shape}."
            return Fault(None, "shape", text)
        scale = float(np.abs(want).max(initial=0.0)) or 1.0
        single = got.dtype.kind == "f" and got.dtype.itemsize < 8
        most = LOSS if single or not tensor.axes else 1e-7
        if not np.abs(got - want).max(initial=0.0) <= most * scale:
            return Fault(None, *_forward_cause(got, want, f"{whose} differs: {line}"))
    return None


def _forward_cause(got: np.ndarray, want: np.ndarray, what: str) -> tuple[str, str]:
    """The cause and the words for a wrong forward value."""
    square = float((want * want).sum())
    ratio = float((want * got).sum()) / square if square else 0.0
    worst = np.unravel_index(int(np.abs(got - want).argmax()), want.shape)
    at = f"[{', '.join(map(str, map(int, worst)))}]" if worst else ""
    one, other = told_apart(float(got[worst]), float(want[worst]), least=6)
    text = f"{what}{at} is {one} and should be {other}."
    if ratio and np.allclose(got, ratio * want, rtol=1e-7, atol=0):
        return ("sign" if abs(ratio + 1) < 1e-9 else "constant_factor"), text
    return "unknown", text
