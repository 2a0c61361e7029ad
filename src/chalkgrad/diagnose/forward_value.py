"""Is the value of the user's own forward right?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chalkgrad.diagnose.capture import as_array
from chalkgrad.diagnose.forms import Prepared
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.words import told_apart
from chalkgrad.expr.nodes import Tensor


def forward_fault(prepared: Prepared, outputs: Sequence[Tensor], layer: str) -> Fault | None:
    """What is wrong with what a forward returned, None if nothing or if there was no forward."""
    if prepared.out is None:
        return None
    outs = prepared.out if isinstance(prepared.out, tuple) else (prepared.out,)
    for tensor, out in zip(outputs, outs, strict=False):
        got, want = as_array(out), np.asarray(prepared.point.env.array(tensor))
        line = f"{tensor.name} of {layer}"
        if got is None:
            return Fault(None, "unknown", f"your forward returns no array for {line}.")
        if got.shape != want.shape:
            text = f"your forward returns the shape {got.shape} for {line} instead of {want.shape}."
            return Fault(None, "shape", text)
        scale = float(np.abs(want).max(initial=0.0)) or 1.0
        single = got.dtype.kind == "f" and got.dtype.itemsize < 8
        if not np.abs(got - want).max(initial=0.0) <= (1e-4 if single else 1e-7) * scale:
            return Fault(None, *_forward_cause(got, want, line))
    return None


def _forward_cause(got: np.ndarray, want: np.ndarray, line: str) -> tuple[str, str]:
    """The cause and the words for a wrong forward value."""
    square = float((want * want).sum())
    ratio = float((want * got).sum()) / square if square else 0.0
    worst = np.unravel_index(int(np.abs(got - want).argmax()), want.shape)
    at = f"[{', '.join(map(str, map(int, worst)))}]" if worst else ""
    one, other = told_apart(float(got[worst]), float(want[worst]), least=6)
    text = f"your forward differs: {line}{at} is {one} and should be {other}."
    if ratio and np.allclose(got, ratio * want, rtol=1e-7, atol=0):
        return ("sign" if abs(ratio + 1) < 1e-9 else "constant_factor"), text
    return "unknown", text
