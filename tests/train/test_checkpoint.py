"""Checkpoints: bits survive, damage is seen, and a crash at any moment leaves a whole one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chalkgrad.errors import DataError, MissingExtraError
from chalkgrad.train import atomic
from chalkgrad.train.checkpoint import (
    RECORD,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
    save_record,
)

safetensors = pytest.importorskip("safetensors")
pytest.importorskip("safetensors.numpy")

OLD = {"w": np.arange(6.0).reshape(2, 3)}
NEW = {"w": np.arange(6.0).reshape(2, 3) + 0.5, "v": np.array([1, -2], np.float32)}


def test_bits_survive(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        "double": generator.standard_normal((3, 4)),
        "single": generator.standard_normal(5).astype(np.float32),
        "odd": np.array([0.0, -0.0, 5e-324, 1.7e308]),
        "transposed": generator.standard_normal((3, 4)).T,
        "empty": np.empty(0),
    }
    record = {"rate": 0.1 + 0.2, "big": 2**127 + 1, "text": "Größe ∂", "list": [1, None, True]}
    save_checkpoint(tmp_path / "deep" / "model", arrays, record)
    loaded, again = load_checkpoint(tmp_path / "deep" / "model")
    assert again == record
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.tobytes()


def test_saving_replaces_and_cleans_up(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, OLD, {"n": 1})
    killed = tmp_path / f"{atomic.PREFIX}killed"
    killed.mkdir()
    (killed / "new").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    save_checkpoint(tmp_path, NEW, {"n": 2})
    assert load_checkpoint(tmp_path)[1] == {"n": 2}
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 3
    assert RECORD in names
    assert "notes.txt" in names


def test_a_record_alone_is_replaced_beside_the_same_arrays(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        save_record(tmp_path, {"n": 1})
    save_checkpoint(tmp_path, OLD, {"n": 1})
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("weights-*")}
    save_record(tmp_path, {"n": 2})
    arrays, record = load_checkpoint(tmp_path)
    assert record == {"n": 2}
    np.testing.assert_array_equal(arrays["w"], OLD["w"])
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("weights-*")} == before
    for name in before:
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match="There is no file"):
        save_record(tmp_path, {"n": 3})


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, OLD, {"n": 1})
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for at in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << (at % 8)
            path.write_bytes(damaged)
            if not _same_json(whole, bytes(damaged)):
                with pytest.raises(DataError):
                    load_checkpoint(tmp_path)
        path.write_bytes(whole)
    assert load_checkpoint(tmp_path)[1] == {"n": 1}


def _same_json(a: bytes, b: bytes) -> bool:
    """Whether a flipped bit only changed white space, which carries nothing."""
    try:
        return bool(json.loads(a) == json.loads(b))
    except ValueError:
        return False


def test_damage_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, OLD, {"n": 1})
    weights = next(tmp_path.glob("weights-*"))
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"weights-.* is damaged"):
        load_checkpoint(tmp_path)
    weights.unlink()
    with pytest.raises(DataError, match=r"There is no file .*weights-"):
        load_checkpoint(tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert not has_checkpoint(tmp_path)
    with pytest.raises(DataError, match="There is no file"):
        load_checkpoint(tmp_path)
    (tmp_path / RECORD).write_text('{"format": "another"}')
    with pytest.raises(DataError, match="not a chalkgrad model"):
        load_checkpoint(tmp_path)
    (tmp_path / RECORD).write_text('{"format": "chalkgrad-model", "version": 99}')
    with pytest.raises(DataError, match="version 99"):
        load_checkpoint(tmp_path)


def test_a_weights_file_outside_the_folder_is_not_followed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, OLD, {})
    record = json.loads((tmp_path / RECORD).read_text())
    record["weights"]["file"] = "../elsewhere.safetensors"
    (tmp_path / RECORD).write_text(json.dumps(record))
    with pytest.raises(DataError, match="damaged"):
        load_checkpoint(tmp_path)


def test_values_that_json_cannot_keep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, OLD, {"loss": float("nan")})
    assert not has_checkpoint(tmp_path)


def test_an_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"The output folder .*file/model cannot be written"):
        save_checkpoint(tmp_path / "file" / "model", OLD, {})


def test_without_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingExtraError, match=r"Saving a model needs the package 'safetensors'"):
        save_checkpoint(tmp_path / "model", OLD, {})
    assert not (tmp_path / "model").exists()


def failing_at(monkeypatch: pytest.MonkeyPatch, nth: int) -> Callable[[], int]:
    """Make the nth file operation of a save fail as a full disk would; counts them."""
    seen = 0
    full = OSError(28, "No space left on device")

    def wrap(owner: Any, name: str, failure: Exception = full) -> None:
        original = getattr(owner, name)

        def operation(*args: Any, **kwargs: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == nth:
                raise failure
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, operation)

    for name in ("mkstemp", "mkdtemp"):
        wrap(atomic.tempfile, name)
    for name in ("fsync", "chmod", "replace"):
        wrap(atomic.os, name)
    wrap(atomic, "write_bytes")
    wrap(safetensors.numpy, "save_file", safetensors.SafetensorError(str(full)))
    return lambda: seen


def test_a_full_disk_at_every_write_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    nth, messages = 0, []
    while True:
        nth += 1
        folder = tmp_path / str(nth)
        save_checkpoint(folder, OLD, {"n": 1})
        with pytest.MonkeyPatch.context() as patch:
            failing_at(patch, nth)
            try:
                save_checkpoint(folder, NEW, {"n": 2})
            except DataError as error:
                messages.append(str(error))
            else:
                break
        arrays, record = load_checkpoint(folder)
        expected = OLD if record["n"] == 1 else NEW
        np.testing.assert_array_equal(arrays["w"], expected["w"])
        assert not list(folder.glob(atomic.PREFIX + "*")), "a temporary file was left behind"
    assert len(messages) >= 13
    assert all("No space left" in message for message in messages)


KILLER = """
import os, sys, tempfile
import numpy as np
import safetensors.numpy
from chalkgrad.train.checkpoint import save_checkpoint

base = sys.argv[1]
old = {"w": np.arange(6.0).reshape(2, 3)}
new = {"w": np.arange(6.0).reshape(2, 3) + 0.5}
nth = 0
while True:
    nth += 1
    folder = os.path.join(base, str(nth))
    save_checkpoint(folder, old, {"n": 1})
    child = os.fork()
    if child == 0:
        seen = 0
        def dying(original):
            def operation(*args, **kwargs):
                global seen
                seen += 1
                if seen == nth:
                    os._exit(9)
                return original(*args, **kwargs)
            return operation
        safetensors.numpy.save_file = dying(safetensors.numpy.save_file)
        tempfile.mkstemp, tempfile.mkdtemp = dying(tempfile.mkstemp), dying(tempfile.mkdtemp)
        for name in ("fsync", "chmod", "replace", "open", "unlink", "rmdir"):
            setattr(os, name, dying(getattr(os, name)))
        save_checkpoint(folder, new, {"n": 2})
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 0:
        break
    assert status == 9, status
print(nth - 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_at_every_write_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLER, str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    kills = int(ran.stdout)
    assert kills >= 12
    found = set()
    for nth in range(1, kills + 1):
        arrays, record = load_checkpoint(tmp_path / str(nth))
        expected = np.arange(6.0).reshape(2, 3) + (0.5 if record["n"] == 2 else 0)
        np.testing.assert_array_equal(arrays["w"], expected)
        found.add(record["n"])
        save_checkpoint(tmp_path / str(nth), NEW, {"n": 3})
        assert len(list((tmp_path / str(nth)).iterdir())) == 2, "the next save did not clean up"
    assert found == {1, 2}
