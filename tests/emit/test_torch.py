"""The emitted `autograd.Function` of every built-in layer under every transformation PyTorch has."""

from __future__ import annotations

import numpy as np
import pytest

from chalkgrad.emit.module_text import source
from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.verify.sample import sample
from tests.emit.gallery import derived, numpy_code

torch = pytest.importorskip("torch")

COMPILED = ["affine", "softmax_loss", "batch_norm", "attention", "embedding", "max_pool", "conv1d"]
JVP = ["affine", "softmax_loss", "batch_norm", "attention", "embedding", "conv1d", "huber", "svm_loss"]


def made(name, **options):
    program = FORWARDS[name].program
    space: dict[str, object] = {}
    exec(source(*derived(name), name, "torch", **options), space)
    env = sample(program, 0)
    inputs = [torch.tensor(env.arrays[t]) for t in program.inputs]
    for t, a in zip(program.inputs, inputs, strict=True):
        a.requires_grad_(t.dtype == "float")
    return space, inputs, [n for n, t in enumerate(program.inputs) if t.dtype == "float"]


def scalar(function, inputs):
    """A scalar that weighs every entry of every output differently."""
    found = function(*inputs)
    outputs = found if isinstance(found, tuple) else (found,)
    return sum(
        (o * torch.cos(torch.arange(o.numel(), dtype=o.dtype)).reshape(o.shape)).sum() for o in outputs
    )


@pytest.mark.parametrize("name", FORWARDS)
def test_gradients_equal_numpy_code_and_differences(name):
    space, inputs, floats = made(name)
    function = space[name]
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    plain = [a.detach() for a in inputs]
    found = torch.func.grad(lambda *a: scalar(function, a), tuple(floats))(*plain)
    ops = numpy_code(name)
    out, cache = ops.forward(*(a.numpy() for a in plain))
    outputs = out if isinstance(out, tuple) else (out,)
    upstream = [np.cos(np.arange(np.size(o))).reshape(np.shape(o)) for o in outputs]
    gradients = ops.backward(*upstream, cache)
    for place, ours in zip(floats, found, strict=True):
        np.testing.assert_allclose(ours.numpy(), gradients[place], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", FORWARDS)
def test_differentiated_twice(name):
    space, inputs, floats = made(name)
    assert torch.autograd.gradgradcheck(space[name], inputs, fast_mode=True)
    plain = [a.detach() for a in inputs]

    def slope(*a):
        return sum(
            (g * g).sum() for g in torch.func.grad(lambda *b: scalar(space[name], b), tuple(floats))(*a)
        )

    nested = torch.func.grad(slope, tuple(floats))(*plain)
    first = torch.autograd.grad(scalar(space[name], inputs), [inputs[n] for n in floats], create_graph=True)
    total = sum((g * g).sum() for g in first)
    second = [torch.zeros_like(inputs[n]) for n in floats]
    if total.requires_grad:
        second = torch.autograd.grad(total, [inputs[n] for n in floats], materialize_grads=True)
    for a, b in zip(nested, second, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", FORWARDS)
def test_one_gradient_per_example(name):
    space, inputs, floats = made(name)
    stacked = [torch.stack([a.detach(), a.detach().flip(0) if a.ndim else a.detach()]) for a in inputs]
    gradient = torch.func.grad(lambda *a: scalar(space[name], a), tuple(floats))
    mapped = torch.func.vmap(gradient)(*stacked)
    for n in range(2):
        for got, one in zip(mapped, gradient(*(a[n] for a in stacked)), strict=True):
            torch.testing.assert_close(got[n], one)


# PyTorch's compiler and its forward mode warn of their own deprecated parts.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", COMPILED)
def test_compiles_whole(name):
    space, inputs, floats = made(name)
    torch._dynamo.reset()
    compiled = torch.compile(space[name], fullgraph=True, backend="aot_eager")
    wanted = [inputs[n] for n in floats]
    for a, b in zip(
        torch.autograd.grad(scalar(compiled, inputs), wanted),
        torch.autograd.grad(scalar(space[name], inputs), wanted),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", JVP)
def test_forward_mode(name):
    space, inputs, floats = made(name, jvp=True)
    assert torch.autograd.gradcheck(space[name], inputs, check_forward_ad=True, fast_mode=True)
    plain = [a.detach() for a in inputs]

    def moving(*a):
        return space[name](*(a[floats.index(n)] if n in floats else b for n, b in enumerate(plain)))

    given = tuple(plain[n] for n in floats)
    _, tangent = torch.func.jvp(moving, given, tuple(torch.ones_like(a) for a in given))
    step = 1e-6
    moved = moving(*(a + step for a in given)) - moving(*(a - step for a in given))
    torch.testing.assert_close(tangent, moved / (2 * step), rtol=1e-5, atol=1e-7)


def test_only_what_is_needed_is_computed():
    space, (x, w, b), _ = made("affine")
    out = space["affine"](x.detach(), w.detach(), b)
    (db,) = torch.autograd.grad(out.sum(), [b])
    torch.testing.assert_close(db, torch.full_like(b, out.shape[0]))


def test_module_has_the_named_parameters():
    space, (x, w, b), _ = made("affine", parameters=("W", "b"))
    module = space["AffineModule"](w.detach(), b.detach())
    assert [n for n, _ in module.named_parameters()] == ["W", "b"]
    torch.testing.assert_close(module(x), space["affine"](x, w, b))


def test_single_precision_stays():
    space, inputs, _ = made("batch_norm")
    out = space["batch_norm"](*(a.detach().float() for a in inputs), eps=1e-3)
    assert out.dtype == torch.float32


def test_a_compiled_layer_is_the_module():
    import chalkgrad as cg

    made = cg.formula("y[i] = x[i]^2", "square").compile("torch", jvp=True)
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    made(x).sum().backward()
    torch.testing.assert_close(x.grad, 2 * x.detach())
    assert issubclass(made.Square, torch.autograd.Function)
    assert "class Square(" in made.source


def test_a_host_condition_is_no_tensor():
    """A condition on parameters alone is a Python boolean, which torch.where does not take."""
    import chalkgrad as cg

    made = cg.formula("parameter s: 0.5\ny[i] = where(s > 0.1, x[i]^2, x[i])", "chosen").compile("torch")
    x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(made, [x])
