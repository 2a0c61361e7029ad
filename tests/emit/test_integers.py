"""Labels and places of every integer type are places: PyTorch would read those of eight bits as a mask."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.train.formula import minimise
from chalkgrad.verify.sample import sample
from tests.emit.gallery import derived
from tests.emitted import emitted, gradients

torch = pytest.importorskip("torch")

TYPES = ("uint8", "int8", "int16", "uint16", "int32", "uint32")

FORMULAS = {
    "labels": "p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\nL = -mean(i, log(p[i,y[i]]))",
    "embedding": "out[i,d] = W[t[i],d]",
    "two_tables": "out[i,d] = W[t[i],d] * V[u[t[i]],d]",
    "affine_places": "out[i] = x[2 * t[i] + 1]",
    "far_places": "out[i] = x[150 * t[i]]",
    "condition": "out[i,k] = where(k == t[i], x[i,k]^2, x[i,k])",
    "condition_of_arithmetic": "t: N int\nout[i,k] = where(k == 150 * t[i], x[i,k]^2, x[i,k])",
    "numbers": "t: N int\nout[i] = x[i] * t[i]",
}

INPUTS = {
    "labels": [np.linspace(-1, 1, 12).reshape(4, 3), np.array([1, 0, 2, 1])],
    "embedding": [np.array([1, 0, 2, 1]), np.linspace(-1, 1, 12).reshape(3, 4)],
    "two_tables": [
        np.array([1, 0, 2, 1]), np.linspace(-1, 1, 12).reshape(3, 4), np.array([1, 1, 0]),
        np.linspace(-2, 1, 8).reshape(2, 4),
    ],
    "affine_places": [np.array([1, 0, 2, 1]), np.linspace(-1, 1, 6)],
    "far_places": [np.array([1, 0, 2, 1]), np.linspace(-1, 1, 301)],
    "condition": [np.array([1, 0, 2, 1]), np.linspace(-1, 1, 12).reshape(4, 3)],
    "condition_of_arithmetic": [np.array([1, 0, 2, 1]), np.linspace(-1, 1, 4 * 301).reshape(4, 301)],
    "numbers": [np.linspace(-1, 1, 4), np.array([1, 0, 2, 1])],
}  # fmt: skip


def ordered(layer, name):
    """The formula's inputs as it orders them: integers first in the order written, then the others."""
    ints = [a for a in INPUTS[name] if a.dtype.kind == "i"]
    floats = [a for a in INPUTS[name] if a.dtype.kind == "f"]
    return [(ints if t.dtype == "int" else floats).pop(0) for t in layer.program.inputs]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_every_integer_type_gives_the_same(name, dtype):
    layer = cg.formula(FORMULAS[name], name)
    inputs = ordered(layer, name)
    narrow = [a.astype(dtype) if a.dtype.kind == "i" else a for a in inputs]
    function = emitted(layer, "torch")[name]
    wanted, found = (function(*map(torch.tensor, given)) for given in (inputs, narrow))
    torch.testing.assert_close(found, wanted)
    upstream = np.cos(np.arange(wanted.numel())).reshape(wanted.shape)
    for a, b in zip(
        gradients(layer, "torch", narrow, upstream), gradients(layer, "numpy", inputs, upstream), strict=True
    ):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


WITH_INTEGERS = [n for n, f in FORWARDS.items() if any(t.dtype == "int" for t in f.program.inputs)]


@pytest.mark.parametrize("name", WITH_INTEGERS)
def test_built_in_layers_take_bytes(name):
    """Forward, backward and a second derivative, which works the forward out again."""
    from chalkgrad.emit.module_text import source

    program = FORWARDS[name].program
    space: dict[str, object] = {}
    exec(source(*derived(name), name, "torch"), space)
    env = sample(program, 0)
    plain = [torch.tensor(env.arrays[t]) for t in program.inputs]
    for a, t in zip(plain, program.inputs, strict=True):
        a.requires_grad_(t.dtype == "float")
    narrow = [
        a.to(torch.uint8) if t.dtype == "int" else a for a, t in zip(plain, program.inputs, strict=True)
    ]
    torch.testing.assert_close(space[name](*narrow), space[name](*plain))
    assert torch.autograd.gradcheck(space[name], narrow, fast_mode=True)
    assert torch.autograd.gradgradcheck(space[name], narrow, fast_mode=True)


def test_long_places_are_not_copied():
    text = cg.formula(FORMULAS["embedding"], "embedding").source("torch")
    assert text.count("t.long()") == 2, text
    t = torch.tensor([1, 0])
    assert t.long() is t


def test_places_that_are_no_whole_numbers_are_refused():
    function = emitted(cg.formula(FORMULAS["embedding"], "embedding"), "torch")["embedding"]
    with pytest.raises(IndexError):
        function(torch.tensor([1.0, 0.5]), torch.zeros(2, 3))


@pytest.mark.parametrize("dtype", TYPES[:1] + TYPES[4:5])
def test_training_by_pytorch_takes_every_integer_type(dtype):
    layer = cg.formula(
        "f[i,k] = sum(d, x[i,d] * W[d,k])\np[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\n"
        "L = -mean(i, log(p[i,y[i]]))"
    )
    x, y = np.linspace(-1, 1, 24).reshape(8, 3), np.arange(8) % 3

    def losses(labels, engine):
        return minimise(layer, {"W": np.zeros((3, 3))}, {"x": x, "y": labels}, epochs=2, engine=engine).losses

    np.testing.assert_allclose(losses(y.astype(dtype), "torch"), losses(y, "plain"), rtol=1e-6)
