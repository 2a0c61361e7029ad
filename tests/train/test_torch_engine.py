"""The emitted PyTorch step, on the CPU against the plain code; on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chalkgrad.errors import DataError, MissingExtraError
from chalkgrad.train import torch_engine
from chalkgrad.train.architecture import ACTIVATIONS
from chalkgrad.train.engines import make_engine
from chalkgrad.train.loop import fit
from chalkgrad.train.network import Network
from chalkgrad.train.optimisers import RULES, Optimiser
from tests.train.small import blobs, network
from tests.train.test_engines import CASES, TOLERANCE, losses_of, objective

torch = pytest.importorskip("torch")
GPU = torch.cuda.is_available()
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not GPU, reason="needs a GPU"))]


def close(found: Any, expected: Any, dtype: Any) -> None:
    scale = np.maximum(np.abs(expected), np.abs(expected).mean())
    assert (np.abs(found - expected) <= TOLERANCE[dtype] * scale).all(), np.max(
        np.abs(found - expected) / scale
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_losses_are_those_of_the_plain_code(activation: str, rule: str, dtype: Any) -> None:
    plain, other = (Network((5, 7, 3), activation=activation, l2=0.01, seed=3, dtype=dtype) for _ in "ab")
    close(losses_of("torch", other, rule, 8, 2), losses_of("plain", plain, rule, 8, 2), dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("loss", "weighted"), CASES)
def test_every_loss_trains_as_in_the_plain_code(loss: str, weighted: bool, device: str) -> None:
    found = []
    for engine in ("plain", "torch"):
        made, data = objective(loss, weighted)
        where = device if engine == "torch" else "cpu"
        runner = make_engine(engine, made, Optimiser("adam"), data, 6, device=where)
        losses = np.empty(3)
        runner.run(np.arange(18).reshape(3, 6), losses, 0.01)
        made.set_scalar("l2", 0.2)  # and another rate, and another number of rows
        last = np.empty(1)
        runner.run(np.array([[18, 19]]), last, 0.02)
        runner.sync()
        found.append((np.append(losses, last), made.flat))
    (expected, plain), (other, flat) = found
    close(other, expected, np.float64)
    np.testing.assert_allclose(flat, plain, rtol=0, atol=1e-11)


def test_more_steps_than_lie_on_the_device_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = losses_of("torch", Network((4, 3)), "adam", 2)
    monkeypatch.setattr(torch_engine, "CALL_STEPS", 5)
    assert (losses_of("torch", Network((4, 3)), "adam", 2) == whole).all()


@pytest.mark.parametrize("device", DEVICES)
def test_a_fit_gives_equal_bits_and_leaves_the_callers_arrays_alone(device: str, tmp_path: Path) -> None:
    data, nets = blobs(), [network(), network(), network()]
    before = data.x.copy()
    threads = torch.get_num_threads()
    for net in nets[:2]:
        fit(net, data, epochs=4, batch_size=16, engine="torch", device=device)
    assert nets[0].flat.tobytes() == nets[1].flat.tobytes()
    assert (data.x == before).all()
    assert torch.get_num_threads() == threads
    # A run that stops and is resumed goes the same way.
    fit(nets[2], data, epochs=2, batch_size=16, engine="torch", device=device, checkpoint_path=tmp_path)
    resumed = network()
    fit(
        resumed,
        data,
        epochs=4,
        batch_size=16,
        engine="torch",
        device=device,
        checkpoint_path=tmp_path,
        resume=True,
    )
    np.testing.assert_array_equal(resumed.flat, nets[0].flat)


def test_the_step_is_one_graph() -> None:
    """As torch.compile takes it on a GPU: nothing in it leaves the device or depends on a value."""
    nets = [Network((4, 6, 3), l2=0.1), Network((4, 6, 3), l2=0.1)]
    data = {"x": np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32), "y": np.arange(12) % 3}
    engines = [torch_engine.TorchEngine(net, Optimiser("adam"), data) for net in nets]
    for engine in engines:
        engine._rule_scalars["lr"].fill_(0.01)
    order = torch.arange(12).reshape(3, 4)
    compiled = torch.compile(engines[1].step, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for _ in range(3):
            engines[0].step(order)
            compiled(order)
    np.testing.assert_allclose(engines[1].flat, engines[0].flat, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(engines[1]._losses[:3], engines[0]._losses[:3], rtol=1e-6)


def test_batches_without_rows_are_refused() -> None:
    data = {"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, np.int64)}
    runner = make_engine("torch", Network((4, 3)), Optimiser(), data, 1)
    with pytest.raises(DataError, match="without rows"):
        runner.run(np.empty((1, 0), np.int64), np.empty(1), 0.1)


def test_auto_stays_on_the_cpu_without_pytorch() -> None:
    data = {"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, np.int64)}
    assert make_engine("auto", Network((4, 3)), Optimiser(), data, 1).name in ("llvm", "numpy")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "", "mps", "cuda:²"])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="no device"):
        fit(network(), blobs(), device=name)


@pytest.mark.skipif(GPU, reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_without_a_gpu_it_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f'device="{name}" needs an NVIDIA GPU') as caught:
        fit(network(), blobs(), device=name, checkpoint_path=tmp_path / "model")
    assert 'device="cpu"' in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DataError, match="finds 2 GPUs, from cuda:0"):
        torch_engine.checked_device("cuda:2")
    assert torch_engine.checked_device("cuda:1")[1] == torch.device("cuda:1")


def test_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for options in ({"device": "cuda"}, {"engine": "torch"}):
        with pytest.raises(MissingExtraError, match="needs the package 'torch'"):
            fit(network(), blobs(), **options)


def test_engines_of_the_cpu_refuse_other_devices() -> None:
    data = {"x": np.zeros((2, 4), np.float32), "y": np.zeros(2, np.int64)}
    with pytest.raises(DataError, match=r'"llvm" runs on the CPU, not on "cuda"'):
        make_engine("llvm", Network((4, 3)), Optimiser(), data, 1, device="cuda")


@pytest.mark.skipif(GPU, reason="there is a GPU")
def test_the_command_line_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chalkgrad", "train", "digits", "--device", "cuda", "-o", str(tmp_path / "m")],
        check=False, capture_output=True, text=True, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 2
    assert "needs an NVIDIA GPU" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m").exists()
