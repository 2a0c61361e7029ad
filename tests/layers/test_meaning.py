"""Forward values against PyTorch's own functions of the same name: a formula that is derived right can
still be the wrong formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)

from chalkgrad.errors import ShapeError
from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.verify.reference import run

rng = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape)


def value(name: str, arrays: dict[str, Any], **options: Any) -> Any:
    program = FORWARDS[name].with_options(**options).program
    parameters = {t: arrays[t.name] for t, _ in program.parameters if t.name in arrays}
    found = run(program, {t: arrays[t.name] for t in program.inputs}, parameters)
    outputs = tuple(found[t] for t in program.outputs)
    return outputs if len(outputs) > 1 else outputs[0]


def close(found: Any, expected: Any) -> None:
    for a, b in zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]:
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-9, atol=1e-11)


def tensors(*arrays: Any) -> list[torch.Tensor]:
    return [torch.as_tensor(np.asarray(a)) for a in arrays]


CONVOLUTIONS = [
    {},
    {"stride": 2},
    {"stride": 3, "padding": 2},
    {"dilation": 2, "padding": 1},
    {"stride": 2, "padding": 1, "dilation": 2},
    {"groups": 2},
    {"groups": 2, "stride": 2, "padding": 1},
    {"groups": 4},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_convolutions(options: dict[str, int]) -> None:
    groups = options.get("groups", 1)
    x, W, b = normal(2, 4, 9, 8), normal(8, 4 // groups, 3, 2), normal(8)
    expected = F.conv2d(*tensors(x, W, b), **options)
    close(value("conv2d", {"x": x, "W": W, "b": b}, **options), expected)
    expected = F.conv1d(*tensors(x[..., 0], W[..., 0], b), **options)
    close(value("conv1d", {"x": x[..., 0], "W": W[..., 0], "b": b}, **options), expected)


def test_groups_must_divide_the_channels() -> None:
    arrays = {"x": normal(1, 5, 4, 4), "W": normal(4, 2, 2, 2), "b": normal(4)}
    with pytest.raises(ShapeError):
        value("conv2d", arrays, groups=2)


@pytest.mark.parametrize(("window", "stride"), [(2, None), (3, None), (3, 2), (2, 3), (3, 1)])
def test_pooling(window: int, stride: int | None) -> None:
    x = normal(2, 3, 9, 7)
    (t,) = tensors(x)
    close(value("max_pool", {"x": x}, window=window, stride=stride), F.max_pool2d(t, window, stride))
    close(value("avg_pool", {"x": x}, window=window, stride=stride), F.avg_pool2d(t, window, stride))


def test_normalisations() -> None:
    x, g, b = normal(4, 6, 3, 5), normal(6), normal(6)
    t, weight, bias = tensors(x, g, b)
    given = {"x": x, "γ": g, "β": b}
    close(value("spatial_batch_norm", given), F.batch_norm(t, None, None, weight, bias, training=True))
    close(value("instance_norm", given), F.instance_norm(t, weight=weight, bias=bias))
    grouped = {"x": x.reshape(4, 2, 3, 3, 5), "γ": g.reshape(2, 3), "β": b.reshape(2, 3)}
    close(value("group_norm", grouped).reshape(x.shape), F.group_norm(t, 2, weight, bias))
    flat = {"x": x[..., 0, 0], "γ": g, "β": b}
    close(value("batch_norm", flat), F.batch_norm(t[..., 0, 0], None, None, weight, bias, training=True))
    close(value("layer_norm", flat), F.layer_norm(t[..., 0, 0], (6,), weight, bias))


CASES: list[tuple[str, dict[str, Any], dict[str, Any], Callable[..., Any]]] = [
    ("softmax_loss", {"f": normal(5, 4), "y": np.array([0, 3, 1, 2, 2])}, {}, F.cross_entropy),
    (
        "softmax_loss",
        {"f": normal(5, 4), "y": np.array([0, 3, 1, 2, 2])},
        {"label_smoothing": 0.3},
        lambda f, y: F.cross_entropy(f, y, label_smoothing=0.3),
    ),
    ("kl_divergence", {"l": np.log([[0.3, 0.7]]), "t": np.array([[0.6, 0.4]])}, {},
     lambda p, t: F.kl_div(p, t, reduction="batchmean")),
    ("gaussian_nll", {"m": normal(3, 2), "t": normal(3, 2), "v": np.abs(normal(3, 2)) + 0.1}, {},
     F.gaussian_nll_loss),
    ("cosine_embedding", {"x": normal(4, 3), "z": normal(4, 3), "t": np.array([1, 0, 1, 0])}, {},
     lambda x, z, t: F.cosine_embedding_loss(x, z, 2 * t - 1)),
    ("triplet_loss", {"a": normal(4, 3), "p": normal(4, 3), "n": normal(4, 3)}, {},
     lambda a, p, n: F.triplet_margin_loss(a, p, n, eps=0)),
    ("cosine_similarity", {"x": normal(4, 3), "z": normal(4, 3)}, {}, F.cosine_similarity),
    ("pairwise_distances", {"x": normal(4, 3), "z": normal(5, 3)}, {}, torch.cdist),
    ("attention", {"q": normal(4, 3), "k": normal(5, 3), "v": normal(5, 2)}, {},
     F.scaled_dot_product_attention),
    ("attention", {"q": normal(4, 3), "k": normal(5, 3), "v": normal(5, 2), "mask": normal(4, 5)},
     {"mask": True},
     F.scaled_dot_product_attention),
    ("trace_form", {"A": normal(2, 3), "X": normal(4, 3), "B": normal(4, 4), "C": normal(3, 2)}, {},
     lambda A, X, B, C: torch.trace(A @ X.T @ B @ X @ C)),
    ("log_determinant", {"X": normal(4, 4)}, {}, lambda X: torch.linalg.slogdet(X)[1]),
    ("inverse", {"X": normal(4, 4)}, {}, torch.linalg.inv),
    ("weight_norm", {"V": normal(4, 3), "g": normal(3)}, {}, lambda V, g: torch._weight_norm(V, g[None], 1)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}{case[2] or ''}")
def test_the_same_function_of_pytorch(
    case: tuple[str, dict[str, Any], dict[str, Any], Callable[..., Any]],
) -> None:
    name, arrays, options, function = case
    order = [t.name for t in FORWARDS[name].with_options(**options).program.inputs]
    close(value(name, arrays, **options), function(*tensors(*(arrays[n] for n in order))))


@pytest.mark.parametrize(("name", "gates"), [("rnn_cell", 1), ("lstm_cell", 4)])
def test_recurrent_cells(name: str, gates: int) -> None:
    x, h, c = normal(3, 5), normal(3, 2), normal(3, 2)
    U, W, b = normal(gates, 5, 2), normal(gates, 2, 2), normal(gates, 2)
    stacked = tensors(
        U.transpose(0, 2, 1).reshape(-1, 5),
        W.transpose(0, 2, 1).reshape(-1, 2),
        b.reshape(-1),
        0 * b.reshape(-1),
    )
    if name == "rnn_cell":
        cell: torch.nn.Module = torch.nn.RNNCell(5, 2).double()
        given, state = {"x": x, "h": h, "U": U[0], "W": W[0], "b": b[0]}, torch.as_tensor(h)
    else:
        cell = torch.nn.LSTMCell(5, 2).double()
        given, state = {"x": x, "h": h, "c": c, "U": U, "W": W, "b": b}, tuple(tensors(h, c))
    with torch.no_grad():
        for parameter, array in zip(cell.parameters(), stacked, strict=True):
            parameter.copy_(array)
        expected = cell(torch.as_tensor(x), state)
    close(value(name, given), expected)


def test_rotary_positions_turn_each_pair() -> None:
    x = normal(6, 4, 2)
    angle = np.arange(6)[:, None] * 10000.0 ** (-np.arange(4) / 4)
    turned = (x[..., 0] + 1j * x[..., 1]) * np.exp(1j * angle)
    close(value("rope", {"x": x}), np.stack((turned.real, turned.imag), axis=-1))


def test_declared_targets_that_do_not_sum_to_one_give_another_loss() -> None:
    f, t = normal(3, 4), rng.random((3, 4))
    general = value("soft_target_loss", {"f": f, "t": t})
    assert value("soft_target_loss", {"f": f, "t": t}, normalised=True) != pytest.approx(general)
    t /= t.sum(axis=1, keepdims=True)
    declared = value("soft_target_loss", {"f": f, "t": t}, normalised=True)
    assert declared == pytest.approx(value("soft_target_loss", {"f": f, "t": t}))
    assert declared == pytest.approx(F.cross_entropy(*tensors(f, t)).item())
