"""Whether two forwards are the same, by their values: which layer a forward in a file is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chalkgrad.diagnose.capture import as_array, call
from chalkgrad.diagnose.check import Check, HasProgram
from chalkgrad.diagnose.forward_value import forward_fault
from chalkgrad.diagnose.names import is_settings, match_all, required
from chalkgrad.expr.nodes import Program
from chalkgrad.verify.sample import sample

TIMEOUT = 10.0
"""Seconds that one call may take."""


def same_forward(forward: Callable[..., Any], layer: HasProgram) -> bool:
    """Whether a forward that returns (out, cache) gives the layer's values.

    Raises:
        VerificationError: The layer has no test point.
    """
    if not _may_be(forward, layer.program):
        return False
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


def refusal(forward: Callable[..., Any], layer: HasProgram) -> str:
    """What a forward raises when it is given the layer's inputs; empty where it runs."""
    judge = Check(lambda dout, cache: None, layer, forward, None, 0, None)
    form = next(judge.caller.forms(), None)
    run = form.prepare(judge.points()[0]).forward if form is not None else None
    return run.error if run is not None else ""


def _may_be(forward: Callable[..., Any], program: Program) -> bool:
    """What can be told without deriving the layer: the number of arguments, and one value."""
    read = required(forward)
    if read is None:
        return True
    must = [n for n in read[0] if not is_settings(n)]
    masks = sum(t.dtype == "bool" for t in program.inputs)  # a forward may draw its own
    if not len(program.inputs) - masks <= len(must) <= len(program.inputs):
        return False
    names = [t.name for t in program.inputs]
    order = match_all(must, names)
    simple = len(must) == len(read[0]) == len(names) and (order is None or [order[n] for n in must] == names)
    return not simple or _agrees(forward, program)


def _agrees(forward: Callable[..., Any], program: Program) -> bool:
    """Whether the first output is the layer's at one point, the arguments in the layer's order."""
    value = values_of(forward, program)
    got = as_array(value[0] if isinstance(value, tuple) and value else value)
    env = sample(program, 0, parameters=dict(program.parameters))
    want = np.asarray(env.array(program.outputs[0]))
    return got is not None and got.shape == want.shape and bool(np.allclose(got, want, rtol=1e-3, atol=1e-6))


def values_of(function: Callable[..., Any], program: Program) -> Any:
    """What a function gives for the layer's inputs at one point, in order; None where it raises."""
    env = sample(program, 0, parameters=dict(program.parameters))
    inputs = {t.name: np.asarray(env.array(t)) for t in program.inputs}
    return call(lambda given: function(*given.values()), inputs, TIMEOUT).value
