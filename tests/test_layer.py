"""What users hold: layers, derivations, verifications, compiled functions; the names of the package."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg

AFFINE = "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]"
x, W, b = (np.random.default_rng(0).normal(size=s) for s in ((2, 3), (3, 4), (4,)))


def test_every_public_name_is_listed_and_there() -> None:
    assert set(dir(cg)) == set(cg.__all__)
    for name in ("layer", "formula", "chain", "check", "Layer", "Derivation", "Diagnosis", "Fault"):
        assert name in dir(cg)
        assert getattr(cg, name) is not None


def test_names_to_differentiate_by_may_stand_in_a_list() -> None:
    layer = cg.formula(AFFINE)
    assert layer.derive(["x", "b"]).results == layer.derive("x", "b").results
    assert [t.name for t in layer.gradient(["W"]).program.outputs] == ["dW"]
    assert layer.tangent(("x",)).program.outputs == layer.tangent("x").program.outputs
    with pytest.raises(cg.ChalkgradError, match="named by text"):
        layer.derive(3)  # type: ignore[arg-type]


def test_a_verification_says_its_worst_error_and_not_all_its_lines() -> None:
    verification = cg.formula(AFFINE).derive("W").verify()
    assert repr(verification) == f"<Verification: {verification}>"
    assert len(repr(verification)) < 120


def test_a_notebook_shows_the_formula_of_a_layer() -> None:
    bundle = cg.formula("s[i] = sum(d, x[i,d]); y[i] = tanh(s[i])")._repr_mimebundle_()
    assert bundle["text/plain"].startswith("<Layer formula: s[i] = ")
    latex = bundle["text/latex"].splitlines()
    assert latex[:2] == ["$$", r"\begin{aligned}"]
    assert latex[2:4] == [r"s_{i} &= \sum_{d} x_{id} \\", r"y_{i} &= \tanh s_{i}"]


@pytest.mark.parametrize("wrong", [np.ones((4, 2)), np.ones((2, 1)), np.ones((1, 4)), np.ones((2, 3))])
def test_an_upstream_gradient_of_the_wrong_size_never_broadcasts(wrong: np.ndarray) -> None:
    ops = cg.formula(AFFINE).compile()
    _, cache = ops.forward(x, W, b)
    with pytest.raises(cg.ChalkgradError, match="df"):
        ops.backward(wrong, cache)


def test_a_cache_of_something_else_is_refused() -> None:
    ops = cg.formula(AFFINE).compile()
    with pytest.raises(cg.ChalkgradError, match="cache that its forward returned"):
        ops.backward(np.ones((2, 4)), (x,))
    with pytest.raises(cg.ChalkgradError, match="cache that its forward returned"):
        ops.backward(np.ones((2, 4)), x)


@pytest.mark.parametrize(("axis", "shape"), [(0, (1, 3)), (1, (2, 1)), ((0, 1), (1, 1))])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "var"])
def test_an_axis_of_length_one_may_be_returned(name: str, axis: int, shape: tuple[int, int]) -> None:
    @cg.layer
    def reduced(x: "N D", axis=axis, name=name):
        return getattr(x, name)(axis=axis, keepdims=True)

    assert reduced.derive().verify().ok
    ops = reduced.compile()
    out, cache = ops.forward(x)
    assert out.shape == shape
    np.testing.assert_allclose(out, getattr(x, name)(axis=axis, keepdims=True))
    (dx,) = ops.backward(np.ones(shape), cache)
    assert dx.shape == x.shape


@pytest.mark.parametrize("text", [3, None, b"y[i] = x[i]", ["y[i] = x[i]"]])
def test_a_formula_is_text(text: object) -> None:
    with pytest.raises(cg.ChalkgradError, match="A formula is text"):
        cg.formula(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["1e400", "9e308", "1e-400"])
def test_numbers_that_no_float_holds_are_refused(number: str) -> None:
    with pytest.raises(cg.ChalkgradError, match="for a float") as caught:
        cg.formula(f"y[i] = x[i] * {number}")
    assert caught.value.position == len("y[i] = x[i] * ")


@pytest.mark.parametrize("kind", ["complex", "float32", "str"])
def test_an_element_type_is_no_axis(kind: str) -> None:
    def doubled(x):
        return 2 * x

    doubled.__annotations__["x"] = f"N D {kind}"
    with pytest.raises(cg.ChalkgradError, match=f'"{kind}" is an element type'):
        _ = cg.layer(doubled).program
