"""Functions to trace, and the comparison of a program with the function that it came from."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chalkgrad.expr.nodes import Program
from chalkgrad.frontend.numpy_trace import trace
from chalkgrad.verify.reference import run

# Small, distinct and greater than one, so that a transpose or a wrong axis changes the shape.
SIZES = {
    "N": 5,
    "D": 3,
    "K": 4,
    "H": 2,
    "T": 6,
    "S": 7,
    "E": 2,
    "V": 8,
    "M": 6,
    "C": 3,
    "W": 4,
    "G": 2,
    "P": 5,
    "U": 2,
}


def arguments(program: Program, seed: int = 0) -> dict[str, np.ndarray]:
    """An array for each input; integers are labels below every size."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in program.inputs:
        shape = tuple(r.size or SIZES[r.name] for r in tensor.axes)
        if tensor.dtype == "int":
            found[tensor.name] = rng.integers(0, 2, shape)
        elif tensor.dtype == "bool":
            found[tensor.name] = rng.random(shape) < 0.5
        else:
            found[tensor.name] = rng.uniform(0.4, 1.9, shape) * rng.choice([-1.0, 1.0], shape)
    return found


def assert_same(
    function: Callable[..., Any], *, positive: bool = False, leading: int = 1, **statics: Any
) -> Program:
    """The program and the function agree on random arrays, shapes included."""
    program = trace(function, statics=statics, leading=leading)
    given_arrays = arguments(program)
    if positive:
        given_arrays = {k: np.abs(v) if v.dtype == float else v for k, v in given_arrays.items()}
    computed = run(program, {t: given_arrays[t.name] for t in program.inputs})
    expected = function(**{**statics, **given_arrays})
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(expected) == len(program.outputs)
    for output, value in zip(program.outputs, expected, strict=True):
        assert computed[output].shape == np.shape(value)
        np.testing.assert_allclose(computed[output], value, rtol=1e-12, atol=1e-12)
        assert {"f": "float", "i": "int", "b": "bool"}[np.asarray(value).dtype.kind] == output.dtype
    return program


def lines(program: Program) -> list[str]:
    return [str(d) for d in program.definitions]


def lambda_of(text: str, *axes: str) -> Callable[..., Any]:
    """A function from an expression, its arguments annotated with the axes."""
    made = eval(text, {"np": np, "math": math, "window": np.lib.stride_tricks.sliding_window_view})
    names = made.__code__.co_varnames[: made.__code__.co_argcount]
    made.__annotations__ = dict(zip(names, axes, strict=True))
    made.__name__ = "made"
    return made
