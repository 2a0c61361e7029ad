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


def test_a_greek_input_may_be_spelled_out() -> None:
    norm, scale = cg.layers.batch_norm, np.full(3, 2.0)
    assert norm.derive("gamma").result == norm.derive("γ").result
    assert norm.gradient("beta").program.outputs == norm.gradient("β").program.outputs
    np.testing.assert_array_equal(norm(x, gamma=scale, beta=scale), norm(x, scale, scale))
    ops = norm.compile()
    value, cache = ops.forward(x, beta=scale, gamma=scale, eps=1e-3)
    np.testing.assert_array_equal(value, ops.forward(x, scale, scale, eps=1e-3)[0])
    assert len(ops.backward(value, cache)) == 3
    assert norm.source("torch", parameters=("gamma",)) == norm.source("torch", parameters="γ")

    @cg.layer
    def scaled(x: "N D", g: "D"):
        return norm(x, gamma=g, beta=g)

    assert scaled.program.inputs[1].name == "g"


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((x, W, b, b), {}, r"affine\(x, W, b\) takes 3 arguments, not 4"),
        ((x, W, b), {"W": W}, "is given W twice"),
        ((x,), {"w": W, "b": b}, "is given w but has no such argument. Did you mean 'W'"),
        ((x,), {"W": W}, "is not given b"),
    ],
)
def test_a_call_names_what_is_wrong_with_its_arguments(arguments, named, message: str) -> None:
    with pytest.raises(cg.ChalkgradError, match=message):
        cg.layers.affine(*arguments, **named)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda a: a.derive("W", form=None), "no form 'None'"),
        (lambda a: a.source(None), "no emitter for 'None'"),
        (lambda a: a.verify(points=0), "points from 1 on, and got points=0"),
        (lambda a: a.verify(seed=-1), "seed from 0 on, and got seed=-1"),
        (lambda a: a.verify("a"), "got seed='a'"),
        (lambda a: cg.layer(3), "takes a function, and this is 3"),
        (lambda a: cg.layer("f[i] = x[i]"), "cg.formula reads text"),
        (lambda a: cg.layers.batch_norm.with_options(eps="a").program, "eps is a number, not 'a'"),
        (lambda a: a.compile().backward((x, W), x), "the cache that its forward returned last"),
        (lambda a: a.compile().forward([[1.0], [1.0, 2.0]], W, b), "rows have different lengths"),
        (lambda a: a.compile().forward(x, W, b[None]), "b has 2 axes, .*, but 1 is needed"),
        (lambda a: a.compile().forward(x, b=b), r"takes 3 inputs \(x, W, b\), but 2 were given"),
    ],
)
def test_what_is_no_such_thing_is_refused_in_words(wrong, message: str) -> None:
    with pytest.raises(cg.ChalkgradError, match=message):
        wrong(cg.layers.affine)
