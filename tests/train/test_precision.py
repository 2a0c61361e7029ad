"""Products of bfloat16 in training: near float32's losses, resumed bit for bit, or refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import DataError, MissingExtraError, UnsupportedError
from chalkgrad.train.data import Dataset
from chalkgrad.train.formula import minimise
from chalkgrad.train.history import History
from chalkgrad.train.loop import fit
from chalkgrad.train.network import Network
from tests.train.small import blobs, network


def has_instructions() -> bool:
    try:
        from chalkgrad.emit.kernels.targets import host

        host().with_pairs()
    except (ImportError, MissingExtraError, UnsupportedError):
        return False
    return True


needs_instructions = pytest.mark.skipif(not has_instructions(), reason="needs llvmlite and AVX-512 BF16")


def train(net: Network, epochs: int = 6, data: Dataset | None = None, **options: Any) -> History:
    given = {"batch_size": 16, "learning_rate": 0.01, "seed": 5, "matmul_precision": "bfloat16"}
    return fit(net, data or blobs(), epochs=epochs, **{**given, **options})


@needs_instructions
def test_losses_are_near_those_of_float32() -> None:
    rounded, exact = train(network()), train(network(), matmul_precision=None)
    difference = np.abs(np.divide(rounded.steps, exact.steps) - 1)
    assert 0 < difference.max() < 0.02
    assert rounded.epochs[-1].loss < 0.8 * rounded.epochs[0].loss


@needs_instructions
def test_a_run_resumes_bit_for_bit_and_not_in_another_precision(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    whole, first, second = network(), network(), network()
    train(whole)
    train(first, 3, checkpoint_path=tmp_path)
    with pytest.raises(DataError, match="made with matmul_precision = bfloat16, and now it is None"):
        train(second, checkpoint_path=tmp_path, resume=True, matmul_precision=None)
    train(second, checkpoint_path=tmp_path, resume=True)
    assert second.flat.tobytes() == whole.flat.tobytes()


@needs_instructions
def test_any_formula_trains_with_such_products() -> None:
    loss = cg.chain(cg.layers.affine, cg.layers.relu, cg.layers.affine, cg.layers.softmax_loss)
    data, generator = blobs(), np.random.default_rng(0)
    shapes = {t.name: [{"D": 4, "K": 3}.get(r.name, 7) for r in t.axes] for t in loss.program.inputs}
    params = {n: generator.standard_normal(s) for n, s in shapes.items() if n not in ("x", "y")}
    given = {"x": data.x, "y": data.y}
    rounded = minimise(loss, params, given, epochs=5, matmul_precision="bfloat16")
    exact = minimise(loss, params, given, epochs=5)
    assert 0 < np.abs(rounded.losses / exact.losses - 1).max() < 0.05


@needs_instructions
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "numpy"}, 'not for engine="numpy"'),
        ({"device": "cuda"}, "cuda|GPU|PyTorch"),
    ],
)
def test_where_it_cannot_be_it_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        train(network(), **options)


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(DataError, match=r"must be 'bfloat16', or left out\. Did you mean 'bfloat16'"):
        train(network(), matmul_precision="bfloat")
    with pytest.raises(DataError, match="matmul_precision is 16"):
        train(network(), matmul_precision=16)


def test_double_precision_is_not_rounded() -> None:
    pytest.importorskip("llvmlite")
    with pytest.raises(UnsupportedError, match="float64 is asked for"):
        train(network(dtype=np.float64))


def test_without_llvmlite_it_is_asked_for_and_nothing_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "llvmlite" or "emit.kernels" in n]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    with pytest.raises(MissingExtraError, match="bfloat16"):
        train(network())
