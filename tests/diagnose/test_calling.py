"""How a user's function is called: what it is told besides arrays, a forward without a cache, its layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY

TOLD = {n: [t.name for t, _ in layer.program.parameters] for n, layer in GALLERY.items()}
SMALL = sorted(n for n, told in TOLD.items() if told and len(GALLERY[n].program.inputs) <= 5)

Backward = Callable[..., Any]


def written(text: str, name: str, **seen: Any) -> Backward:
    """A function made of its text."""
    names: dict[str, Any] = {"np": np, **seen}
    exec(text, names)
    found: Backward = names[name]
    return found


def signature(name: str, *, bare: bool = False) -> tuple[str, str]:
    """A layer's inputs and its keyword scalars as a parameter list writes them."""
    program = GALLERY[name].program
    given = ", ".join(n.name if bare else f"{n.name}={v!r}" for n, v in program.parameters)
    return ", ".join(t.name for t in program.inputs), given


def by_derivation(name: str) -> Backward:
    """The right gradients of a layer, for its inputs in order and its scalars by name."""
    ops = GALLERY[name].compile("numpy")

    def gradients(dout: Any, inputs: Any, **told: float) -> Any:
        return ops.raw_backward(dout, ops.raw_forward(*inputs, **told)[1])

    return gradients


def passed(name: str) -> str:
    return ", ".join(f"{n}={n}" for n in TOLD[name])


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(
    "form",
    [
        "def b(dout, cache, {default}): return right(dout, cache, {passed})",
        "def b(dout, {inputs}, {default}): return right(dout, ({inputs},), {passed})",
        "def b(dout, cache, {bare}): return right(dout, cache, {passed})",
        "def b(dout, {inputs}, {bare}): return right(dout, ({inputs},), {passed})",
        "def b(dout, cache, *, {bare}): return right(dout, cache, {passed})",
        "def b(*, dout, {inputs}, {default}): return right(dout, ({inputs},), {passed})",
    ],
)
def test_what_a_backward_may_be_told_is_told(name: str, form: str) -> None:
    inputs, default = signature(name)
    text = form.format(
        inputs=inputs, default=default, bare=signature(name, bare=True)[1], passed=passed(name)
    )
    diagnosis = cg.check(written(text, "b", right=by_derivation(name)), GALLERY[name])
    assert diagnosis.ok, f"{text}\n{diagnosis}"


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("own", ["{default}", "{bare}"])
def test_forward_and_backward_are_told_the_same(name: str, own: str) -> None:
    inputs, default = signature(name)
    told = own.format(default=default, bare=signature(name, bare=True)[1])
    seen = {"run": GALLERY[name].compile("numpy").raw_forward, "right": by_derivation(name)}
    forward = written(
        f"def f({inputs}, {told}): return run({inputs}, {passed(name)})[0], ({inputs},)", "f", **seen
    )
    backward = written(f"def b(d, cache, {told}): return right(d, cache, {passed(name)})", "b", **seen)
    diagnosis = cg.check(backward, GALLERY[name], forward=forward)
    assert diagnosis.ok, str(diagnosis)


def test_a_scalar_may_have_a_usual_name_and_a_default_of_its_own() -> None:
    for name in ("slope", "alpha", "negative_slope"):
        text = f"def b(dout, cache, {name}=0.2): return dout * np.where(cache[0] > 0, 1, {name})"
        assert cg.check(written(text, "b"), GALLERY["leaky_relu"]).ok


def test_a_scalar_that_is_told_and_ignored_is_a_fault() -> None:
    ignored = cg.check(
        lambda dout, cache, slope=0.01: dout * np.where(cache[0] > 0, 1, 0.01), GALLERY["leaky_relu"]
    )
    assert [f.argument for f in ignored.faults] == ["x"]


@pytest.mark.parametrize("name", ["relu", "softmax", "affine", "layer_norm", "lstm_cell"])
def test_a_forward_may_return_the_output_alone(name: str) -> None:
    ops = GALLERY[name].compile("numpy")
    count = len(GALLERY[name].program.outputs)

    def forward(*inputs: Any) -> Any:
        return ops.raw_forward(*inputs)[0]

    def backward(*given: Any) -> Any:
        return ops.raw_backward(*given[:count], ops.raw_forward(*given[count:])[-1])

    named = ", ".join(t.name for t in GALLERY[name].program.inputs)
    ups = ", ".join(f"up{n}" for n in range(count))
    own = written(f"def b({ups}, {named}): return run({ups}, {named})", "b", run=backward)
    assert cg.check(own, GALLERY[name], forward=forward).ok
    off = cg.check(own, GALLERY[name], forward=lambda *inputs: forward(*(2 * a for a in inputs)))
    assert [f.argument for f in off.faults] == [None]
    assert "forward" in off.faults[0].evidence


def test_what_a_forward_kept_is_used_where_it_kept_something() -> None:
    diagnosis = cg.check(
        lambda dout, cache: dout * (cache > 0), GALLERY["relu"], forward=lambda x: (np.maximum(0, x), -x)
    )
    assert [f.argument for f in diagnosis.faults] == ["x"]


BY_OUTPUT = {
    "sigmoid": lambda d, out: d * out * (1 - out),
    "tanh": lambda d, out: d * (1 - out**2),
    "relu": lambda d, out: d * (out > 0),
    "softmax": lambda d, out: out * (d - (d * out).sum(axis=1, keepdims=True)),
}


@pytest.mark.parametrize("name", BY_OUTPUT)
@pytest.mark.parametrize("own", ["out", "output", "h"])
def test_a_backward_may_take_the_output(name: str, own: str) -> None:
    ops = GALLERY[name].compile("numpy")
    seen = {"right": BY_OUTPUT[name]}
    backward = written(f"def b(dout, {own}): return right(dout, {own})", "b", **seen)
    assert cg.check(backward, GALLERY[name]).ok
    assert cg.check(backward, GALLERY[name], forward=lambda x: ops.raw_forward(x)[0]).ok
    wrong = written(f"def b(dout, {own}): return 2 * right(dout, {own})", "b", **seen)
    for forward in (None, lambda x: ops.raw_forward(x)[0]):
        assert not cg.check(wrong, GALLERY[name], forward=forward).ok


def test_a_fault_of_a_backward_of_the_output_is_told_of_the_output() -> None:
    backward = written("def b(dout, out): return dout * (1 - out)", "b")
    for forward in (None, np.tanh):
        faults = cg.check(backward, GALLERY["tanh"], forward=forward).faults
        assert [f.cause for f in faults] == ["missing_factor"]


def test_what_is_called_like_the_input_is_the_input() -> None:
    for name in ("sigmoid", "tanh"):
        backward = written("def b(dout, x): return right(dout, x)", "b", right=BY_OUTPUT[name])
        assert not cg.check(backward, GALLERY[name]).ok
        ops = GALLERY[name].compile("numpy")
        assert not cg.check(backward, GALLERY[name], forward=lambda x, ops=ops: ops.raw_forward(x)[0]).ok
