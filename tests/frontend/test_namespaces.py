"""PyTorch's and JAX's spellings, traced and compared with what these libraries compute."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from chalkgrad.errors import UnsupportedError
from chalkgrad.frontend.numpy_trace import trace
from chalkgrad.verify.reference import run
from tests.frontend.tracing import arguments

jax.config.update("jax_enable_x64", True)

MODULES = {"torch": torch, "F": F, "jnp": jnp, "jax": jax, "np": np}

IN_TORCH = [
    ("lambda x, W, b: x.mm(W) + b", "N D", "D K", "K"),
    ("lambda x, W: F.relu(torch.matmul(x, W))", "N D", "D K"),
    ("lambda x: torch.softmax(x, dim=1)", "N D"),
    ("lambda x: F.softmax(x, dim=-1) + x.softmax(dim=0)", "N D"),
    ("lambda x: F.log_softmax(x, dim=1)", "N D"),
    ("lambda x: torch.logsumexp(x, dim=1, keepdim=True) * x", "N D"),
    ("lambda x: x.sum(dim=0) + torch.sum(x, dim=0) + x.sum(0)", "N D"),
    ("lambda x: x / x.norm(dim=1, keepdim=True)", "N D"),
    ("lambda x: x.mean(dim=(0, 1)) * torch.mean(x)", "N D"),
    ("lambda x: (x - x.mean(dim=0)) / torch.sqrt(x.var(dim=0, unbiased=False) + 1e-5)", "N D"),
    ("lambda x: torch.var(x, dim=1) * x.std(dim=1)", "N D"),
    ("lambda x: torch.amax(x, dim=1) - x.amin(dim=1)", "N D"),
    ("lambda x: x.t() @ x", "N D"),
    ("lambda x: x.exp().sqrt() + x.tanh().pow(2) - x.abs().log()", "N D"),
    ("lambda x: torch.rsqrt(x.square() + 1)", "N D"),
    ("lambda x: x.transpose(1, 2) @ x", "N D K"),
    ("lambda x: x.permute(2, 0, 1) * torch.permute(x, (2, 0, 1))", "N D K"),
    ("lambda x: x.unsqueeze(1) * torch.unsqueeze(x, 0)", "N D"),
    ("lambda x: x.view(x.shape[0], -1)", "N D K"),
    ("lambda x: torch.flatten(x, start_dim=1) + x.flatten(1)", "N D K"),
    ("lambda x, y: torch.cat((x, y), dim=1)", "N D", "N K"),
    ("lambda x, y: torch.stack((x, y), dim=1)", "N D", "N D"),
    ("lambda x: torch.clamp(x, min=-1, max=1) + x.clamp(min=0)", "N D"),
    ("lambda x: torch.where(x > 0, x, 0.1 * x)", "N D"),
    ("lambda x: F.gelu(x) + F.silu(x) + F.softplus(x) + torch.sigmoid(x) + F.elu(x)", "N D"),
    ("lambda x: F.gelu(x, approximate='tanh') + F.leaky_relu(x, 0.2)", "N D"),
    ("lambda x: torch.einsum('ij,ik->jk', x, x)", "N D"),
    ("lambda x, y: torch.gather(x, 1, y)[:, 0]", "N K", "N 1 int"),
    ("lambda A: torch.inverse(A) @ torch.linalg.inv(A)", "D D"),
    ("lambda A: torch.linalg.slogdet(A)[1] + torch.det(A)", "D D"),
    ("lambda x: torch.std(x, 1) + torch.var(x, 1, False) + torch.var(x, dim=1, correction=0)", "N D"),
    ("lambda x: torch.var(x, False) * torch.std(x)", "N D"),
    ("lambda x: torch.norm(x) + torch.norm(x, p=1, dim=1).sum() + x.norm(p=3, dim=0).sum()", "N D"),
    ("lambda x: torch.linalg.vector_norm(x, dim=1) + torch.linalg.norm(x, ord=3, dim=1)", "N D"),
    ("lambda x: x.chunk(2, dim=1)[0] * torch.chunk(x, 2, dim=-1)[1]", "N 6"),
    ("lambda A: torch.logdet(A @ A.T + torch.eye(A.size(0))) * A.size(1)", "D D"),
    ("lambda x, m: x.masked_fill(m, 0.0) + torch.masked_fill(x, ~m, 1.0)", "N D", "N D bool"),
    ("lambda x, y: torch.index_select(x, 1, y) + x.index_select(1, y)", "N K", "M int"),
    ("lambda x: x.transpose(1, 2).contiguous().view(x.size(0), -1).clone()", "N D K"),
    ("lambda x, W, b: F.relu6(F.linear(x, W, b)) + F.hardtanh(F.linear(x, W), -0.5, 0.5)", "N D", "K D", "K"),
    ("lambda x: F.hardswish(x) + F.mish(x)", "N D"),
    ("lambda x: x * torch.ones(x.shape[0], x.shape[1])", "N D"),
    ("lambda x: torch.cumsum(x, dim=1) + torch.tril(torch.outer(x[0], x[0]))[0]", "N D"),
]
IN_JAX = [
    ("lambda x, W: jnp.tanh(x @ W)", "N D", "D K"),
    ("lambda x: jax.nn.softmax(x, axis=-1) + jax.nn.relu(x)", "N D"),
    ("lambda x: jax.nn.silu(x) * jax.nn.gelu(x, approximate=True)", "N D"),
    ("lambda x: jax.nn.logsumexp(x, axis=1)", "N D"),
    ("lambda x: jnp.linalg.norm(x) + jnp.where(x > 0, x, 0).sum()", "N D"),
    ("lambda x: jax.scipy.special.expit(x)", "N D"),
    ("lambda x: jax.nn.gelu(x) + jax.nn.gelu(x, approximate=False) + jax.nn.hard_tanh(x)", "N D"),
    ("lambda x: x * jnp.arange(x.shape[0])[:, None]", "N D"),
]


def compare(case: tuple[str, ...], convert) -> None:
    made = eval(case[0], dict(MODULES))
    names = made.__code__.co_varnames[: made.__code__.co_argcount]
    made.__annotations__ = dict(zip(names, case[1:], strict=True))
    program = trace(made, "made")
    given = arguments(program)
    expected = np.asarray(made(*(convert(given[t.name]) for t in program.inputs)))
    computed = run(program, {t: given[t.name] for t in program.inputs})[program.outputs[0]]
    assert computed.shape == expected.shape
    np.testing.assert_allclose(computed, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", IN_TORCH, ids=lambda case: case[0].removeprefix("lambda "))
def test_pytorch(case: tuple[str, ...]) -> None:
    compare(case, torch.as_tensor)


@pytest.mark.parametrize("case", IN_JAX, ids=lambda case: case[0].removeprefix("lambda "))
def test_jax(case: tuple[str, ...]) -> None:
    compare(case, jnp.asarray)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lambda x: torch.fft(x)", "torch.fft cannot be traced"),
        ("lambda x: torch.nn.functional.max_pool2d(x, 2)", "max_pool2d cannot be traced"),
        ("lambda x: x.max(dim=1)[0]", "give places"),
        ("lambda x: torch.exp(x).max(1)[0]", "give places"),
        ("lambda x: torch.exp(x).std(1)", "divides by n - 1 in PyTorch"),
        ("lambda x: F.relu(x).var()", "divides by n - 1 in PyTorch"),
        ("lambda x: jax.nn.glu(x)", "jax.nn.glu cannot be traced"),
    ],
)
def test_anything_else_is_refused_by_name(text: str, message: str) -> None:
    made = eval(text, dict(MODULES))
    made.__annotations__ = {"x": "N D"}
    with pytest.raises(UnsupportedError, match=message):
        trace(made, "made")
