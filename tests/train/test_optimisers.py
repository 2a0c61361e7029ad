"""Update rules against CS231n's published values, PyTorch, and themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chalkgrad.errors import DataError
from chalkgrad.train.optimisers import RULES, Optimiser

N, D = 4, 5
W = np.linspace(-0.4, 0.6, N * D)
DW = np.linspace(-0.6, 0.4, N * D)

# Published in CS231n's FullyConnectedNets.ipynb, rounded to eight decimals there.
MOMENTUM_W = [
    0.1406, 0.20738947, 0.27417895, 0.34096842, 0.40775789, 0.47454737, 0.54133684, 0.60812632, 0.67491579,
    0.74170526, 0.80849474, 0.87528421, 0.94207368, 1.00886316, 1.07565263, 1.14244211, 1.20923158,
    1.27602105, 1.34281053, 1.4096,
]  # fmt: skip
MOMENTUM_V = [
    0.5406, 0.55475789, 0.56891579, 0.58307368, 0.59723158, 0.61138947, 0.62554737, 0.63970526, 0.65386316,
    0.66802105, 0.68217895, 0.69633684, 0.71049474, 0.72465263, 0.73881053, 0.75296842, 0.76712632,
    0.78128421, 0.79544211, 0.8096,
]  # fmt: skip
RMSPROP_W = [
    -0.39223849, -0.34037513, -0.28849239, -0.23659121, -0.18467247, -0.132737, -0.08078555, -0.02881884,
    0.02316247, 0.07515774, 0.12716641, 0.17918792, 0.23122175, 0.28326742, 0.33532447, 0.38739248,
    0.43947102, 0.49155973, 0.54365823, 0.59576619,
]  # fmt: skip
RMSPROP_CACHE = [
    0.5976, 0.6126277, 0.6277108, 0.64284931, 0.65804321, 0.67329252, 0.68859723, 0.70395734, 0.71937285,
    0.73484377, 0.75037008, 0.7659518, 0.78158892, 0.79728144, 0.81302936, 0.82883269, 0.84469141,
    0.86060554, 0.87657507, 0.8926,
]  # fmt: skip
ADAM_W = [
    -0.40094747, -0.34836187, -0.29577703, -0.24319299, -0.19060977, -0.1380274, -0.08544591, -0.03286534,
    0.01971428, 0.0722929, 0.1248705, 0.17744702, 0.23002243, 0.28259667, 0.33516969, 0.38774145,
    0.44031188, 0.49288093, 0.54544852, 0.59801459,
]  # fmt: skip
ADAM_V = [
    0.69966, 0.68908382, 0.67851319, 0.66794809, 0.65738853, 0.64683452, 0.63628604, 0.6257431, 0.61520571,
    0.60467385, 0.59414753, 0.58362676, 0.57311152, 0.56260183, 0.55209767, 0.54159906, 0.53110598,
    0.52061845, 0.51013645, 0.49966,
]  # fmt: skip
ADAM_M = [
    0.48, 0.49947368, 0.51894737, 0.53842105, 0.55789474, 0.57736842, 0.59684211, 0.61631579, 0.63578947,
    0.65526316, 0.67473684, 0.69421053, 0.71368421, 0.73315789, 0.75263158, 0.77210526, 0.79157895,
    0.81105263, 0.83052632, 0.85,
]  # fmt: skip

PUBLISHED = 6e-9
"""Half a unit of the eighth decimal, and a little."""


def test_cs231n_momentum() -> None:
    rule = Optimiser("momentum")
    rule.load({"v": np.linspace(0.6, 0.9, N * D)}, 0)
    np.testing.assert_allclose(rule.step(W, DW, 1e-3), MOMENTUM_W, rtol=0, atol=PUBLISHED)
    np.testing.assert_allclose(rule.memories["v"], MOMENTUM_V, rtol=0, atol=PUBLISHED)


def test_cs231n_rmsprop() -> None:
    rule = Optimiser("rmsprop")
    rule.load({"c": np.linspace(0.6, 0.9, N * D)}, 0)
    np.testing.assert_allclose(rule.step(W, DW, 1e-2), RMSPROP_W, rtol=0, atol=PUBLISHED)
    np.testing.assert_allclose(rule.memories["c"], RMSPROP_CACHE, rtol=0, atol=PUBLISHED)


def test_cs231n_adam() -> None:
    rule = Optimiser("adam")
    rule.load({"m": np.linspace(0.6, 0.9, N * D), "v": np.linspace(0.7, 0.5, N * D)}, 5)
    np.testing.assert_allclose(rule.step(W, DW, 1e-2), ADAM_W, rtol=0, atol=PUBLISHED)
    np.testing.assert_allclose(rule.memories["m"], ADAM_M, rtol=0, atol=PUBLISHED)
    np.testing.assert_allclose(rule.memories["v"], ADAM_V, rtol=0, atol=PUBLISHED)


TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
}


def test_every_rule_has_an_oracle() -> None:
    assert set(TORCH) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_torch_takes_the_same_steps(name: str) -> None:
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(7)
    w = generator.standard_normal(11)
    optimum = generator.standard_normal(11)
    theirs = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    kind, options = TORCH[name]
    torch_optimiser = getattr(torch.optim, kind)([theirs], lr=0.05, **options)
    ours = Optimiser(name)
    for _ in range(25):
        theirs.grad = theirs.detach() - torch.tensor(optimum)
        torch_optimiser.step()
        w = ours.step(w, w - optimum, 0.05)
        np.testing.assert_allclose(w, theirs.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_is_kept_and_nothing_is_changed_in_place(name: str, dtype: type) -> None:
    generator = np.random.default_rng(1)
    rule = Optimiser(name)
    w = generator.standard_normal(6).astype(dtype)
    for _ in range(3):
        g = generator.standard_normal(6).astype(dtype)
        before = (w.copy(), g.copy(), {n: m.copy() for n, m in rule.memories.items()})
        held = dict(rule.memories)
        after = rule.step(w, g, 0.01)
        np.testing.assert_array_equal(w, before[0])
        np.testing.assert_array_equal(g, before[1])
        for memory, values in before[2].items():
            np.testing.assert_array_equal(held[memory], values)
        assert after.dtype == dtype
        assert all(m.dtype == dtype and m.shape == w.shape for m in rule.memories.values())
        assert (after != w).all()
        w = after


def test_constants_are_used() -> None:
    w, g = np.array([1.0]), np.array([1.0])
    slow, fast = Optimiser("momentum", mu=0.0), Optimiser("momentum", mu=0.5)
    for _ in range(2):
        ws, wf = slow.step(w, g, 0.1), fast.step(w, g, 0.1)
    np.testing.assert_allclose((ws, wf), ([0.9], [0.85]))
    assert fast.fresh().settings() == fast.settings()
    assert fast.fresh().steps == 0


def test_unknown_names_are_refused() -> None:
    with pytest.raises(DataError, match=r"no update rule 'adm'. Did you mean 'adam'"):
        Optimiser("adm")
    with pytest.raises(DataError, match=r"no constant 'beta'. Did you mean 'beta"):
        Optimiser("adam", beta=0.9)
    with pytest.raises(DataError, match="It has: none"):
        Optimiser("sgd", mu=0.9)
    with pytest.raises(DataError, match="does not belong to the rule 'adam'"):
        Optimiser("adam").load({"v": np.zeros(3)}, 4)
