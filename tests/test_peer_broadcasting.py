"""Unbroadcasting: every rule sums an operand's gradient back to the operand's own shape.

Seen in Tangent, where each rule does it for itself and two forgot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chalkgrad as cg
from tests.emitted import by_the_derivation, gradients

BROADCASTING: dict[str, tuple[Callable[..., Any], int]] = {
    "add": (np.add, 2),
    "subtract": (np.subtract, 2),
    "multiply": (np.multiply, 2),
    "divide": (np.divide, 2),
    "power": (np.power, 2),
    "maximum": (np.maximum, 2),
    "minimum": (np.minimum, 2),
    "where": (lambda a, c, e: np.where(a > 1.2, c, e), 3),
    "clip": (np.clip, 3),
    "comparison": (lambda a, c: (a > c) * a * c, 2),
    "matmul": (lambda a, c: ((a + c) @ (a + c).swapaxes(-1, -2)) * 0.5, 2),
    "twice": (lambda a, c, e: (a * c + e) / (a + e), 3),
}
AXES = {"A": 2, "B": 3, "C": 4}


@st.composite
def operands(draw_from: st.DrawFn, ones: bool) -> tuple[str, list[tuple[str, ...]]]:
    """A function, and the axes of each operand: a suffix of A B C, where `ones` is set some of size 1.

    One operand has all axes, so that something is broadcast as a rule.
    """
    name = draw_from(st.sampled_from(sorted(BROADCASTING)))
    found = []
    for _ in range(BROADCASTING[name][1] - 1):
        axes = "ABC"[draw_from(st.integers(0, 3)) :]
        found.append(tuple(draw_from(st.sampled_from([axis, "1"])) if ones else axis for axis in axes))
    return name, draw_from(st.permutations([*found, ("A", "B", "C")]))


def with_axes(function: Callable[..., Any], axes: list[tuple[str, ...]]) -> Callable[..., Any]:
    """The function with its operands' axes in annotations."""
    if len(axes) == 2:

        def applied(u, v):
            return function(u, v)
    else:

        def applied(u, v, w):
            return function(u, v, w)

    applied.__annotations__ = {n: " ".join(a) for n, a in zip("uvw", axes, strict=False)}
    return applied


def numeric(function: Callable[..., Any], arrays: list[np.ndarray], upstream: np.ndarray) -> list[np.ndarray]:
    """Central differences of Σ upstream · function by every entry of every operand."""
    step, gradients = 1e-6, []
    for place, array in enumerate(arrays):
        gradient = np.zeros(array.shape)
        for entry in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[place][entry] += sign * step
                ends.append(float((upstream * function(*moved)).sum()))
            gradient[entry] = (ends[0] - ends[1]) / (2 * step)
        gradients.append(gradient)
    return gradients


def assert_sums_come_back(name: str, axes: list[tuple[str, ...]]) -> None:
    """Each gradient has its input's shape and is the derivative, by the code and by the derivation."""
    function = BROADCASTING[name][0]
    rng = np.random.default_rng(3)
    arrays = [rng.uniform(0.5, 2.0, tuple(AXES.get(a, 1) for a in own)) for own in axes]
    layer = cg.layer(with_axes(function, axes))
    value = function(*arrays)
    upstream = rng.normal(size=value.shape)
    expected = numeric(function, arrays, upstream)
    names = "uvw"[: len(arrays)]
    derived = by_the_derivation(layer, dict(zip(names, arrays, strict=True)), upstream)
    np.testing.assert_allclose(layer(*arrays), value, rtol=1e-12)
    for n, array, found, true in zip(
        names, arrays, gradients(layer, "numpy", arrays, upstream), expected, strict=True
    ):
        assert np.shape(found) == derived[n].shape == array.shape, f"{name}, d{n}"
        np.testing.assert_allclose(derived[n], true, rtol=1e-6, atol=1e-6, err_msg=f"{name}, d{n}")
        np.testing.assert_allclose(found, true, rtol=1e-6, atol=1e-6, err_msg=f"{name}, d{n}")


@settings(max_examples=60)
@given(case=operands(ones=False))
def test_an_operand_without_an_axis_gets_its_sum_back(case: tuple[str, list[tuple[str, ...]]]) -> None:
    assert_sums_come_back(*case)


@settings(max_examples=60)
@given(case=operands(ones=True))
@example(case=("add", [("B", "1"), ("A", "B", "C")]))
def test_an_operand_with_an_axis_of_one_gets_its_sum_back(case: tuple[str, list[tuple[str, ...]]]) -> None:
    assert_sums_come_back(*case)


@pytest.mark.parametrize("name", BROADCASTING)
def test_every_rule_broadcasts_a_bias_back(name: str) -> None:
    rest: list[tuple[str, ...]] = [("A", "B", "C")] * (BROADCASTING[name][1] - 1)
    assert_sums_come_back(name, [("C",), *rest])
    assert_sums_come_back(name, [*rest, ("C",)])
