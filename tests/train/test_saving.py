"""When a run writes a checkpoint, and what of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from chalkgrad.train.callbacks import Callback
from chalkgrad.train.checkpoint import load_checkpoint, save_checkpoint
from chalkgrad.train.history import Epoch
from chalkgrad.train.model import Model
from tests.train.small import network
from tests.train.test_loop import train


@pytest.mark.parametrize(("rest", "written"), [(0, 3), (1e9, 2)], ids=["no rest", "rest for ever"])
def test_a_checkpoint_is_written_when_its_arrays_are_new_and_the_last_one_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: float, written: int
) -> None:
    pytest.importorskip("safetensors")
    saved = counted_saves(monkeypatch)
    monkeypatch.setattr("chalkgrad.train.loop.REST", rest)
    history = train(network(), 3, checkpoint_path=tmp_path, checkpoint_seconds=0)
    assert (
        len(saved) == written
    )  # after each epoch, and not again at the end; or after the first and at the end
    _, record = load_checkpoint(tmp_path)
    assert record["training"]["history"]["seconds"] == history.seconds


def test_a_checkpoint_that_somebody_removed_is_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("safetensors")
    saved = counted_saves(monkeypatch)
    folder = tmp_path / "model"

    class Remove(Callback):
        def on_epoch_end(self, epoch: Epoch) -> None:
            shutil.rmtree(folder)

    net = network()
    train(net, 1, checkpoint_path=folder, checkpoint_seconds=0, callbacks=[Remove()])
    assert len(saved) == 2
    assert Model.load(folder).network.flat.tobytes() == net.flat.tobytes()


def counted_saves(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The records of the checkpoints that are written whole from now on."""
    saved: list[Any] = []

    def save(folder: Path, arrays: Any, record: Any) -> Path:
        saved.append(record)
        return save_checkpoint(folder, arrays, record)

    monkeypatch.setattr("chalkgrad.train.loop.save_checkpoint", save)
    return saved
