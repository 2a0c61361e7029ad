"""Whether two forwards are the same, by their values: which layer a forward in a file is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalkgrad.diagnose.check import Check, HasProgram
from chalkgrad.diagnose.forward_value import forward_fault


def same_forward(forward: Callable[..., Any], layer: HasProgram) -> bool:
    """Whether a forward that returns (out, cache) gives the layer's values.

    Raises:
        VerificationError: The layer has no test point.
    """
    judge = Check(lambda dout, cache: None, layer, forward, None, 0, None)
    form = next(judge.caller.forms(), None)
    if form is None:
        return False
    for point in judge.points():
        prepared = form.prepare(point)
        run = prepared.forward
        if (
            run is None
            or run.error
            or prepared.out is None
            or forward_fault(prepared, judge.caller.outputs, judge.layer) is not None
        ):
            return False
    return True
