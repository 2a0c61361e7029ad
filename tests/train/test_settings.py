"""Settings that cannot be used are refused by name before anything is computed, by `fit` and `minimise`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chalkgrad import chain
from chalkgrad.errors import ChalkgradError, DataError
from chalkgrad.layers import affine, softmax_loss
from chalkgrad.train.formula import minimise
from chalkgrad.train.loop import fit
from chalkgrad.train.network import Network
from tests.train.small import blobs, network

NAN, INF = float("nan"), float("inf")
WRONG: dict[str, tuple[str, list[Any]]] = {
    "epochs": ("epochs", [0, -1, 1.5, "3", None, True]),
    "batch_size": ("batch size", [0, -1, 2.5, "a", None]),
    "learning_rate": ("learning rate", [0, -1e-3, NAN, INF, "x", None]),
    "seed": ("seed", [-1, 1.5, "a", None]),
    "threads": ("threads", [0, -1, 1.5, "two"]),
    "engine": ("engine", ["LLVM", "foo", None, 3]),
    "device": ("device", ["gpu", "cuda:x", None, 3]),
    "optimiser": ("update rule", ["adamm", None, 3]),
    "clip_norm": ("clip_norm", [0, -1, NAN, INF, "x", True]),
    "clip_value": ("clip_value", [0, -1, NAN, INF, "x"]),
}
CASES = [(key, said, value) for key, (said, values) in WRONG.items() for value in values]


def by_fit(**settings: Any) -> None:
    fit(network(), blobs(), **{"epochs": 1, **settings})


def by_minimise(**settings: Any) -> None:
    x, y = np.ones((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    start = {"W": np.ones((4, 3)), "b": np.zeros(3)}
    minimise(chain(affine, softmax_loss), start, {"x": x, "y": y}, **{"epochs": 1, **settings})


@pytest.mark.parametrize("train", [by_fit, by_minimise])
@pytest.mark.parametrize(("key", "said", "value"), CASES, ids=[f"{k}={v}" for k, _, v in CASES])
def test_a_wrong_setting_is_named(train: Any, key: str, said: str, value: Any) -> None:
    with pytest.raises(DataError, match=said) as caught:
        train(**{key: value})
    assert caught.value.hint


@pytest.mark.parametrize("train", [by_fit, by_minimise])
def test_numbers_of_numpy_are_numbers(train: Any) -> None:
    train(
        epochs=np.int64(2), batch_size=np.int32(4), learning_rate=np.float32(0.1), seed=np.uint8(3), threads=1
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"sizes": (6,)}, {"sizes": None}, {"sizes": "abc"}, {"sizes": (6, 2.5, 3)}, {"sizes": (6, 0, 3)},
        {"sizes": (6, 1)}, {"dtype": "float16"}, {"dtype": "bf16"}, {"dtype": int}, {"seed": -1},
        {"seed": 1.5}, {"seed": None}, {"l2": -1}, {"l2": "x"}, {"l2": NAN}, {"activation": "rilu"},
        {"activation": None}, {"loss": "hinge"},
    ],
    ids=str,
)  # fmt: skip
def test_a_network_that_cannot_be_made_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(DataError):
        Network(**{"sizes": (6, 4, 3), **settings})


@pytest.mark.parametrize("rows", [[["a"] * 6], [[{}] * 6]], ids=["text", "objects"])
def test_features_that_are_no_numbers_are_refused(rows: Any) -> None:
    with pytest.raises(ChalkgradError, match="no numbers"):
        Network((6, 4, 3)).predict_proba(np.array(rows))
