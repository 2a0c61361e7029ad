"""Derivatives of derivatives: Hessians, Jacobians, products with them, by the same engine."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.expr.ops import tensors_in
from chalkgrad.layers import GALLERY

torch = pytest.importorskip("torch")

SOFTMAX_LOSS = "p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\nL = -mean(i, log(p[i,y[i]]))"
LOGISTIC = """s[i] = 1 / (1 + exp(-sum(d, x[i,d] * w[d])))
L = -sum(i, y[i] * log(s[i]) + (1 - y[i]) * log(1 - s[i]))"""
QUADRATIC = "L = sum(i, sum(j, x[i] * A[i,j] * x[j]))"


def last(layer: cg.Layer) -> str:
    return str(layer.program.definitions[-1].body)


def test_hessian_of_softmax_loss_is_diag_p_minus_p_p() -> None:
    assert (
        last(cg.formula(SOFTMAX_LOSS).hessian("f")) == "p[i,k] * 1(i == n) * (1(j == k) - p[i,j]) / size(N)"
    )


def test_hessian_of_logistic_regression() -> None:
    assert last(cg.formula(LOGISTIC).hessian("w")) == "sum(i, s[i] * x[i,d] * x[i,e] * (1 - s[i]))"


def test_hessian_of_a_quadratic_form() -> None:
    assert last(cg.formula(QUADRATIC).hessian("x")) == "A[i,j] + A[j,i]"


def test_hessian_vector_product_of_softmax_loss() -> None:
    product = cg.formula(SOFTMAX_LOSS).gradient("f").derive("f").result
    assert str(product.rhs) == "p[i,k] * (dL/ddf[i,k] - sum(j, p[i,j] * dL/ddf[i,j])) / size(N)"


def test_second_derivative_of_a_log_determinant_reads_the_transposed_inverse() -> None:
    """The gradient is named dX = X⁻ᵀ: its derivative must read X⁻¹ out of it the right way round."""
    gradient = GALLERY["log_determinant"].gradient("X")
    gradient.derive("X").verify()
    x = np.random.default_rng(2).normal(size=(3, 3)) + 3 * np.eye(3)
    ops = gradient.compile("numpy")
    v = np.random.default_rng(3).normal(size=(3, 3))
    _, cache = ops.forward(x)
    inverse = np.linalg.inv(x)
    (found,) = ops.backward(v, cache)
    np.testing.assert_allclose(found, -(inverse @ v @ inverse).T, rtol=1e-10)


def test_jacobian_of_affine() -> None:
    jacobian = cg.formula("f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]").jacobian("W")
    assert last(jacobian) == "x[i,d] * 1(j == k)"


def test_an_array_has_no_hessian() -> None:
    with pytest.raises(cg.ChalkgradError, match="no Hessian"):
        cg.formula("y[i] = x[i]^3").hessian("x")


def logistic_loss(x, w, y):
    z = x @ w
    return (torch.nn.functional.softplus(z) - y * z).sum()


def test_numbers_of_hessian_and_products() -> None:
    rng = np.random.default_rng(0)
    x, w, y, v = rng.normal(size=(7, 3)), rng.normal(size=3), rng.integers(0, 2, 7) * 1.0, rng.normal(size=3)
    layer = cg.formula(LOGISTIC)
    wanted = {"x": x, "w": w, "y": y}
    inputs = [wanted[t.name] for t in layer.program.inputs]
    tx, tw, ty = map(torch.tensor, (x, w, y))
    hessian = torch.autograd.functional.hessian(lambda u: logistic_loss(tx, u, ty), tw).numpy()
    np.testing.assert_allclose(_run(layer.hessian("w"), wanted), hessian, rtol=1e-10)
    gradient = layer.gradient("w")
    np.testing.assert_allclose(_run(gradient, wanted) @ v, _run(layer.tangent("w"), {**wanted, "w_dot": v}))
    ops = gradient.compile("numpy")
    named = [wanted[t.name] for t in gradient.program.inputs]
    _, cache = ops.forward(*named)
    found = dict(zip((t.name for t in gradient.program.inputs), ops.backward(v, cache), strict=True))
    np.testing.assert_allclose(found["w"], hessian @ v, rtol=1e-10)
    assert len(inputs) == 3


def _run(layer: cg.Layer, values: dict[str, np.ndarray]) -> np.ndarray:
    ops = layer.compile("numpy")
    value, _ = ops.forward(*(values[t.name] for t in layer.program.inputs))
    return value


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_gauss_newton_product_of_a_two_layer_net() -> None:
    net = cg.formula(
        "a[i,h] = sum(d, x[i,d] * W[d,h])\ng[i,h] = tanh(a[i,h])\nf[i,k] = sum(h, g[i,h] * V[h,k])",
        name="net",
    )
    loss = cg.formula(SOFTMAX_LOSS, name="loss")
    jvp, curvature, vjp = net.tangent("W"), loss.gradient("f").tangent("f"), net.gradient("W")

    @cg.layer
    def gauss_newton(x: "N D", W: "D H", V: "H K", y: "N int", v: "D H"):
        f = net(x, W, V)
        f_dot = jvp(x, W, V, v)
        u = curvature(f, y, f_dot)
        return vjp(x, W, V, u)

    rng = np.random.default_rng(1)
    x, W, V = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    y, v = rng.integers(0, 2, 5), rng.normal(size=(4, 3))
    found, _ = gauss_newton.compile("numpy").forward(x, W, V, y, v)
    tx, tV, ty = torch.tensor(x), torch.tensor(V), torch.tensor(y)

    def scores(u):
        return torch.tanh(tx @ u) @ tV

    f, f_dot = torch.func.jvp(scores, (torch.tensor(W),), (torch.tensor(v),))
    _, back = torch.func.vjp(scores, torch.tensor(W))
    gradient = torch.func.grad(lambda s: torch.nn.functional.cross_entropy(s, ty))
    _, u = torch.func.jvp(gradient, (f,), (f_dot,))
    np.testing.assert_allclose(found, back(u)[0].numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", GALLERY)
def test_a_tangent_reads_what_is_defined_before(name: str) -> None:
    program = GALLERY[name].tangent().program
    known = {*program.inputs, *(t for t, _ in program.parameters)}
    for definition in program.definitions:
        assert tensors_in(definition.body) <= known, definition
        known.add(definition.target)
